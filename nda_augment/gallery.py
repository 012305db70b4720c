"""Contact sheets: images and, under each, what the negative transforms make of them.

Needs matplotlib: ``pip install "nda-augment[cli]"``.
"""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL_INCHES = 1.3
# The points that a label of one letter could have and still be no longer than its row is high.
_LABEL_POINTS = 150.0


def contact_sheet(images: Tensor, transforms: Mapping[str, nn.Module], *, seed: int = 0) -> "Figure":
    """Draw the images in a row and, under it, one labelled row of negatives per transform.

    Args:
        images: Images ``(B, C, H, W)`` with C of 1 or 3, floating point in [0, 1] or uint8. Transforms that need a
            partner take it from among them.
        transforms: Label to negative transform, drawn in this order.
        seed: Every row draws from a generator of its own with this seed, so that a row stays as it is when others
            are added.

    Returns:
        A matplotlib figure. It belongs to no window and needs no closing; a notebook shows it, ``savefig`` saves it.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If ``transforms`` are not a mapping.
        ValueError: If ``images`` are not ``(B, C, H, W)``, have neither 1 nor 3 channels, or leave [0, 1]; if there
            are no transforms.

    Example:
        >>> import torch, nda_augment as nda
        >>> images = torch.rand(4, 3, 32, 32)
        >>> figure = contact_sheet(images, {"jigsaw": nda.Jigsaw(), "stitch": nda.Stitch()})
        >>> len(figure.axes)
        12
    """
    _check_images(images)
    if not isinstance(transforms, Mapping):
        raise TypeError(
            "transforms must be negatives by label, such as {'jigsaw': nda.Jigsaw()}, "
            f"got {type(transforms).__name__}"
        )
    if not transforms:
        raise ValueError("transforms is empty: give at least one, such as {'jigsaw': nda.Jigsaw()}")
    images = images.detach().cpu()
    rows = {"real": images}
    for label, transform in transforms.items():
        rows[label] = transform(images, generator=torch.Generator().manual_seed(seed))

    figure = _figure(columns=len(images), rows=len(rows))
    axes = figure.subplots(len(rows), len(images), squeeze=False)
    for row, (label, pictures) in zip(axes, rows.items(), strict=True):
        for cell, picture in zip(row, pictures, strict=True):
            _draw(cell, picture)
        weight = "bold" if label == "real" else "normal"
        points = min(11.0, _LABEL_POINTS / max(len(label), 1))
        row[0].set_ylabel(label, fontsize=points, fontweight=weight)
    return figure


def save_contact_sheet(
    path: str | Path, images: Tensor, transforms: Mapping[str, nn.Module], *, seed: int = 0, dpi: int = 150
) -> Path:
    """Write a :func:`contact_sheet` to a file; its suffix names the format.

    Args:
        path: File to write, such as ``gallery.png``. Missing folders are made.
        images: Images, as for :func:`contact_sheet`.
        transforms: Transforms by label, as for :func:`contact_sheet`.
        seed: Seed, as for :func:`contact_sheet`.
        dpi: Pixels per inch; a cell is 1.3 inches wide.

    Returns:
        The path written.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: As for :func:`contact_sheet`, or if matplotlib does not know the suffix.
    """
    figure = contact_sheet(images, transforms, seed=seed)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi, facecolor="white")
    return path


def _figure(columns: int, rows: int) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('contact sheets need matplotlib: pip install "nda-augment[cli]"') from error

    class Sheet(Figure):
        """A figure that a notebook shows, whether or not something in it has used pyplot before."""

        def _repr_png_(self) -> bytes:
            picture = BytesIO()
            self.savefig(picture, format="png", facecolor="white")
            return picture.getvalue()

    return Sheet(figsize=(columns * _CELL_INCHES + 0.3, rows * _CELL_INCHES), layout="constrained")


def _draw(cell: "Axes", picture: Tensor) -> None:
    pixels = picture if picture.dtype == torch.uint8 else picture.float().clamp(0, 1)
    # Grey images are drawn as RGB too, or imshow would stretch each to its own range.
    cell.imshow(pixels.expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest")
    cell.set(xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set_visible(False)


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(
            f"images must be (B, C, H, W) with B >= 1 and C of 1 or 3 to be drawn, got shape {tuple(images.shape)}"
        )
    if images.is_floating_point() and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images must lie in [0, 1] to be drawn, got [{images.min():.3g}, {images.max():.3g}]; "
            "bring [-1, 1] there with (images + 1) / 2"
        )
