"""From numbers to verdicts: thresholds, what follows from them, and why they matter."""

from dataclasses import dataclass

from nda_augment.auditing.report import Check, Estimate, Kind, Measures, Purpose, Verdict


@dataclass(frozen=True)
class Rule:
    """A question to a negative.

    Attributes:
        name: Question, as the end of "it ...".
        measure: Name of the number that answers.
        threshold: Value at which the answer changes.
        at_least: Whether a negative should be above.
        why: Reason why it matters.
    """

    name: str
    measure: str
    threshold: float
    at_least: bool
    why: str


CHANGES = Rule(
    "changes its images", "nearly_unchanged", 0.05, False,
    "An image that comes back unchanged is a real image with the label of a negative.",
)  # fmt: skip
SEPARABLE = Rule(
    "can be told from real images", "told_by_features", 0.53, True,
    "If features cannot tell the two apart, the model is asked to reject what it must accept.",
)  # fmt: skip
DISTANT = Rule(
    "is at a distance from the data", "shift", 0.02, True,
    "Images distributed like the real ones are positives: as negatives they push the model off its data.",
)  # fmt: skip
OFF_SUPPORT = Rule(
    "leaves the support of the data", "overlap", 0.8, False,
    "The same, judged by neighbours: images among the real ones, as dense and as spread as these, are positives.",
)  # fmt: skip
BREAKS = Rule(
    "breaks structure", "broken", 0.15, True,
    "If a clean classifier still sees the same thing, only an artefact tells the negative from its source.",
)  # fmt: skip
NOT_TRIVIAL = Rule(
    "is no trivial artefact", "told_by_pixels", 0.95, False,
    "What one linear filter on pixels finds is learned in the first steps and teaches nothing after.",
)  # fmt: skip
LOCALLY_REAL = Rule(
    "is locally real", "realism", 0.6, True,
    "Negatives far from the data say little about its border; noise is the extreme.",
)  # fmt: skip
NO_SHORTCUT = Rule(
    "has no edges at fixed places", "told_by_edges", 0.75, False,
    "Edges that are always in the same places, as the seams of a jigsaw are, can be learned by heart.",
)  # fmt: skip
ALTERS = Rule(
    "alters its images", "unchanged", 0.05, False,
    "An image that comes back as it was is a good one with the label of a defect.",
)  # fmt: skip
LOCAL = Rule(
    "is local", "extent", 0.5, False,
    "A defect leaves most of the image as it is; what changes all of it shows a detector nothing of where to look.",
)  # fmt: skip
VISIBLE = Rule(
    "can be seen", "told_by_patches", 0.55, True,
    "Where no patch is more unusual than those of good images, there is no defect to be found.",
)  # fmt: skip
NOT_OBVIOUS = Rule(
    "is not obvious", "told_by_patches", 0.98, False,
    "What simple statistics of patches find every time teaches a detector nothing beyond them.",
)  # fmt: skip
_WHOLE = (CHANGES, SEPARABLE, DISTANT, OFF_SUPPORT, BREAKS, NOT_TRIVIAL, NO_SHORTCUT, LOCALLY_REAL)
_PART = (ALTERS, LOCAL, VISIBLE, NOT_OBVIOUS, LOCALLY_REAL)
RULES: dict[Purpose, tuple[Rule, ...]] = {
    "gan": _WHOLE, "contrastive": _WHOLE, "semantic": _WHOLE, "defect": _PART
}  # fmt: skip

# A statistic is kept if it differs from that of the sources by no more than this.
_KEPT = {"mean": 0.1, "variance": 0.1, "histogram": 0.05, "spectrum": 1.0}


def checks(measures: Measures, purpose: Purpose = "gan", *, structure_is_known: bool = True) -> tuple[Check, ...]:
    """Answer every rule of a purpose; whether structure breaks is left open if it is not known."""
    answers = []
    for rule in RULES[purpose]:
        observed: Estimate = getattr(measures, rule.measure)
        verdict = _verdict(rule, observed) if structure_is_known or rule is not BREAKS else "warn"
        answers.append(Check(rule.name, verdict, observed, rule.threshold, rule.at_least, rule.why))
    return tuple(answers)


def is_on_data(measures: Measures) -> bool:
    """Whether nothing shows that images have left the data."""
    return "pass" not in (_verdict(rule, getattr(measures, rule.measure)) for rule in (DISTANT, OFF_SUPPORT))


def conclude(
    measures: Measures, checks: tuple[Check, ...], purpose: Purpose = "gan"
) -> tuple[Kind, Verdict, float, str]:
    """Draw the conclusion from the checks.

    1. It leaves too many images as they are: *positive*, fail.
    2. It is neither at a distance from the data nor off its support, or neither and features cannot tell it from real
       images: *positive*, fail.
    3. Otherwise, but a clean classifier sees what it saw before: *harmless*, warn; for contrastive learning fail.
    4. An interval reaches over one of those thresholds: *unclear*, warn.
    5. Else it is a *negative*: it passes, or warns if it is or may be easy: a trivial artefact, edges at fixed places,
       or not locally real.

    For defects: *positive*, fail, if it leaves images as they are or no patch is more unusual than those of real
    images; *unsuited*, fail, if it changes most of the image; *unclear* as above; else a *negative*, that warns if it
    is or may be obvious or not locally real.

    Returns:
        Kind, verdict, score and reason. The score is structure broken times local realism; for defects hardness, which
        is largest for what patches tell half of the time, times local realism. It is 0 for a positive.
    """
    verdict = {rule: check.verdict for rule, check in zip(RULES[purpose], checks, strict=True)}
    if purpose == "defect":
        return _conclude_part(measures, verdict)
    return _conclude_whole(measures, verdict, "fail" if purpose == "contrastive" else "warn")


def _conclude_whole(
    measures: Measures, verdict: dict[Rule, Verdict], on_harmless: Verdict
) -> tuple[Kind, Verdict, float, str]:
    score = _within(measures.broken.value) * _within(measures.realism.value)
    off_data = not is_on_data(measures)
    if verdict[CHANGES] == "fail":
        return "positive", "fail", 0.0, "leaves many images as they are"
    if verdict[DISTANT] == verdict[OFF_SUPPORT] == "fail":
        return "positive", "fail", 0.0, "its images lie where real images lie"
    if not off_data and verdict[SEPARABLE] == "fail":
        return "positive", "fail", 0.0, "features cannot tell its images from real ones"
    if verdict[BREAKS] == "fail":
        reason = "hardly changes anything: a clean classifier sees what it saw before"
        return "harmless", on_harmless, score, reason
    doubts = [rule.name for rule in (CHANGES, BREAKS) if verdict[rule] == "warn"]
    if not off_data:
        doubts.append("leaves the data")
    if doubts:
        return "unclear", "warn", score, _too_close(doubts)
    flaws = {
        NOT_TRIVIAL: "told by one linear filter",
        NO_SHORTCUT: "told by edges at fixed places",
        LOCALLY_REAL: "far from real images even up close",
    }
    return "negative", *_easy(verdict, flaws, score, "breaks structure and looks real up close")


def _conclude_part(measures: Measures, verdict: dict[Rule, Verdict]) -> tuple[Kind, Verdict, float, str]:
    told = _within(2 * measures.told_by_patches.value - 1)
    score = 4 * told * (1 - told) * _within(measures.realism.value)
    if verdict[ALTERS] == "fail":
        return "positive", "fail", 0.0, "leaves many images as they are"
    if verdict[LOCAL] == "fail":
        return "unsuited", "fail", 0.0, "changes most of the image, which no defect does"
    if verdict[VISIBLE] == "fail":
        return "positive", "fail", 0.0, "too alike: its patches are no more unusual than real ones"
    doubts = [rule.name for rule in (ALTERS, LOCAL, VISIBLE) if verdict[rule] == "warn"]
    if doubts:
        return "unclear", "warn", score, _too_close(doubts)
    flaws = {NOT_OBVIOUS: "told by statistics of patches", LOCALLY_REAL: "far from real images even up close"}
    return "negative", *_easy(verdict, flaws, score, "a small part is changed, hard to see and yet to be seen")


def _easy(
    verdict: dict[Rule, Verdict], flaws: dict[Rule, str], score: float, otherwise: str
) -> tuple[Verdict, float, str]:
    """Warn of flaws that make a negative an easy one, or let it pass."""
    doubt = {"warn": "perhaps ", "fail": ""}
    found = [doubt[verdict[rule]] + flaw for rule, flaw in flaws.items() if verdict[rule] != "pass"]
    return ("warn", score, f"an easy one: {', '.join(found)}") if found else ("pass", score, otherwise)


def _too_close(doubts: list[str]) -> str:
    return f"too close to call: whether it {' and '.join(doubts)}"


def _within(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def preserved(measures: Measures) -> tuple[str, ...]:
    """Name the statistics of the pixels that were kept."""
    off = {
        "mean": measures.mean_shift.value,
        "variance": abs(measures.variance_ratio.value - 1),
        "histogram": measures.histogram.value,
        "spectrum": measures.spectrum.value,
    }
    return tuple(name for name, value in off.items() if value <= _KEPT[name])


def _verdict(rule: Rule, observed: Estimate) -> Verdict:
    ends = (observed.low >= rule.threshold, observed.high >= rule.threshold)
    if ends[0] != ends[1]:
        return "warn"
    return "pass" if ends[0] == rule.at_least else "fail"
