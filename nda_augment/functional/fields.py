"""Random fields over an image, computed from small tensors of random numbers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nda_augment._checks import check_parameter
from nda_augment._constants import kept
from nda_augment.functional._kernels import fused
from nda_augment.functional._precision import without_autocast

__all__ = ["gaussian_field", "gaussian_field_nodes", "perlin_noise"]


def gaussian_field_nodes(correlation: float) -> int:
    """Return how many random numbers per axis :func:`gaussian_field` needs for a correlation length.

    Two per correlation length, from 2.5 lengths before the image to 2.5 behind it.
    """
    return math.ceil((1 + 5 * correlation) / (correlation / 2)) + 1


def gaussian_field(noise: Tensor, correlation: float, size: tuple[int, int]) -> Tensor:
    """Smooth random numbers into Gaussian random fields with covariance exp(-r² / 2ℓ²), r as a share of the sides.

    The field is a product of two matrices with the noise between them: each pixel is a weighted sum of nodes, the
    weights a Gaussian of unit norm, so that the variance is exactly that of the noise everywhere. It is not periodic.

    Args:
        noise: Standard normal numbers ``(B, F, N, N)``, ``N`` from :func:`gaussian_field_nodes`; scaled noise gives
            scaled fields.
        correlation: ℓ as a fraction of the image's sides.
        size: Height and width of the images.

    Returns:
        ``(B, F, H, W)`` of the noise's dtype.

    Raises:
        ValueError: If the noise has not the number of nodes that the correlation asks for.

    Example:
        >>> nodes = gaussian_field_nodes(0.2)
        >>> gaussian_field(torch.randn(2, 6, nodes, nodes), 0.2, (32, 48)).shape
        torch.Size([2, 6, 32, 48])

    Source: inspired by Mansfield et al., Random Field Augmentations, 2023, which gives no spectrum.
    """
    check_noise(noise, None, correlation)
    rows, cols = weights_of_nodes(noise, correlation, size)
    with without_autocast(noise):
        return rows @ noise @ cols.T


def weights_of_nodes(noise: Tensor, correlation: float, size: tuple[int, int]) -> list[Tensor]:
    """Return what each node of noise weighs at each row, ``(H, N)``, and at each column, ``(W, N)``."""
    nodes, dtype, device = noise.shape[-1], noise.dtype, noise.device
    return [kept(_weights, length, nodes, correlation, dtype, device=device) for length in size]


def check_noise(noise: Tensor, fields: tuple[int, int] | None, correlation: float) -> None:
    """Raise unless there is noise for ``(B, F)`` fields, or for any number, of a correlation length."""
    nodes = gaussian_field_nodes(correlation)
    batch, number = ("B", "F") if fields is None else fields
    given = tuple(noise.shape)
    if noise.ndim != 4 or given[2:] != (nodes, nodes) or (fields is not None and given[:2] != fields):
        wanted = f"({batch}, {number}, {nodes}, {nodes})"
        raise ValueError(f"noise must be {wanted} for correlation={correlation}, got {given}")


def _weights(length: int, nodes: int, correlation: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    pixel = (torch.arange(length, device=device, dtype=dtype) + 0.5) / length
    node = torch.linspace(-2.5 * correlation, 1 + 2.5 * correlation, nodes, device=device, dtype=dtype)
    weights = torch.exp(-(((pixel.unsqueeze(1) - node) / correlation) ** 2))
    return F.normalize(weights, dim=1)


def perlin_noise(angles: Tensor, frequencies: Tensor, rotations: Tensor, size: tuple[int, int]) -> Tensor:
    """Return Perlin noise on a turned lattice.

    Args:
        angles: Directions of the gradient at each corner of the lattice, ``(B, N, N)``, in radians; ``N`` is at
            least twice the largest frequency and one.
        frequencies: int64 ``(B, 2)``, lattice cells per image ``(x, y)``.
        rotations: Turn of the lattice about the image's middle, ``(B,)``, in radians.
        size: Height and width of the images.

    Returns:
        ``(B, H, W)``, mostly within [-1, 1].

    Example:
        >>> perlin_noise(torch.zeros(1, 3, 3), torch.tensor([[1, 1]]), torch.zeros(1), (8, 8)).shape
        torch.Size([1, 8, 8])

    Source: Perlin, Improving noise, SIGGRAPH 2002.
    """
    return noise_on(angles, *lattice_places(frequencies, rotations, size))


def lattice_places(frequencies: Tensor, rotations: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return what the pixels' columns and rows add to their places on a turned lattice.

    These are small tensors, made by many operations: for a batch at once.

    Returns:
        ``(B, 2, 1, W)`` and ``(B, 2, H, 1)``, the places in cells along the lattice's own sides.
    """
    check_parameter(frequencies, "frequencies", (len(frequencies), 2))
    check_parameter(rotations, "rotations", (len(frequencies),))
    x, y = ((torch.arange(length, device=rotations.device) + 0.5) / length - 0.5 for length in reversed(size))
    cos, sin = rotations.cos(), rotations.sin()
    cells = frequencies.view(-1, 2, 1, 1)
    # The turned square lies within [-0.71, 0.71]; one cell of the unit lattice more keeps all corners positive.
    across = torch.stack([cos, sin], dim=1).view(-1, 2, 1, 1) * x
    down = 1 + torch.stack([-sin, cos], dim=1).view(-1, 2, 1, 1) * y.view(-1, 1)
    return cells * across, cells * down


def noise_on(angles: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return Perlin noise ``(B, H, W)`` at :func:`lattice_places`."""
    check_parameter(angles, "angles", (len(across), angles.shape[-1], angles.shape[-1]))
    if kernel := fused("perlin_noise", angles, across, down):
        noise: Tensor = kernel(angles, across, down)
        return noise
    place = (across + down).to(angles.dtype)
    # The planes through a cell's four corners, blended, are a plane through the blend of what defines them.
    node, last = torch.arange(angles.shape[-1], device=angles.device), angles.shape[-1] - 1
    slope_x, slope_y = math.sqrt(2) * angles.cos(), math.sqrt(2) * angles.sin()
    planes = torch.stack([slope_x, slope_y, -slope_x * node - slope_y * node.view(-1, 1)], dim=1)
    # Columns and rows lie apart: to write them in turns would take longer than to read them so.
    grid = _faded(place).mul_(2 / last).sub_(1).movedim(1, -1)
    slope_x, slope_y, height = F.grid_sample(planes, grid, padding_mode="border", align_corners=True).unbind(1)
    col, row = place.unbind(1)
    return torch.addcmul(torch.addcmul(height, slope_x, col), slope_y, row)


def _faded(place: Tensor) -> Tensor:
    """Return places whose distance from the last corner is faded as Perlin does."""
    corner = place.floor()
    t = place - corner
    return torch.addcmul(corner, t.pow(3), (6 * t).sub_(15).mul_(t).add_(10))
