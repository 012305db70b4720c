"""What an audit found: numbers, verdicts and examples, as Python objects and as JSON."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from torch import Tensor

Purpose = Literal["gan", "contrastive", "semantic", "defect"]
Progress = Callable[[str, int, int], None]
Verdict = Literal["pass", "warn", "fail"]
Kind = Literal["negative", "positive", "harmless", "unsuited", "unclear"]


@dataclass(frozen=True)
class Estimate:
    """A measured number.

    Attributes:
        value: The number.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        n: Number of images that it comes from.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Write the value and its interval: ``0.71 [0.68, 0.74]``."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Measures:
    """All numbers of one row; see ``docs/audit.md`` for what each means.

    Attributes:
        unchanged: Share of images that came back as they were, to half a step of 8 bits.
        nearly_unchanged: Share of images that changed by less than 5 % of what two images differ by.
        change: Mean change, root mean square, in units of what two images differ by.
        extent: Mean share of the pixels that change, by half a step of 8 bits or more.
        told_by_pixels: Share that a linear classifier of pixels tells from their sources; 1/2 is none.
        told_by_features: The same share on features.
        told_by_edges: The same share on how strong the edges are at each place, whatever the image shows: a negative
            that is told by these has its seams at places that a model can learn by heart.
        told_by_patches: Area under the ROC curve of an image's most unusual patch, against those of sources: how often
            it is more unusual; 1/2 is chance. Unusual is far from the Gaussian of real patches.
        frechet: Fréchet distance of the features from those of the held-out real images.
        kernel: KID of the same.
        shift: KID of the sources and of what became of them, taken over pairs that have nothing to do with each other.
        density: Density of the features among those of the held-out real images.
        coverage: Share of the held-out real images that have such a feature near.
        overlap: The smaller one of density and coverage, each in parts of real against real, 1 at most.
        kept: Share that is classified as it should be; without labels, that stays in the cluster of its source.
        broken: Part of the structure that is broken, judged by ``kept``: 0 for the images themselves, 1 for chance.
        patch_distance: Fréchet distance (its root) of small patches, in standard deviations of the real ones.
        realism: Local realism, judged by ``patch_distance``: 1 for real images, 0 for noise.
        mean_shift: Shift of the channel means, in standard deviations; the largest.
        variance_ratio: Variance of the pixels over that of real images.
        histogram: Total variation between the histograms of pixels, 0 to 1.
        spectrum: Difference of the power spectra in decibels.
    """

    unchanged: Estimate
    nearly_unchanged: Estimate
    change: Estimate
    extent: Estimate
    told_by_pixels: Estimate
    told_by_features: Estimate
    told_by_edges: Estimate
    told_by_patches: Estimate
    frechet: Estimate
    kernel: Estimate
    shift: Estimate
    density: Estimate
    coverage: Estimate
    overlap: Estimate
    kept: Estimate
    broken: Estimate
    patch_distance: Estimate
    realism: Estimate
    mean_shift: Estimate
    variance_ratio: Estimate
    histogram: Estimate
    spectrum: Estimate


@dataclass(frozen=True)
class Check:
    """One question to a negative, and the answer.

    Attributes:
        name: Question, as the end of "it ...".
        verdict: ``"pass"`` if the whole confidence interval is on the right side of the threshold, ``"fail"`` if the
            whole is on the wrong side, else ``"warn"``.
        observed: The measured number.
        threshold: The threshold.
        at_least: Whether the right side is above it.
        why: Why it matters.
    """

    name: str
    verdict: Verdict
    observed: Estimate
    threshold: float
    at_least: bool
    why: str


@dataclass(frozen=True)
class Row:
    """One set of images, compared with the real ones.

    Attributes:
        name: Name of the transform, or of the reference.
        reference: Whether it is there to compare with.
        measures: The numbers.
        preserved: Names of the statistics of the pixels that it keeps.
        kind: Kind of images that it makes.
        verdict: Verdict on it as a negative.
        score: Promise for the purpose, from 0 to 1; 0 where it fails.
        reason: The verdict in a sentence.
        checks: The questions behind the verdict.
        worst: Numbers of the images that it changed least, as they were given.
    """

    name: str
    reference: bool
    measures: Measures
    preserved: tuple[str, ...]
    kind: Kind
    verdict: Verdict
    score: float
    reason: str
    checks: tuple[Check, ...]
    worst: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Pictures of a row.

    Attributes:
        sources: First images ``(n, C, H, W)``, the same for all rows.
        others: Images that were made of them.
        worst_sources: The images that changed least.
        worst_others: Images that were made of those.
    """

    sources: Tensor
    others: Tensor
    worst_sources: Tensor
    worst_others: Tensor


@dataclass(frozen=True)
class Settings:
    """What an audit looked at, and how.

    Attributes:
        given: Number of images that there were.
        used: Number of images that were looked at.
        n: Images on either side of every comparison.
        shape: Shape of the images, ``(C, H, W)``.
        groups: Number of groups for folds and confidence intervals.
        features: Number of features in comparisons.
        encoder: Origin of the features.
        structure: Stand-in for structure: a classifier of labels, or clusters.
        structure_is_known: Whether that says anything: not if all images lie in one cluster, or if a horizontal flip
            stays on the data and yet leaves its clusters.
        classifier: Share of real images that this classifier is right on; ``None`` for clusters.
        nearest_k: Number of neighbours of density and coverage.
        patch: Side of the patches, in pixels.
        seed: Seed of all draws.
        purpose: Use of the negatives, which decides on the checks.
    """

    given: int
    used: int
    n: int
    shape: tuple[int, int, int]
    groups: int
    features: int
    encoder: str
    structure: str
    structure_is_known: bool
    classifier: Estimate | None
    nearest_k: int
    patch: int
    seed: int
    purpose: Purpose


@dataclass(frozen=True)
class Report:
    """The result of :func:`nda_augment.audit`.

    Attributes:
        settings: Images that were looked at, and how.
        rows: The references, then the transforms in the order in which they were given.
        skipped: Transforms that the images do not allow, and why.
        unread: Files that were to be looked at and could not be read, and why.
        examples: Pictures, by name of the row.
    """

    settings: Settings
    rows: tuple[Row, ...]
    skipped: dict[str, str]
    unread: tuple[str, ...] = ()
    examples: dict[str, Examples] = field(repr=False, compare=False, default_factory=dict)

    def __getitem__(self, name: str) -> Row:
        """Return the row of that name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no row {name!r}; there are {', '.join(row.name for row in self.rows)}")

    @property
    def references(self) -> list[Row]:
        """The rows to compare with."""
        return [row for row in self.rows if row.reference]

    @property
    def ranking(self) -> list[Row]:
        """The transforms, the most promising negative first: by verdict, then by score."""
        order = {"pass": 0, "warn": 1, "fail": 2}
        return sorted((row for row in self.rows if not row.reference), key=lambda row: (order[row.verdict], -row.score))

    def headline(self) -> str:
        """Return the whole report in a sentence."""
        ranking = self.ranking
        counts = {word: sum(row.verdict == word for row in ranking) for word in ("pass", "warn", "fail")}
        best = [row.name for row in ranking if row.verdict == "pass"][:3]
        advice = f"start with {', '.join(best)}" if best else "none is a clear negative for these images"
        unclear = sum(row.kind == "unclear" for row in ranking)
        if unclear and not best:
            advice += f"; {unclear} too close to call with {self.settings.used} of them"
        return f"{counts['pass']} pass, {counts['warn']} warn, {counts['fail']} fail: {advice}."

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures as plain lists, dicts, strings and numbers."""
        return {
            "headline": self.headline(),
            "settings": asdict(self.settings),
            "ranking": [row.name for row in self.ranking],
            "rows": [asdict(row) for row in self.rows],
            "skipped": self.skipped,
            "unread": list(self.unread),
        }

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2)
