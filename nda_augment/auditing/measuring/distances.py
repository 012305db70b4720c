"""How far two sets of features are apart: densities, kernels and Gaussians, for all images and without each group.

Every distance is computed once for all images. What it is without one group of images follows from sums over groups or
from a part of the same matrix, which is what makes intervals by the jackknife cheap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment.auditing.measuring.intervals import leave_one_out

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian fitted to a set of features, in double precision.

    Attributes:
        mean: Mean of the features, ``(D,)``.
        covariance: Their covariance, ``(D, D)``.
    """

    mean: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """The symmetric root of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
        return root


def gaussians(features: Tensor, groups: Tensor) -> list[Gaussian]:
    """Fit Gaussians to features ``(N, D)``: to all, then to all but those of group 0, of group 1 and so on.

    Args:
        features: Features ``(N, D)``.
        groups: Number of the group of each, ``(N,)``, from 0.
    """
    centre = features.double().mean(0)
    parts = [(features[groups == group].double() - centre) for group in range(int(groups.max()) + 1)]
    counts = torch.tensor([len(part) for part in parts], dtype=torch.double)
    sums = torch.stack([part.sum(0) for part in parts])
    squares = torch.stack([part.T @ part for part in parts])
    found = []
    for kept in leave_one_out(torch.arange(len(parts))):
        count, mean = float(counts[kept].sum()), sums[kept].sum(0) / counts[kept].sum()
        scatter = squares[kept].sum(0) - count * torch.outer(mean, mean)
        found.append(Gaussian(mean + centre, scatter / (count - 1)))
    return found


def frechet_distance(real: Gaussian, other: Gaussian) -> float:
    """Return the Fréchet distance between two Gaussians.

    It is too large for small sets, the more so the larger D: compare it at equal N, M and D only. Written here because
    torchmetrics, which has it, is not required, and to take the root of the real covariance once for all rows.
    """
    shared = torch.linalg.eigvalsh(real.root @ other.covariance @ real.root).clamp(min=0).sqrt().sum()
    distance = (real.mean - other.mean).square().sum() + real.covariance.trace() + other.covariance.trace() - 2 * shared
    return max(0.0, float(distance))


@dataclass(frozen=True)
class KernelSums:
    """Sums of a kernel's values over pairs of images, by the groups of the two.

    Attributes:
        blocks: Sums over all pairs of two groups, ``(G, G)``.
        diagonal: Sums over the pairs of an image and the one of its own number, by its group, ``(G,)``.
        counts: Number of images of each group, ``(G,)``.
    """

    blocks: Tensor
    diagonal: Tensor
    counts: Tensor

    def of(self, kept: Tensor) -> "KernelSums":
        """Return those of some groups, given as a bool mask ``(G,)``."""
        return KernelSums(self.blocks[kept][:, kept], self.diagonal[kept], self.counts[kept])


def kernel_sums(first: Tensor, second: Tensor, groups: Tensor) -> KernelSums:
    """Sum the kernel ``(x·y / D + 1)³`` over all pairs of two sets of features, ``(N, D)`` each.

    Args:
        first: Features ``(N, D)``.
        second: Features ``(N, D)``.
        groups: Number of the group of each, ``(N,)``, the same in both sets.
    """
    values = (first.double() @ second.double().T / first.shape[1] + 1) ** 3
    members = F.one_hot(groups).double()
    return KernelSums(members.T @ values @ members, members.T @ values.diagonal(), members.sum(0))


def kernel_distance(among_real: KernelSums, among_others: KernelSums, between: KernelSums) -> float:
    """Return the unbiased squared maximum mean discrepancy (KID) from the sums of the kernel.

    Source: Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.

    Args:
        among_real: :func:`kernel_sums` of the real features with themselves.
        among_others: Those of the others with themselves.
        between: Those of the real ones with the others.
    """
    count = between.counts.sum()
    means = [(k.blocks.sum() - k.diagonal.sum()) / (count * (count - 1)) for k in (among_real, among_others)]
    return float(means[0] + means[1] - 2 * between.blocks.sum() / count**2)


def paired_kernel_distance(among_sources: KernelSums, among_others: KernelSums, between: KernelSums) -> float:
    """Return the same discrepancy between sources and what was made of them, unbiased in spite of the pairs.

    Only images of different groups meet, so neither a source and what became of it do, nor partners of one group.
    What sources and others have in common cancels: the identity is at 0 exactly, and all else is known far better
    than from other real images.

    Args:
        among_sources: :func:`kernel_sums` of the sources with themselves.
        among_others: Those of the others with themselves.
        between: Those of the sources with the others.
    """
    blocks = among_sources.blocks + among_others.blocks - between.blocks - between.blocks.T
    apart = between.counts.sum() ** 2 - between.counts.square().sum()
    return float(blocks.fill_diagonal_(0.0).sum() / apart)


def pairwise(first: Tensor, second: Tensor) -> Tensor:
    """Return the Euclidean distances of all pairs: features ``(N, D)`` and ``(M, D)`` to ``(N, M)``; equal is 0."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def radii(distances: Tensor, nearest_k: int) -> Tensor:
    """Return how far each point's k-th nearest neighbour is: distances of a set to itself ``(N, N)`` to ``(N,)``."""
    return distances.kthvalue(nearest_k + 1, dim=1).values


def density_and_coverage(distances: Tensor, radii: Tensor, nearest_k: int) -> tuple[float, float]:
    """Return density and coverage from distances that are known.

    The same as :func:`nda_augment.metrics.precision_recall_density_coverage`, which takes features, and would compute
    all distances again for each group that is left out.

    Args:
        distances: Distances of the real features to the others, ``(N, M)``.
        radii: Distance of each real feature to its k-th nearest real neighbour, ``(N,)``.
        nearest_k: The k of the radii.
    """
    inside = distances < radii.unsqueeze(1)
    return float(inside.sum()) / (nearest_k * distances.shape[1]), float(inside.any(1).float().mean())


def projection(real: Tensor, dimensions: int) -> Callable[[Tensor], Tensor]:
    """Return the map of features ``(N, D)`` to principal components of the real ones, if there are too many.

    Args:
        real: The features that the components are fitted to, ``(N, D)``.
        dimensions: The largest number of components.
    """
    mean = real.mean(0)
    if real.shape[1] <= dimensions:
        return lambda features: features - mean
    components = torch.linalg.eigh(torch.cov((real - mean).T)).eigenvectors[:, -dimensions:]
    return lambda features: (features - mean) @ components


def clusters(features: Tensor, number: int, *, generator: torch.Generator, rounds: int = 50) -> Tensor:
    """Return the centres ``(number, D)`` that k-means finds, started by k-means++.

    Written here because scikit-learn, which has it, is not required.

    Source: Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.

    Args:
        features: Features ``(N, D)``.
        number: Number of clusters.
        generator: Source of the first centres.
        rounds: Largest number of rounds.
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
