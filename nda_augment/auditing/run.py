"""The audit itself: checks what is given, has everything measured, and draws the conclusions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor, nn

from nda_augment._checks import check_word
from nda_augment._negatives import check_negative
from nda_augment._networks import evaluating
from nda_augment.auditing import verdicts
from nda_augment.auditing.measuring.comparison import NEAREST_K, Comparison, Transform
from nda_augment.auditing.measuring.encoder import train_encoder
from nda_augment.auditing.measuring.intervals import share
from nda_augment.auditing.report import Examples, Measures, Progress, Purpose, Report, Row, Settings
from nda_augment.policy import from_policy
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform

# Half of the images are made into negatives, and the interval of 0 of 74 is the first to end below 5 %.
FEWEST = 148
REFERENCES = ("real", "identity", "white noise", "horizontal flip")
_TRUSTED = REFERENCES[-1]
_SMALLEST = 8
_STEPS = 150
_SHOWN, _WORST = 8, 4


def audit(
    images: Tensor,
    transforms: str | Sequence[NegativeTransform] | Mapping[str, Transform] | None = None,
    *,
    labels: Tensor | None = None,
    encoder: nn.Module | None = None,
    max_images: int = 2000,
    purpose: Purpose = "gan",
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Measure how negative each negative is, on these images.

    The images are dealt into two halves at random. One half is made into negatives, the other is the real images that
    negatives are compared with. Four rows are there to compare with: the first half as it is
    ("real"), the first half against itself ("identity"), white noise with the mean and variance of each channel, and a
    horizontal flip. What is measured is listed in :class:`~nda_augment.auditing.Measures`, and what follows from
    it, for each purpose, in ``nda_augment.auditing.verdicts``.

    The default encoder is small and trained on the given images alone, by SimCLR. It has learned to overlook crops,
    blur and colour, so it finds those harmless by construction; give an ``encoder`` that knows better if you have one.
    Without labels, "structure is broken" means that an image's features leave the cluster that they were in.

    Args:
        images: Images ``(N, C, H, W)``, uint8, or floating point in [0, 1]; at least 148.
        transforms: Policy string, transforms, or any functions of a batch by name (such as a positive augmentation to
            compare with; their randomness must come from torch's global generators). By default every transform of
            the registry that takes these images.
        labels: Classes of the images, int64 ``(N,)``. With them structure is judged by a classifier.
        encoder: Module that maps ``(n, C, H, W)`` in [0, 1] to features; what it returns is flattened. It is used in
            eval mode. By default one is trained.
        max_images: Largest number of images to look at; a random sample if there are more.
        purpose: Use of the negatives, which decides what is asked of them. ``"gan"`` and ``"semantic"`` (novelties of
            another kind): off the data, structure broken, locally real. ``"contrastive"``: the same, and what keeps
            its structure fails, since an encoder would be taught to tell an image from itself. ``"defect"``: a small
            part changed, hard to see and yet to be seen.
        seed: Seed of all draws; equal seeds give equal reports.
        progress: Function called with a stage, the steps done in it and their total.

    Returns:
        The report; see :class:`~nda_augment.auditing.Report`.

    Raises:
        ValueError: If there are fewer than 148 images, or of a wrong shape or range; if labels are not one per image;
            if a given transform does not take the images; if two transforms have one name; if the purpose is another
            word.
        TypeError: If images are no tensor of uint8 or floating point, or transforms are of another kind.

    Example:
        >>> import torch, nda_augment as nda
        >>> images = torch.rand(148, 1, 16, 16).cumsum(2).cumsum(3) / 256
        >>> report = nda.audit(images, "jigsaw,stitch")
        >>> [row.name for row in report.rows]
        ['real', 'identity', 'white noise', 'horizontal flip', 'jigsaw', 'stitch']
    """
    _check(images, labels, max_images)
    check_word(purpose, "purpose", get_args(Purpose))
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
        compared = Comparison(pixels, classes, encoder, generator)
        makers: dict[str, Transform | None] = {
            "real": None,
            "identity": lambda images: images,
            "white noise": compared.noise,
            "horizontal flip": lambda images: images.flip(-1),
            **chosen,
        }
        measured: dict[str, Measures] = {}
        examples: dict[str, Examples] = {}
        worst: dict[str, tuple[int, ...]] = {}
        for number, (name, transform) in enumerate(makers.items()):
            others = None if transform is None else compared.apply(transform, name, seed)
            least = compared.changes(others).argsort(stable=True)[:_WORST]
            originals, shown = (compared.real, compared.sources) if others is None else (compared.sources, others)
            measured[name] = compared.measure(others)
            examples[name] = Examples(
                *(some.cpu() for some in (originals[:_SHOWN], shown[:_SHOWN], originals[least], shown[least]))
            )
            worst[name] = tuple(order[len(compared.real) + least.cpu()].tolist())
            tell("transforms", number + 1, len(makers))
    known = _structure_is_known(compared, measured[_TRUSTED])
    rows = tuple(
        _row(name, measures, worst[name], purpose, structure_is_known=known) for name, measures in measured.items()
    )
    settings = Settings(
        given=len(images),
        used=len(order),
        n=len(order) // 2,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        groups=compared.number,
        features=compared.features,
        encoder=source,
        structure=compared.structure.name,
        structure_is_known=known,
        classifier=None if classes is None else share(compared.structure.clean),
        nearest_k=NEAREST_K,
        patch=compared.patch,
        seed=seed,
        purpose=purpose,
    )
    return Report(settings, rows, skipped, examples=examples)


def _structure_is_known(compared: Comparison, flipped: Measures) -> bool:
    """Whether what judges structure says anything of it.

    It does not if it is hardly better than chance. Clusters do not if a horizontal flip has stayed on the data and yet
    left most of them: then these are of places or phases, as in textures.
    """
    of_places = compared.structure.stands_in and flipped.broken.low > 0.5 and verdicts.is_on_data(flipped)
    return compared.structure.judges and not of_places


def _row(name: str, measures: Measures, worst: tuple[int, ...], purpose: Purpose, *, structure_is_known: bool) -> Row:
    checks = verdicts.checks(measures, purpose, structure_is_known=structure_is_known)
    conclusion = verdicts.conclude(measures, checks, purpose)
    return Row(name, name in REFERENCES, measures, verdicts.preserved(measures), *conclusion, checks, worst)


def choose(
    transforms: str | Sequence[NegativeTransform] | None, images: Tensor
) -> tuple[dict[str, NegativeTransform], dict[str, str]]:
    """Return the transforms by policy string, and those of the registry that do not take such images, with the reason.

    Args:
        transforms: Policy string, transforms, or ``None`` for the registry.
        images: Images ``(N, C, H, W)``.
    """
    if transforms is None:
        chosen: dict[str, NegativeTransform] = {}
        skipped: dict[str, str] = {}
        for negative in NEGATIVES:
            if negative.needs_clips:
                continue
            try:
                negative()(images[:4], generator=torch.Generator())
            except ValueError as error:
                skipped[negative.word] = str(error)
            else:
                chosen[negative.word] = negative()
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
        raise ValueError(
            f"{len(images)} images are too few for an audit: of fewer than {FEWEST} none can be said to change. Give "
            "more, better 500, or several crops of each"
        )
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
