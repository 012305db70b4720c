"""A few real photographs that ship inside scikit-image and scikit-learn; nothing is downloaded."""

from importlib.resources import files

import torch
from PIL import Image, ImageOps
from torch import Tensor

# Package, file, and the point (x, y in fractions) that a square crop is centred on.
_PHOTOGRAPHS = {
    "astronaut": ("skimage.data", "astronaut.png", (0.42, 0.0)),
    "cat": ("skimage.data", "chelsea.png", (0.45, 0.5)),
    "coffee": ("skimage.data", "coffee.png", (0.55, 0.5)),
    "rocket": ("skimage.data", "rocket.jpg", (0.5, 0.5)),
    "temple": ("sklearn.datasets.images", "china.jpg", (0.55, 0.5)),
    "flower": ("sklearn.datasets.images", "flower.jpg", (0.55, 0.5)),
}


def load_photographs(size: int = 128) -> tuple[Tensor, list[str]]:
    """Return six photographs, ``(6, 3, size, size)`` in [0, 1], and their names."""
    pictures = [_load(*place, size=size) for place in _PHOTOGRAPHS.values()]
    return torch.stack(pictures), list(_PHOTOGRAPHS)


def _load(package: str, name: str, centre: tuple[float, float], size: int) -> Tensor:
    # Opened as package data: skimage.data's own functions go through its downloader.
    with (files(package) / name).open("rb") as file, Image.open(file) as image:
        square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS, centering=centre)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return pixels.view(size, size, 3).permute(2, 0, 1) / 255
