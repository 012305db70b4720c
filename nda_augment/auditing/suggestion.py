"""Choose negatives for given images."""

from collections.abc import Sequence

from torch import Tensor, nn

from nda_augment.auditing.report import Progress, Purpose
from nda_augment.auditing.run import audit, choose
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import Mixture, NegativeTransform

_PER_FAMILY = 2
_LEAST_WEIGHT = 0.01


def auto_policy(
    images: Tensor,
    budget: int = 500,
    *,
    members: int = 4,
    transforms: str | Sequence[NegativeTransform] | None = None,
    labels: Tensor | None = None,
    encoder: nn.Module | None = None,
    purpose: Purpose = "gan",
    seed: int = 0,
    progress: Progress | None = None,
) -> Mixture:
    """Return a mixture of the negatives that suit these images.

    The rules:

    1. Every transform is audited, on a random sample of ``budget`` images.
    2. What passes is taken in the order of the audit's ranking, whose score is structure broken times local realism
       (for defects, hardness times local realism); what only warns as a negative (because it may be too easy) follows.
       Positives, artefacts, what does not suit the purpose and what is too close to call are never taken.
    3. At most ``members`` are taken, and at most two of one family: variety costs nothing.
    4. A member's weight is its score, in whole hundredths.

    Args:
        images: Images, as for :func:`nda_augment.audit`.
        budget: Number of images to look at, 148 at least.
        members: Largest number of transforms in the mixture.
        transforms: Transforms to choose from; by default all of the registry that take the images.
        labels: Classes of the images, as for :func:`nda_augment.audit`.
        encoder: Network from images to features, as for :func:`nda_augment.audit`.
        purpose: Use of the negatives, as for :func:`nda_augment.audit`; ``"defect"`` proposes what a detector of
            defects learns from.
        seed: Seed of all draws.
        progress: Function called with a stage, the steps done in it and their total.

    Returns:
        The mixture; ``str`` of it is its policy string.

    Raises:
        ValueError: If no transform is a clear negative for these images, or as :func:`nda_augment.audit` does.

    Example:
        >>> import torch, nda_augment as nda
        >>> images = torch.rand(200, 1, 16, 16).cumsum(2).cumsum(3) / 256  # darker towards the upper left
        >>> mixture = nda.auto_policy(images, transforms="flip,rotate90", members=1)
        >>> len(mixture.members)
        1
    """
    if members < 1:
        raise ValueError(f"members must be at least 1, got {members}")
    candidates, _ = choose(transforms, images)
    report = audit(
        images,
        candidates,
        labels=labels,
        encoder=encoder,
        max_images=budget,
        purpose=purpose,
        seed=seed,
        progress=progress,
    )
    families = {negative: negative.card.family for negative in NEGATIVES}
    taken: list[NegativeTransform] = []
    weights: list[float] = []
    for row in report.ranking:
        transform = candidates[row.name]
        family = [families.get(type(other)) for other in taken].count(families.get(type(transform)))
        if row.kind == "negative" and row.score >= _LEAST_WEIGHT and family < _PER_FAMILY and len(taken) < members:
            taken.append(transform)
            weights.append(round(row.score, 2))
    if not taken:
        raise ValueError(f"no transform is a clear negative for these images ({report.headline()}); see nda.audit")
    return Mixture(taken, weights)
