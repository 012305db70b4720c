"""From numbers to verdicts: thresholds, what follows from them, and why they matter."""

from dataclasses import dataclass

from nda_augment.auditing.intervals import Estimate
from nda_augment.auditing.report import Check, Kind, Measures, Verdict


@dataclass(frozen=True)
class Rule:
    """A question to a negative.

    Attributes:
        name: What is asked.
        measure: The number that answers.
        threshold: Where the answer changes.
        at_least: Whether a negative should be above.
        why: Why it matters.
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
RULES = (CHANGES, SEPARABLE, DISTANT, OFF_SUPPORT, BREAKS, NOT_TRIVIAL, LOCALLY_REAL)

# A statistic is kept if it differs from that of the sources by no more than this.
_KEPT = {"mean": 0.1, "variance": 0.1, "histogram": 0.05, "spectrum": 1.0}


def checks(measures: Measures, *, structure_is_known: bool = True) -> tuple[Check, ...]:
    """Answer every rule; whether structure breaks is left open if it is not known."""
    answers = []
    for rule in RULES:
        observed: Estimate = getattr(measures, rule.measure)
        verdict = _verdict(rule, observed) if structure_is_known or rule is not BREAKS else "warn"
        answers.append(Check(rule.name, verdict, observed, rule.threshold, rule.at_least, rule.why))
    return tuple(answers)


def is_on_data(measures: Measures) -> bool:
    """Whether nothing shows that images have left the data."""
    return "pass" not in (_verdict(rule, getattr(measures, rule.measure)) for rule in (DISTANT, OFF_SUPPORT))


def conclude(measures: Measures, checks: tuple[Check, ...]) -> tuple[Kind, Verdict, float, str]:
    """Draw the conclusion from the checks.

    1. It leaves too many images as they are: *positive*, fail.
    2. It is neither at a distance from the data nor off its support, or neither and features cannot tell it from real
       images: *positive*, fail.
    3. Otherwise, but a clean classifier sees what it saw before: *harmless*, warn.
    4. An interval reaches over one of those thresholds: *unclear*, warn.
    5. Else it is a *negative*: it passes, or warns if it is or may be a trivial artefact or not locally real.

    Returns:
        Kind, verdict, score and reason. The score is structure broken times local realism, 0 for a positive.
    """
    verdict = {rule: check.verdict for rule, check in zip(RULES, checks, strict=True)}
    score = min(max(measures.broken.value, 0.0), 1.0) * min(max(measures.realism.value, 0.0), 1.0)
    off_data = not is_on_data(measures)
    if verdict[CHANGES] == "fail":
        return "positive", "fail", 0.0, "leaves many images as they are"
    if verdict[DISTANT] == verdict[OFF_SUPPORT] == "fail":
        return "positive", "fail", 0.0, "its images lie where real images lie"
    if not off_data and verdict[SEPARABLE] == "fail":
        return "positive", "fail", 0.0, "features cannot tell its images from real ones"
    if verdict[BREAKS] == "fail":
        return "harmless", "warn", score, "hardly changes anything: a clean classifier sees what it saw before"
    doubts = [rule.name for rule in (CHANGES, BREAKS) if verdict[rule] == "warn"]
    if not off_data:
        doubts.append("leaves the data")
    if doubts:
        return "unclear", "warn", score, f"too close to call: whether it {' and '.join(doubts)}"
    doubt = {"warn": "perhaps ", "fail": ""}
    flaws = {NOT_TRIVIAL: "told by one linear filter", LOCALLY_REAL: "far from real images even up close"}
    easy = [doubt[verdict[rule]] + flaw for rule, flaw in flaws.items() if verdict[rule] != "pass"]
    if easy:
        return "negative", "warn", score, f"an easy one: {', '.join(easy)}"
    return "negative", "pass", score, "breaks structure and looks real up close"


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
