"""The bench of an audit: the real images, and everything that is measured against them."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from nda_augment.auditing import measures as M
from nda_augment.auditing import verdicts
from nda_augment.auditing.intervals import MOST_GROUPS, jackknife, leave_one_out, share
from nda_augment.auditing.report import Examples, Measures, Row
from nda_augment.auditing.structure import structure_of
from nda_augment.metrics import precision_recall_density_coverage
from nda_augment.transforms import NegativeTransform

Transform = Callable[[Tensor], Tensor]

REFERENCES = ("real", "identity", "noise", "horizontal flip")
_TRUSTED = REFERENCES[-1]
NEAREST_K = 5
# At most so many features are compared; each needs some images on either side.
_COMPONENTS, _IMAGES_PER_COMPONENT = 64, 4
_PATCHES_PER_IMAGE = 4
_PIXEL_RIDGE = 1.0
_PIXEL_SIDE = 32
# Pixels that hardly vary, such as those of a black border, are measured in units of one step of 8 bits.
_LEAST_DEVIATION = 1 / 255
_UNCHANGED, _NEARLY_UNCHANGED = 0.5 / 255, 0.05
_BATCH = 256
_SHOWN, _WORST = 8, 4


class Bench:
    """Half of the images to be made into negatives, half to compare with, and what was learned from them.

    Args:
        pixels: ``(2n, C, H, W)`` in [0, 1], in random order.
        order: ``(2n,)``, the number of each image as the user counts.
        labels: ``(2n,)``, or ``None``.
        encoder: Images to features, in eval mode.
        generator: Source of all draws.

    Attributes:
        real: The images to compare with.
        sources: The images that negatives are made of.
        number: Number of groups.
        structure: What judges whether structure is whole.
        structure_is_known: False where all images are in one cluster, and once a horizontal flip has stayed on the
            data and yet left most clusters: then these are of places or phases, as in textures. Either way they say
            nothing of structure.
        features: Images to the features that are compared.
        patch: Side of a patch in pixels.
    """

    def __init__(
        self, pixels: Tensor, order: Tensor, labels: Tensor | None, encoder: nn.Module, generator: torch.Generator
    ) -> None:
        n = len(pixels) // 2
        self.real, self.sources, self.order = pixels[:n], pixels[n:], order[n:]
        self.number = min(MOST_GROUPS, n // 4)
        self.groups = torch.arange(n, device=pixels.device) % self.number
        self.labels = None if labels is None else labels[n:]
        self.scale = (self.real - self.sources).flatten(1).square().mean(1).sqrt().median()
        if self.scale == 0:
            raise ValueError("more than half of the images are equal to others; an audit needs images that differ")

        self.features = _feature_space(encoder, self.real, min(_COMPONENTS, max(2, n // _IMAGES_PER_COMPONENT)))
        self.real_features, self.source_features = self.features(self.real), self.features(self.sources)
        self.structure = structure_of(self.real_features, self.source_features, labels, self.groups, generator)
        self.structure_is_known = self.structure.chance < 1

        self.patch = max(3, min(8, min(pixels.shape[-2:]) // 4))
        reach = torch.tensor(pixels.shape[-2:]) - self.patch + 1
        places = (torch.rand(n, _PATCHES_PER_IMAGE, 2, generator=generator) * reach).long().to(pixels.device)
        cut = partial(M.patches, places=places, side=self.patch)
        project = M.projection(cut(self.real), n * _PATCHES_PER_IMAGE // _IMAGES_PER_COMPONENT)
        self.patches: Callable[[Tensor], Tensor] = lambda images: project(cut(images))
        self.real_patches = self.patches(self.real)

        small = M.at_most(self.sources, _PIXEL_SIDE).flatten(1)
        self.pixel_means, self.pixel_deviations = small.mean(0), small.std(0).clamp(min=_LEAST_DEVIATION)
        self.deviations, self.means = torch.std_mean(self.sources, dim=(0, 2, 3), keepdim=True)

        self.masks = leave_one_out(self.groups)
        self.among_real = M.kernel(self.real_features, self.real_features)
        self.baselines = self._places(self.source_features, self.patches(self.sources))
        noise = self._apply(self.noise, "noise", 0)
        self.nearest = self.baselines[0].patch_distance
        self.farthest = self._patch_distance(self.patches(noise), self.masks[0])

    def row(self, name: str, transform: Transform | None, seed: int) -> tuple[Row, Examples]:
        """Measure what a transform makes of the sources; ``None`` measures the sources beside the real images."""
        originals = self.real if transform is None else self.sources
        others = self.sources if transform is None else self._apply(transform, name, seed)
        change = M.relative_change(originals, others, self.scale)
        measures = self._measure(originals, others, change)
        least = change.argsort(stable=True)[:_WORST]
        examples = Examples(
            *(images.cpu() for images in (originals[:_SHOWN], others[:_SHOWN], originals[least], others[least]))
        )
        if name == _TRUSTED and self.structure.stands_in and measures.broken.low > 0.5:
            self.structure_is_known &= not verdicts.is_on_data(measures)
        checks = verdicts.checks(measures, structure_is_known=self.structure_is_known)
        worst = tuple(self.order[least.cpu()].tolist())
        return Row(
            name,
            name in REFERENCES,
            measures,
            verdicts.preserved(measures),
            *verdicts.conclude(measures, checks),
            checks,
            worst,
        ), examples

    def noise(self, images: Tensor) -> Tensor:
        """Return noise with the mean and variance of each channel, normally distributed and independent."""
        return torch.randn_like(images) * self.deviations + self.means

    def _apply(self, transform: Transform, name: str, seed: int) -> Tensor:
        """Transform the sources group by group, so that partners are of the same group."""
        others = torch.empty_like(self.sources)
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[others.device] if others.is_cuda else []):
            torch.manual_seed(seed)
            for group in range(self.number):
                own = self.groups == group
                images = self.sources[own]
                if isinstance(transform, NegativeTransform):
                    labels = self.labels[own] if transform.needs_labels and self.labels is not None else None
                    made = transform(images, generator=generator, labels=labels)
                else:
                    made = transform(images)
                if made.shape != images.shape:
                    raise ValueError(
                        f"{name} made {tuple(made.shape)} of {tuple(images.shape)}; it must keep the shape"
                    )
                others[own] = made.to(others.dtype)
        return others

    def _measure(self, originals: Tensor, others: Tensor, change: Tensor) -> Measures:
        first, second = self.features(originals), self.features(others)
        among, among_others, between = M.kernel(first, first), M.kernel(second, second), M.kernel(first, second)
        before, after = M.statistics(originals), M.statistics(others)
        kept = self.structure.kept(second)

        numbers = []
        places = self._places(second, self.patches(others))
        for some, place, baseline in zip(self.masks, places, self.baselines, strict=True):
            old, new = before.of(some), after.of(some)
            own = {
                "shift": M.paired_kernel_distance(*_pick(some, among, among_others, between), self.groups[some]),
                "overlap": min(place.density / baseline.density, place.coverage / baseline.coverage, 1.0),
                "realism": (self.farthest - place.patch_distance) / (self.farthest - self.nearest),
                "broken": self.structure.broken(kept, some),
                "change": float(change[some].mean()),
                "mean_shift": M.mean_shift(old, new),
                "variance_ratio": M.variance_ratio(old, new),
                "histogram": M.histogram_distance(old, new),
                "spectrum": M.spectrum_distance(old, new),
            }
            numbers.append({**asdict(place), **own})

        apart = partial(M.told_apart, groups=self.groups)
        return Measures(
            unchanged=share(((others - originals).abs() <= _UNCHANGED).flatten(1).all(1)),
            nearly_unchanged=share(change < _NEARLY_UNCHANGED),
            told_by_pixels=share(apart(self._small(originals), self._small(others), ridge=_PIXEL_RIDGE)),
            told_by_features=share(apart(first, second, ridge=M.FEATURE_RIDGE)),
            kept=share(kept),
            **jackknife(numbers, len(others)),
        )

    def _places(self, features: Tensor, patches: Tensor) -> list["_Place"]:
        """Say where images are, seen from the real ones: all, then all but those of each group on either side."""
        among, between = M.kernel(features, features), M.kernel(self.real_features, features)
        places = []
        for some in self.masks:
            real = self.real_features[some]
            support = precision_recall_density_coverage(real, features[some], nearest_k=NEAREST_K)
            places.append(
                _Place(
                    frechet=M.frechet_distance(real, features[some]),
                    kernel=M.kernel_distance(*_pick(some, self.among_real, among, between)),
                    density=float(support.density),
                    coverage=float(support.coverage),
                    patch_distance=self._patch_distance(patches, some),
                )
            )
        return places

    def _patch_distance(self, patches: Tensor, some: Tensor) -> float:
        cut = some.repeat_interleave(_PATCHES_PER_IMAGE)
        real = self.real_patches[cut]
        return math.sqrt(M.frechet_distance(real, patches[cut]) / float(real.var(0).sum()))

    def _small(self, images: Tensor) -> Tensor:
        """Pixels in units of their deviation over the sources."""
        return (M.at_most(images, _PIXEL_SIDE).flatten(1) - self.pixel_means) / self.pixel_deviations


@dataclass(frozen=True)
class _Place:
    """Where images are, seen from the real ones; see ``Measures``."""

    frechet: float
    kernel: float
    density: float
    coverage: float
    patch_distance: float


def _pick(some: Tensor, first: Tensor, second: Tensor, third: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows and columns in a bool mask of three square matrices."""
    return first[some][:, some], second[some][:, some], third[some][:, some]


def _feature_space(encoder: nn.Module, real: Tensor, dimensions: int) -> Callable[[Tensor], Tensor]:
    """Return the map of images to features, in units of their deviation over the real images."""

    def encode(images: Tensor) -> Tensor:
        return torch.cat([encoder(some).flatten(1).float() for some in torch.split(images, _BATCH)])

    features = encode(real)
    if not features.isfinite().all():
        raise ValueError("the encoder's features of the images hold NaN or infinity")
    deviations, means = torch.std_mean(features, dim=0)
    varies = deviations > 1e-6 * deviations.max()
    if not varies.any():
        raise ValueError("the encoder's features are the same for all images")

    def standardise(features: Tensor) -> Tensor:
        return (features - means)[:, varies] / deviations[varies]

    project = M.projection(standardise(features), dimensions)
    return lambda images: project(standardise(encode(images)))
