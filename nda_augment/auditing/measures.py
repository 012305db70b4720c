"""What is measured between real images and others: tensors in, numbers out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# The penalty of linear classifiers of features, which are in units of their deviation.
FEATURE_RIDGE = 0.01
_BINS = 32
_ROUNDING = 1e-9


def relative_change(images: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """Return the root mean square difference of each pair of images, in units of ``scale``: ``(N,)``."""
    return (others - images).flatten(1).square().mean(1).sqrt() / scale


def leave_groups_out(features: Tensor, targets: Tensor, groups: Tensor, *, ridge: float) -> Tensor:
    """Predict every target by a linear ridge regression on the other groups' features.

    All regressions come from one: with ``H`` the matrix that maps targets to fitted values, what is left over of group
    ``g`` when it is left out is ``(1 − H_gg)⁻¹`` times what is left over of it when it is not. The intercept is that
    of all groups together.

    Args:
        features: ``(N, D)``.
        targets: ``(N, K)``.
        groups: ``(N,)``, number of the group, from 0.
        ridge: Penalty on the squared weights, per example.

    Returns:
        Predictions ``(N, K)``.
    """
    features = (features - features.mean(0)).double()
    means = targets.double().mean(0)
    targets = targets.double() - means
    penalty = ridge * len(features)
    if features.shape[1] < len(features):
        gram = features.T @ features
        hat = features @ torch.linalg.solve(gram.diagonal_scatter(gram.diagonal() + penalty), features.T)
    else:
        gram = features @ features.T
        hat = torch.linalg.solve(gram.diagonal_scatter(gram.diagonal() + penalty), gram)
    residuals = targets - hat @ targets
    predictions = torch.empty_like(targets)
    for group in range(int(groups.max()) + 1):
        own = (groups == group).nonzero().squeeze(1)
        eye = torch.eye(len(own), dtype=hat.dtype, device=hat.device)
        predictions[own] = targets[own] - torch.linalg.solve(eye - hat[own][:, own], residuals[own])
    return predictions + means


def ridge_regression(features: Tensor, targets: Tensor, *, ridge: float) -> Tensor:
    """Return the weights ``(D + 1, K)`` of a linear regression; the last are the intercept, which is not penalised."""
    mean, centre = features.mean(0), targets.mean(0)
    centred = features - mean
    gram = centred.T @ centred
    gram = gram.diagonal_scatter(gram.diagonal() + ridge * len(features))
    weights = torch.linalg.solve(gram, centred.T @ (targets - centre))
    return torch.cat([weights, (centre - mean @ weights).unsqueeze(0)])


def with_one(features: Tensor) -> Tensor:
    """Append the constant 1 that the intercept is multiplied with."""
    return F.pad(features, (0, 1), value=1.0)


def told_apart(first: Tensor, second: Tensor, groups: Tensor, *, ridge: float) -> Tensor:
    """Run a classifier two-sample test: does a linear classifier tell two sets apart?

    Source: Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.

    Args:
        first: Features ``(N, D)``.
        second: Features ``(N, D)``; what belongs to ``first[i]`` is ``second[i]``.
        groups: ``(N,)``; both of a pair are in one group, and a group is judged by what the others taught.
        ridge: As for :func:`leave_groups_out`.

    Returns:
        How much of each pair was told right, ``(N,)``: 0, 1/2 or 1. The mean is 1/2 where there is no difference.
    """
    signs = torch.cat([torch.full((len(first), 1), sign, device=first.device) for sign in (-1.0, 1.0)])
    predictions = leave_groups_out(torch.cat([first, second]), signs, groups.repeat(2), ridge=ridge)
    # A prediction of 0 is a coin that stands on its edge; what rounding leaves of 0 must not make it fall.
    right = 0.5 + 0.5 * signs * predictions.where(predictions.abs() > _ROUNDING, 0.0).sign()
    return right.view(2, -1).mean(0)


def frechet_distance(real: Tensor, other: Tensor) -> float:
    """Return the Fréchet distance between Gaussians fitted to two sets of features, ``(N, D)`` and ``(M, D)``.

    It is too large for small sets, the more so the larger D: compare it at equal N, M and D only.
    """
    real, other = real.double(), other.double()
    first, second = torch.cov(real.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    distance = (real.mean(0) - other.mean(0)).square().sum() + first.trace() + second.trace() - 2 * shared
    return max(0.0, float(distance))


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """Return ``(x·y / D + 1)³`` of all pairs: features ``(N, D)`` and ``(M, D)`` to ``(N, M)``."""
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def kernel_distance(among_real: Tensor, among_others: Tensor, between: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy (KID) from the values of the kernel.

    Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.

    Args:
        among_real: :func:`kernel` of the real features with themselves, ``(N, N)``.
        among_others: Of the others with themselves, ``(M, M)``.
        between: Of the real ones with the others, ``(N, M)``.
    """
    means = [(k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)) for k in (among_real, among_others)]
    return float(means[0] + means[1] - 2 * between.mean())


def paired_kernel_distance(among_sources: Tensor, among_others: Tensor, between: Tensor, groups: Tensor) -> float:
    """Return the same discrepancy between sources and what was made of them, unbiased in spite of the pairs.

    Only images of different groups meet, so neither a source and what became of it do, nor partners of one group.
    What sources and others have in common cancels: the identity is at 0 exactly, and all else is known far better
    than from other real images.

    Args:
        among_sources: :func:`kernel` of the sources with themselves, ``(N, N)``.
        among_others: Of the others, ``(N, N)``.
        between: Of the sources with the others, ``(N, N)``.
        groups: ``(N,)``, number of the group of each source.
    """
    apart = groups.unsqueeze(1) != groups
    return float((among_sources + among_others - between - between.T)[apart].mean())


def projection(real: Tensor, dimensions: int) -> Callable[[Tensor], Tensor]:
    """Return the map of features ``(N, D)`` to principal components of the real ones, if there are too many.

    Args:
        real: The features that the components are fitted to.
        dimensions: The largest number of components.
    """
    mean = real.mean(0)
    if real.shape[1] <= dimensions:
        return lambda features: features - mean
    components = torch.linalg.eigh(torch.cov((real - mean).T)).eigenvectors[:, -dimensions:]
    return lambda features: (features - mean) @ components


def clusters(features: Tensor, number: int, *, generator: torch.Generator, rounds: int = 50) -> Tensor:
    """Return the centres ``(number, D)`` that k-means finds, started by k-means++.

    Source: Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """
    centres = features[:1]
    for _ in range(number - 1):
        nearest = torch.cdist(features, centres).amin(1).square().double().cpu()
        next_one = torch.multinomial(nearest + _ROUNDING, 1, generator=generator)
        centres = torch.cat([centres, features[next_one.to(features.device)]])
    for _ in range(rounds):
        members = torch.cdist(features, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, members, features)
        counts = members.bincount(minlength=number).unsqueeze(1)
        moved = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def patches(images: Tensor, places: Tensor, side: int) -> Tensor:
    """Cut square patches: images ``(N, C, H, W)`` at places ``(N, P, 2)`` (top, left) to ``(N · P, C · side²)``."""
    windows = images.unfold(2, side, 1).unfold(3, side, 1)
    numbers = torch.arange(len(images), device=images.device).unsqueeze(1)
    return windows[numbers, :, places[..., 0], places[..., 1]].flatten(0, 1).flatten(1)


@dataclass(frozen=True)
class Statistics:
    """What is known of the pixels of each image, whatever their order.

    Attributes:
        means: ``(N, C)``.
        squares: Mean squares, ``(N, C)``.
        histograms: ``(N, C, 32)``, shares of the pixels.
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


def at_most(images: Tensor, side: int) -> Tensor:
    """Reduce images whose shorter side is longer than ``side``, so that it is ``side``."""
    factor = side / min(images.shape[-2:])
    if factor >= 1:
        return images
    size = [round(length * factor) for length in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)
