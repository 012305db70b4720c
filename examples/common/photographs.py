"""A few real photographs and textures that ship inside scikit-image and scikit-learn; nothing is downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
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
# Further ones, as a whole only.
_FURTHER = {
    "brick": ("skimage.data", "brick.png"),
    "coins": ("skimage.data", "coins.png"),
    "colour": ("skimage.data", "color.png"),
    "grass": ("skimage.data", "grass.png"),
    "gravel": ("skimage.data", "gravel.png"),
    "hubble": ("skimage.data", "hubble_deep_field.jpg"),
    "motorcycle": ("skimage.data", "motorcycle_left.png"),
}


@cache
def load_whole(name: str) -> Tensor:
    """Return a photograph or a texture as large as it is, ``(3, H, W)`` uint8."""
    package, file = _FURTHER[name] if name in _FURTHER else _PHOTOGRAPHS[name][:2]
    with _open(package, file) as image:
        return _pixels(image.convert("RGB"))


def load_photographs(size: int = 128) -> tuple[Tensor, list[str]]:
    """Return six photographs, ``(6, 3, size, size)`` in [0, 1], and their names."""
    pictures = [_load(*place, size=size) for place in _PHOTOGRAPHS.values()]
    return torch.stack(pictures), list(_PHOTOGRAPHS)


def _load(package: str, name: str, centre: tuple[float, float], size: int) -> Tensor:
    with _open(package, name) as image:
        return (
            _pixels(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS, centering=centre)) / 255
        )


@contextmanager
def _open(package: str, name: str) -> Iterator[Image.Image]:
    # Opened as package data: skimage.data's own functions go through its downloader.
    with (files(package) / name).open("rb") as file, Image.open(file) as image:
        yield image


def _pixels(image: Image.Image) -> Tensor:
    """``(3, H, W)`` uint8 of an RGB image."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, 3).permute(2, 0, 1)
