"""Real images, and everything that is measured between them and negatives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from nda_augment._seeding import seeded
from nda_augment.auditing.measuring import distances as D
from nda_augment.auditing.measuring import pixels as P
from nda_augment.auditing.measuring.intervals import MOST_GROUPS, jackknife, leave_one_out, share
from nda_augment.auditing.measuring.probes import FEATURE_RIDGE, told_apart, told_by_score
from nda_augment.auditing.measuring.structure import structure_of
from nda_augment.auditing.report import Measures
from nda_augment.transforms import NegativeTransform

Transform = Callable[[Tensor], Tensor]

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


class Comparison:
    """Half of the images to be made into negatives, half to compare with, and what was learned from them.

    Args:
        pixels: Images ``(2n, C, H, W)`` in [0, 1], in random order.
        labels: Classes ``(2n,)``, or ``None``.
        encoder: Network from images to features, in eval mode.
        generator: Source of all draws.

    Attributes:
        real: The images to compare with.
        sources: The images that negatives are made of.
        number: Number of groups.
        structure: Judge of whether structure is whole.
        features: Number of features that are compared.
        patch: Side of a patch in pixels.
    """

    def __init__(self, pixels: Tensor, labels: Tensor | None, encoder: nn.Module, generator: torch.Generator) -> None:
        n = len(pixels) // 2
        self.real, self.sources = pixels[:n], pixels[n:]
        self.number = min(MOST_GROUPS, n // 4)
        self.groups = torch.arange(n, device=pixels.device) % self.number
        self.labels = None if labels is None else labels[n:]
        self.masks = leave_one_out(self.groups)
        self.scale = (self.real - self.sources).flatten(1).square().mean(1).sqrt().median()
        if self.scale == 0:
            raise ValueError("more than half of the images are equal to others; an audit needs images that differ")
        self.deviations, self.means = torch.std_mean(self.sources, dim=(0, 2, 3), keepdim=True)

        self._views = self._learn(encoder, generator)
        self._seen = {"real": self._views(self.real), "sources": self._views(self.sources)}
        real, sources = self._seen["real"], self._seen["sources"]
        self.features = real.features.shape[1]
        self.structure = structure_of(real.features, sources.features, labels, self.groups, generator)

        among = D.pairwise(real.features, real.features)
        self.radii = [D.radii(among[some][:, some], NEAREST_K) for some in self.masks]
        self.spread = [float(gaussian.covariance.trace()) for gaussian in real.patches]
        self.baselines = self._places(sources)
        if not all(place.density for place in self.baselines):
            raise ValueError("the encoder's features are the same for most images, so they have no neighbours to count")
        noise = self._views(self.apply(self.noise, "noise", 0))
        self.nearest, self.farthest = self.baselines[0].patch_distance, self._patch_distances(noise)[0]

    def noise(self, images: Tensor) -> Tensor:
        """Return noise with the mean and variance of each channel, normally distributed and independent."""
        return torch.randn_like(images) * self.deviations + self.means

    def apply(self, transform: Transform, name: str, seed: int) -> Tensor:
        """Transform the sources group by group, so that partners are of the same group."""
        others = torch.empty_like(self.sources)
        generator = torch.Generator().manual_seed(seed)
        with seeded(seed, others.device):
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

    def changes(self, others: Tensor | None) -> Tensor:
        """Return how much each image changed, in units of what two images differ by; see :meth:`measure`."""
        originals, others = (self.real, self.sources) if others is None else (self.sources, others)
        return P.relative_change(originals, others, self.scale)

    def measure(self, others: Tensor | None) -> Measures:
        """Measure what became of the sources; ``None`` measures the sources against the real images."""
        if others is None:
            first, second = self._seen["real"], self._seen["sources"]
        else:
            first, second = self._seen["sources"], self._views(others)
        differences = (second.images - first.images).abs()
        change = P.relative_change(first.images, second.images, self.scale)
        kept = self.structure.kept(second.features)
        between = D.kernel_sums(first.features, second.features, self.groups)

        numbers = []
        places = self._places(second)
        left = leave_one_out(torch.arange(self.number))
        for some, groups, place, baseline in zip(self.masks, left, places, self.baselines, strict=True):
            old, new = first.statistics.of(some), second.statistics.of(some)
            own = {
                "shift": D.paired_kernel_distance(
                    first.kernel.of(groups), second.kernel.of(groups), between.of(groups)
                ),
                "overlap": min(place.density / baseline.density, place.coverage / baseline.coverage, 1.0),
                "realism": (self.farthest - place.patch_distance) / (self.farthest - self.nearest),
                "broken": self.structure.broken(kept, some),
                "change": float(change[some].mean()),
                "extent": float((differences[some].amax(1) > _UNCHANGED).float().mean()),
                "mean_shift": P.mean_shift(old, new),
                "variance_ratio": P.variance_ratio(old, new),
                "histogram": P.histogram_distance(old, new),
                "spectrum": P.spectrum_distance(old, new),
            }
            numbers.append({**asdict(place), **own})

        apart = partial(told_apart, groups=self.groups)
        return Measures(
            unchanged=share((differences <= _UNCHANGED).flatten(1).all(1)),
            nearly_unchanged=share(change < _NEARLY_UNCHANGED),
            told_by_pixels=share(apart(first.small, second.small, ridge=_PIXEL_RIDGE)),
            told_by_features=share(apart(first.features, second.features, ridge=FEATURE_RIDGE)),
            told_by_edges=share(apart(first.edges, second.edges, ridge=FEATURE_RIDGE)),
            told_by_patches=share(told_by_score(first.strangeness, second.strangeness)),
            kept=share(kept),
            **jackknife(numbers, len(second.images)),
        )

    def _learn(self, encoder: nn.Module, generator: torch.Generator) -> Callable[[Tensor], "_View"]:
        """Learn from the images how to look at any."""
        n, size = len(self.real), self.real.shape[-2:]
        features = _feature_space(encoder, self.real, min(_COMPONENTS, max(2, n // _IMAGES_PER_COMPONENT)))
        self.patch = max(3, min(8, min(size) // 4))
        reach = torch.tensor(size) - self.patch + 1
        places = (torch.rand(n, _PATCHES_PER_IMAGE, 2, generator=generator) * reach).long().to(self.real.device)
        cut = partial(P.patches, places=places, side=self.patch)
        patches = cut(self.real)
        project = D.projection(patches, n * _PATCHES_PER_IMAGE // _IMAGES_PER_COMPONENT)
        strangeness = P.strangeness_of(patches, self.patch)
        small = P.at_most(self.sources, _PIXEL_SIDE).flatten(1)
        means, deviations = small.mean(0), small.std(0).clamp(min=_LEAST_DEVIATION)
        edges = P.edges_of(self.sources)
        groups = self.groups

        def view(images: Tensor) -> _View:
            return _View(
                images,
                groups,
                features(images),
                project(cut(images)),
                (P.at_most(images, _PIXEL_SIDE).flatten(1) - means) / deviations,
                edges(images),
                strangeness(images),
                P.statistics(images),
            )

        return view

    def _places(self, seen: "_View") -> list["_Place"]:
        """Say where images are, seen from the real ones: all, then all but those of each group on either side."""
        real = self._seen["real"]
        distances = D.pairwise(real.features, seen.features)
        between = D.kernel_sums(real.features, seen.features, self.groups)
        patch_distances = self._patch_distances(seen)
        found = []
        for number, groups in enumerate(leave_one_out(torch.arange(self.number))):
            some = self.masks[number]
            support = D.density_and_coverage(distances[some][:, some], self.radii[number], NEAREST_K)
            found.append(
                _Place(
                    D.frechet_distance(real.gaussians[number], seen.gaussians[number]),
                    D.kernel_distance(real.kernel.of(groups), seen.kernel.of(groups), between.of(groups)),
                    *support,
                    patch_distances[number],
                )
            )
        return found

    def _patch_distances(self, seen: "_View") -> list[float]:
        pairs = zip(self._seen["real"].patches, seen.patches, self.spread, strict=True)
        return [math.sqrt(D.frechet_distance(real, other) / spread) for real, other, spread in pairs]


@dataclass(frozen=True)
class _View:
    """A set of images and what is looked at in it; sums over groups are made when they are asked for.

    Attributes:
        images: The images ``(n, C, H, W)``.
        groups: Number of the group of each image, ``(n,)``.
        features: Features of the encoder, ``(n, D)``.
        cut: Features of small patches, some of each image in turn.
        small: Pixels of the reduced image, in units of their deviation.
        edges: Strength of the edges at each place.
        strangeness: Distance of the most unusual patch from real patches, ``(n,)``.
        statistics: Statistics of the pixels.
    """

    images: Tensor
    groups: Tensor
    features: Tensor
    cut: Tensor
    small: Tensor
    edges: Tensor
    strangeness: Tensor
    statistics: P.Statistics

    @cached_property
    def kernel(self) -> D.KernelSums:
        return D.kernel_sums(self.features, self.features, self.groups)

    @cached_property
    def gaussians(self) -> Sequence[D.Gaussian]:
        return D.gaussians(self.features, self.groups)

    @cached_property
    def patches(self) -> Sequence[D.Gaussian]:
        return D.gaussians(self.cut, self.groups.repeat_interleave(_PATCHES_PER_IMAGE))


@dataclass(frozen=True)
class _Place:
    """Where images are, seen from the real ones; see ``Measures``."""

    frechet: float
    kernel: float
    density: float
    coverage: float
    patch_distance: float


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

    project = D.projection(standardise(features), dimensions)
    return lambda images: project(standardise(encode(images)))
