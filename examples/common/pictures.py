"""Images in rows, and a file of them."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def grid(images: Tensor, columns: int = 10, scale: int = 2) -> Tensor:
    """Lay ``(N, C, H, W)`` images in [-1, 1] out in rows: ``(C, H', W')`` uint8, enlarged, one pixel apart."""
    pixels = ((images.detach().cpu().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pixels = F.pad(pixels, (0, 0, 0, 0, 0, 0, 0, -len(pixels) % columns), value=255)
    pixels = pixels.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    pixels = F.pad(pixels, (0, 1, 0, 1), value=255)
    lines = [torch.cat(list(line), dim=2) for line in torch.split(pixels, columns)]
    return torch.cat(lines, dim=1)[:, :-1, :-1]


def save_png(image: Tensor, path: Path) -> None:
    """Write a ``(C, H, W)`` uint8 picture of 1 or 3 channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()).save(path)
