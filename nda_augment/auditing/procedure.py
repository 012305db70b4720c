"""The audit itself: which images play which part, and what is made of them."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from nda_augment._negatives import check_negative
from nda_augment._networks import evaluating
from nda_augment.auditing.bench import NEAREST_K, REFERENCES, Bench, Transform
from nda_augment.auditing.encoder import train_encoder
from nda_augment.auditing.intervals import share
from nda_augment.auditing.report import Progress, Report, Settings
from nda_augment.policy import from_policy
from nda_augment.registry import ENTRIES
from nda_augment.transforms import NegativeTransform

FEWEST = 32
_SMALLEST = 8
_STEPS = 150


def audit(
    images: Tensor,
    transforms: str | Sequence[NegativeTransform] | Mapping[str, Transform] | None = None,
    *,
    labels: Tensor | None = None,
    encoder: nn.Module | None = None,
    max_images: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Measure how negative each negative is, on these images.

    The images are dealt into two halves at random. One half is made into negatives, the other is the real images that
    negatives are compared with. Beside the transforms there are four rows to compare with: the first half as it is
    ("real"), the first half against itself ("identity"), noise with the mean and variance of each channel, and a
    horizontal flip. What is measured is listed in :class:`~nda_augment.auditing.Measures`, and what follows from it in
    ``nda_augment.auditing.verdicts``.

    The default encoder is small and trained on the given images alone, by SimCLR. It has learned to overlook crops,
    blur and colour, so it finds those harmless by construction; give an ``encoder`` that knows better if you have one.
    Without labels, "structure is broken" means that an image's features leave the cluster that they were in.

    Args:
        images: ``(N, C, H, W)``, uint8, or floating point in [0, 1]; at least 32.
        transforms: A policy string, transforms, or any functions of a batch by name (such as a positive
            augmentation to compare with; their randomness must come from torch's global generators). By default every
            transform of the registry that takes these images.
        labels: int64 ``(N,)``, the classes of the images. With them structure is judged by a classifier.
        encoder: Any module that maps ``(n, C, H, W)`` in [0, 1] to features; what it returns is flattened. It is used
            in eval mode. By default one is trained.
        max_images: A random sample of so many is looked at if there are more.
        seed: Equal seeds give equal reports.
        progress: Called with a stage, the steps done in it and their total.

    Returns:
        The report; see :class:`~nda_augment.auditing.Report`.

    Raises:
        ValueError: If there are fewer than 32 images, or of a wrong shape or range; if labels are not one per image;
            if a given transform does not take the images; if two transforms have one name.
        TypeError: If images are no tensor of uint8 or floating point, or transforms are of another kind.

    Example:
        >>> import torch, nda_augment as nda
        >>> images = torch.rand(64, 1, 16, 16).cumsum(2).cumsum(3) / 256
        >>> report = nda.audit(images, "jigsaw,stitch")
        >>> [row.name for row in report.rows]
        ['real', 'identity', 'noise', 'horizontal flip', 'jigsaw', 'stitch']
    """
    _check(images, labels, max_images)
    tell = progress or (lambda stage, done, total: None)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)[:max_images]
    order = order[: len(order) // 2 * 2]
    pixels = images[order.to(images.device)]
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    classes = None if labels is None else labels[order.to(labels.device)].to(images.device)
    chosen, skipped = (transforms, {}) if isinstance(transforms, Mapping) else choose(transforms, pixels)
    _check_names(chosen)

    source = "given by the caller"
    if encoder is None:
        encoder = train_encoder(pixels, steps=_STEPS, seed=seed, progress=lambda *step: tell("encoder", *step))
        source = f"own, self-supervised, {_STEPS} steps on these images"
    with evaluating(encoder), torch.no_grad():
        bench = Bench(pixels, order, classes, encoder, generator)
        makers: dict[str, Transform | None] = {
            "real": None,
            "identity": lambda images: images,
            "noise": bench.noise,
            "horizontal flip": lambda images: images.flip(-1),
            **chosen,
        }
        rows, examples = [], {}
        for number, (name, transform) in enumerate(makers.items()):
            row, examples[name] = bench.row(name, transform, seed)
            rows.append(row)
            tell("transforms", number + 1, len(makers))
    settings = Settings(
        given=len(images),
        used=len(order),
        n=len(order) // 2,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        groups=bench.number,
        features=bench.real_features.shape[1],
        encoder=source,
        structure=bench.structure.name,
        structure_is_known=bench.structure_is_known,
        classifier=None if classes is None else share(bench.structure.clean),
        nearest_k=NEAREST_K,
        patch=bench.patch,
        seed=seed,
    )
    return Report(settings, tuple(rows), skipped, examples)


def choose(
    transforms: str | Sequence[NegativeTransform] | None, images: Tensor
) -> tuple[dict[str, NegativeTransform], dict[str, str]]:
    """Return the transforms by policy string, and those of the registry that do not take such images, with the reason.

    Args:
        transforms: A policy string, transforms, or ``None`` for the registry.
        images: ``(N, C, H, W)``.
    """
    if transforms is None:
        chosen: dict[str, NegativeTransform] = {}
        skipped: dict[str, str] = {}
        for entry in ENTRIES:
            if entry.cls.needs_clips:
                continue
            try:
                entry.cls()(images[:4], generator=torch.Generator())
            except ValueError as error:
                skipped[entry.word] = str(error)
            else:
                chosen[entry.word] = entry.cls()
        return chosen, skipped
    if isinstance(transforms, NegativeTransform) or not isinstance(transforms, str | Iterable):
        raise TypeError(f"transforms must be a policy string, or a list or mapping of transforms, got {transforms!r}")
    members = from_policy(transforms).members if isinstance(transforms, str) else list(transforms)
    for member in members:
        check_negative(member, "transforms in a list", always=False, labels=True, clips=True)
    names = [str(transform) for transform in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"every transform is audited once, got {', '.join(twice)} more than once")
    return dict(zip(names, members, strict=True)), {}


def _check_names(chosen: Mapping[str, Transform]) -> None:
    if not chosen:
        raise ValueError("no transform to audit: give at least one, such as 'jigsaw,stitch'")
    if taken := sorted(set(chosen) & set(REFERENCES)):
        raise ValueError(f"the names of references are taken, give {', '.join(map(repr, taken))} another name")


def _check(images: Tensor, labels: Tensor | None, max_images: int) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor (N, C, H, W), got {type(images).__name__}")
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), got shape {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point, got {images.dtype}")
    if len(images) < FEWEST:
        raise ValueError(f"{len(images)} images are too few for an audit; give at least {FEWEST}, better 500 or more")
    if max_images < FEWEST:
        raise ValueError(f"max_images must be at least {FEWEST}, got {max_images}")
    if min(images.shape[-2:]) < _SMALLEST:
        raise ValueError(f"images (N, C, H, W) must have at least {_SMALLEST} pixels a side, got {tuple(images.shape)}")
    if images.is_floating_point() and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images must lie in [0, 1], got [{images.min():.3g}, {images.max():.3g}]; "
            "bring [-1, 1] there with (images + 1) / 2"
        )
    if labels is not None and (labels.shape != images.shape[:1] or labels.is_floating_point()):
        raise ValueError(f"labels must be one integer per image, got {labels.dtype} {tuple(labels.shape)}")
