"""What is measured on pixels: changes, edges, patches, and statistics whatever the order of the pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_BATCH = 256
_BINS = 32
_EDGE_SIDE, _BANDS = 64, 4
# What is added to a patch's covariance, as a part of its mean variance, so that flat patches have an inverse.
_PATCH_RIDGE = 1e-4
_LEAST_EDGE = 1e-6


def relative_change(images: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """Return the root mean square difference of each pair of images, in units of ``scale``: ``(N,)``."""
    return (others - images).flatten(1).square().mean(1).sqrt() / scale


def at_most(images: Tensor, side: int) -> Tensor:
    """Reduce images whose shorter side is longer than ``side``, so that it is ``side``."""
    factor = side / min(images.shape[-2:])
    if factor >= 1:
        return images
    size = [round(length * factor) for length in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def edges_of(images: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the map of images to the strength of their edges at each place, in units of its deviation over ``images``.

    Edges across each column, and across each row, are averaged within four bands of the image and divided by their mean
    over the band: what counts is where the edges of an image are, not how many there are.

    Args:
        images: Images ``(N, C, H, W)``.
    """

    def strengths(images: Tensor) -> Tensor:
        images = at_most(images, _EDGE_SIDE)
        across = images.diff(dim=3).abs().mean(1, keepdim=True)
        down = images.diff(dim=2).abs().mean(1, keepdim=True)
        bands = (
            F.adaptive_avg_pool2d(across, (_BANDS, across.shape[3])),
            F.adaptive_avg_pool2d(down, (down.shape[2], _BANDS)).mT,
        )
        return torch.cat([(x / x.mean(3, keepdim=True).clamp(min=_LEAST_EDGE)).flatten(1) for x in bands], dim=1)

    deviations, means = torch.std_mean(strengths(images), dim=0)
    return lambda images: (strengths(images) - means) / deviations.clamp(min=_LEAST_EDGE)


def strangeness_of(real: Tensor, side: int) -> Callable[[Tensor], Tensor]:
    """Return the map of images to how unusual their most unusual patch is, ``(N,)``.

    A patch is unusual if its Mahalanobis distance from the real patches is, whether large, as for what they never show,
    or small, as for what is smoother than they are: in deviations of the logarithm over the real patches.

    Args:
        real: Real patches ``(P, C · side²)``, see :func:`patches`.
        side: Side of a patch in pixels; patches of an image lie side by side.
    """
    mean, covariance = real.double().mean(0), torch.cov(real.double().T)
    ridge = _PATCH_RIDGE * covariance.diagonal().mean().clamp(min=_LEAST_EDGE)
    factor = torch.linalg.cholesky(covariance.diagonal_scatter(covariance.diagonal() + ridge))
    eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    whiten = torch.linalg.solve_triangular(factor, eye, upper=False)
    filters, shift = whiten.float().unflatten(1, (-1, side, side)), (whiten @ mean).float()

    def distances(images: Tensor) -> Tensor:
        squares = F.conv2d(images, filters, -shift, stride=side).square().sum(1).flatten(1)
        return squares.clamp(min=_LEAST_EDGE).log()

    deviation, centre = torch.std_mean(distances(real.view(len(real), -1, side, side)))

    def strangeness(images: Tensor) -> Tensor:
        return ((distances(images) - centre).abs() / deviation.clamp(min=_LEAST_EDGE)).amax(1)

    return lambda images: torch.cat([strangeness(some) for some in torch.split(images, _BATCH)])


def patches(images: Tensor, places: Tensor, side: int) -> Tensor:
    """Cut square patches: images ``(N, C, H, W)`` at places ``(N, P, 2)`` (top, left) to ``(N · P, C · side²)``."""
    windows = images.unfold(2, side, 1).unfold(3, side, 1)
    numbers = torch.arange(len(images), device=images.device).unsqueeze(1)
    return windows[numbers, :, places[..., 0], places[..., 1]].flatten(0, 1).flatten(1)


@dataclass(frozen=True)
class Statistics:
    """What is known of the pixels of each image, whatever their order.

    Attributes:
        means: Means of the channels, ``(N, C)``.
        squares: Mean squares of the channels, ``(N, C)``.
        histograms: Shares of the pixels by brightness, ``(N, C, 32)``.
        spectra: Power over spatial frequency, the mean excluded, summed over channels, ``(N, F)``.
    """

    means: Tensor
    squares: Tensor
    histograms: Tensor
    spectra: Tensor

    def of(self, kept: Tensor) -> "Statistics":
        """Return those of some images."""
        return Statistics(self.means[kept], self.squares[kept], self.histograms[kept], self.spectra[kept])

    def variances(self) -> Tensor:
        """Variance of all pixels of all images, ``(C,)``."""
        return self.squares.mean(0) - self.means.mean(0).square()


def statistics(images: Tensor) -> Statistics:
    """Take the statistics of images ``(N, C, H, W)`` in [0, 1]."""
    bins = (images * _BINS).long().clamp(0, _BINS - 1).flatten(2)
    histograms = torch.zeros(*images.shape[:2], _BINS, device=images.device)
    histograms.scatter_add_(2, bins, torch.full_like(bins, 1.0 / bins.shape[2], dtype=torch.float32))
    return Statistics(images.mean((2, 3)), images.square().mean((2, 3)), histograms, _spectra(images))


def _spectra(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    power = torch.fft.rfft2(images - images.mean((2, 3), keepdim=True)).abs().square().sum(1).flatten(1)
    rows, columns = torch.fft.fftfreq(height), torch.fft.rfftfreq(width)
    frequency = torch.hypot(rows.unsqueeze(1), columns.unsqueeze(0)).flatten()
    number = max(2, min(height, width) // 2)
    rings = (frequency * 2 * number).ceil().long().clamp(1, number) - 1  # corners count with the highest ring
    sums = torch.zeros(len(images), number, device=images.device)
    return sums.index_add_(1, rings.to(images.device), power)


def mean_shift(real: Statistics, other: Statistics) -> float:
    """Largest shift of a channel's mean, in standard deviations of the channel."""
    shift = (other.means.mean(0) - real.means.mean(0)).abs() / real.variances().clamp(min=1e-12).sqrt()
    return float(shift.max())


def variance_ratio(real: Statistics, other: Statistics) -> float:
    """Variance of the pixels over that of the real ones, geometric mean of the channels."""
    ratios = other.variances().clamp(min=1e-12) / real.variances().clamp(min=1e-12)
    return float(ratios.log().mean().exp())


def histogram_distance(real: Statistics, other: Statistics) -> float:
    """Total variation between the histograms of all pixels, mean of the channels: 0 to 1."""
    return float((other.histograms.mean(0) - real.histograms.mean(0)).abs().sum(1).mean() / 2)


def spectrum_distance(real: Statistics, other: Statistics) -> float:
    """Mean difference of the power spectra over spatial frequency, in decibels, whatever the sign."""
    decibels = [10 * x.spectra.mean(0).clamp(min=1e-12).log10() for x in (real, other)]
    return float((decibels[1] - decibels[0]).abs().mean())
