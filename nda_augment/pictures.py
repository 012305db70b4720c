"""Pictures from files, as squares of RGB.

Needs pillow: ``pip install "nda-augment[cli]"``.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# What Pillow may try, whatever a file is called: not EPS, for which it starts another program.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
_BACKGROUND = "white"
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def image_files(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder and its subfolders that are named as images, sorted.

    Folders that are symbolic links are followed, each once.

    Args:
        path: File or folder.

    Returns:
        The paths. Whether they hold images that can be read is not checked.

    Raises:
        FileNotFoundError: If there is nothing at the path.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such file or folder")
    suffixes, found, seen = set(Image.registered_extensions()), [], set()
    for folder, below, names in os.walk(path, followlinks=True):
        own = os.path.realpath(folder)
        if own in seen:
            below.clear()
            continue
        seen.add(own)
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in suffixes]
    return sorted(file for file in found if file.is_file())


def read_images(files: Iterable[Path], size: int) -> Iterator[Tensor | Unreadable]:
    """Read files as squares, cropped around the middle: see :func:`read_image`.

    Args:
        files: Paths of image files.
        size: Side of the squares in pixels.

    Yields:
        Pixels, uint8 ``(3, size, size)``, or what was wrong with a file.
    """
    for file in files:
        try:
            yield read_image(file, size)
        except ValueError as error:
            yield Unreadable(file, str(error))


def read_image(file: Path, size: int | None = None) -> Tensor:
    """Read a file as 8-bit RGB, as a person would see it.

    Cameras' orientation is applied, what is transparent shows a white background, 16 bits are scaled to 8. A JPEG that
    is much larger than it needs to be is decoded at a fraction of its size.

    Args:
        file: Path of an image file.
        size: Side in pixels of a square, cropped around the middle; by default the picture stays as large as it is.

    Returns:
        Pixels, uint8 ``(3, H, W)``.

    Raises:
        ValueError: If it is not an image of a known format, is damaged, has more pixels than Pillow thinks safe, or has
            values without a known range (32-bit integers and floating point).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                picture = _as_seen(image, size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise ValueError(f"has more than the {limit} pixels that are safe to open; scale it down") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"not a readable image (none of {', '.join(FORMATS)})") from error
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"not a readable image ({error})") from error
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(picture.height, picture.width, 3).permute(2, 0, 1)


def _as_seen(image: Image.Image, size: int | None) -> Image.Image:
    """Decode an image to RGB, not much larger than is needed for a square of ``size`` pixels."""
    if size is not None:
        # Twice the size, so that the filter that comes after decides on quality.
        scale = 2 * size / min(image.size)
        image.draft(None, (round(image.width * scale), round(image.height * scale)))
    depth = image.format
    picture = ImageOps.exif_transpose(image)
    # PNG has no 32-bit integers: Pillow before 11 gives its 16 bits as I.
    if picture.mode in _SIXTEEN_BITS or (picture.mode == "I" and depth == "PNG"):
        # Pillow cannot divide I;16: by way of floating point, and 65535 is 255.
        return picture.convert("F").point(lambda value: value * (1 / 257) + 0.5).convert("L").convert("RGB")
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        raise ValueError(
            f"its pixels ({picture.mode}) have no known range; bring them to 0 to 255 and save them as 8 bits"
        )
    if picture.has_transparency_data:
        below = Image.new("RGBA", picture.size, _BACKGROUND)
        return Image.alpha_composite(below, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
