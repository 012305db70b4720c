"""How good generated images are, judged on features: precision, recall, density and coverage.

They answer what one number such as the Fréchet distance mixes up: are the generated images real-looking (precision,
density), and do they show everything that the real ones show (recall, coverage)? The second question matters for
negative data augmentation, since with some losses a generator may drop modes for free; see
:func:`nda_augment.losses.discriminator_loss`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Distances are computed in blocks of at most this many numbers: 64 MiB in float32, 128 MiB in float64.
_BLOCK = 2**24


class PRDC(NamedTuple):
    """Precision, recall, density and coverage, each a 0-d tensor; density may exceed 1, the others lie in [0, 1].

    Attributes:
        precision: Share of generated points inside at least one real ball.
        recall: Share of real points inside at least one generated ball.
        density: Number of real balls that a generated point lies in, on average, divided by ``nearest_k``.
        coverage: Share of real balls that hold at least one generated point.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


@torch.no_grad()
def precision_recall_density_coverage(real: Tensor, fake: Tensor, *, nearest_k: int = 5) -> PRDC:
    """Compare two sets of features by balls that reach to each point's k-th nearest neighbour in its own set.

    A point is inside a ball if it is strictly nearer than the radius, so features that do not vary at all score 0
    everywhere. For two samples of one distribution precision and recall are below 1 (about 0.7 at ``nearest_k=5``)
    and density and coverage near 1: print a real-against-real row with the others. All four depend on the sample
    sizes; compare only at equal sizes.

    Distances are Euclidean, taken from differences rather than from dot products: equal points are exactly 0 apart
    and ties stay ties, which the strict inequality relies on. They are computed in blocks of rows and reduced at
    once, so memory beyond the features is a few blocks of 16.8 million numbers (64 MiB each in float32), however
    many points there are; time grows with ``(N + M)² · D``.

    Written here because no library that is needed otherwise has it; the tests compare it with ``prdc``.

    Written here because no library that is needed otherwise has it; the tests compare it with ``prdc``.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS 2019
    (precision, recall); Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020
    (density, coverage).

    Args:
        real: Features of real images, ``(N, D)``, any floating dtype; half precision is computed in float32.
        fake: Features of generated images, ``(M, D)``, on the same device.
        nearest_k: Number of the neighbour that sets a ball's radius, the point itself not counted. 5 is customary.

    Returns:
        The four values, 0-d tensors on the features' device.

    Raises:
        TypeError: If features are not floating-point tensors.
        ValueError: If features are not ``(N, D)``, differ in D or in device, hold NaN or infinity, or have no more
            than ``nearest_k`` points; if ``nearest_k`` is below 1.

    Example:
        >>> import torch
        >>> real = torch.tensor([[0.0], [1.0], [3.0], [6.0]])
        >>> fake = torch.tensor([[0.5], [0.7], [9.5]])
        >>> scores = precision_recall_density_coverage(real, fake, nearest_k=1)
        >>> [round(score.item(), 3) for score in scores]  # 9.5 is in no real ball, two balls are empty
        [0.667, 0.75, 1.333, 0.5]
    """
    real, fake = _check_features(real, fake, nearest_k)
    real_radii = _radii(real, nearest_k)
    fake_radii = _radii(fake, nearest_k)

    # How many real balls hold each generated point; which real points lie in a generated ball; which balls are held.
    balls_around_fake = torch.zeros(len(fake), dtype=torch.long, device=fake.device)
    recalled, covered = [], []
    size = _rows_per_block(len(fake))
    for rows, radii in zip(*(torch.split(x, size) for x in (real, real_radii)), strict=True):
        distances = _distances(rows, fake)
        inside_real = distances < radii[:, None]
        balls_around_fake += inside_real.sum(dim=0)
        covered.append(inside_real.any(dim=1))
        recalled.append((distances < fake_radii).any(dim=1))

    return PRDC(
        precision=(balls_around_fake > 0).to(real.dtype).mean(),
        recall=torch.cat(recalled).to(real.dtype).mean(),
        density=balls_around_fake.to(real.dtype).mean() / nearest_k,
        coverage=torch.cat(covered).to(real.dtype).mean(),
    )


def _radii(features: Tensor, nearest_k: int) -> Tensor:
    """Distance of each point to its k-th nearest neighbour; the nearest of all, at distance 0, is the point itself."""
    blocks = torch.split(features, _rows_per_block(len(features)))
    return torch.cat([_distances(rows, features).kthvalue(nearest_k + 1, dim=1).values for rows in blocks])


def _distances(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")


def _rows_per_block(columns: int) -> int:
    return max(1, _BLOCK // columns)


def _check_features(real: Tensor, fake: Tensor, nearest_k: int) -> tuple[Tensor, Tensor]:
    if nearest_k < 1:
        raise ValueError(f"nearest_k must be at least 1, got {nearest_k}")
    for name, features in (("real", real), ("fake", fake)):
        if not isinstance(features, Tensor) or not features.is_floating_point():
            kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
            raise TypeError(f"{name} features must be a floating-point tensor, got {kind}")
        if features.ndim != 2 or features.shape[1] == 0:
            raise ValueError(f"{name} features must be (N, D) with D >= 1, got shape {tuple(features.shape)}")
        if len(features) <= nearest_k:
            raise ValueError(
                f"{name} has {len(features)} points, too few for nearest_k={nearest_k}: "
                f"give at least {nearest_k + 1}, or a smaller nearest_k"
            )
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"features must agree in D, got {real.shape[1]} (real) and {fake.shape[1]} (fake)")
    if real.device != fake.device:
        raise ValueError(f"features must be on one device, got {real.device} (real) and {fake.device} (fake)")
    for name, features in (("real", real), ("fake", fake)):
        finite = features.isfinite().all()
        if finite.device.type != "cpu":
            torch._assert_async(finite, f"{name} features hold NaN or infinity")
        elif not finite:
            raise ValueError(f"{name} features hold NaN or infinity")
    dtype = torch.promote_types(torch.promote_types(real.dtype, fake.dtype), torch.float32)
    return real.to(dtype), fake.to(dtype)
