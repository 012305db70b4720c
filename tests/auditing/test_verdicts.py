from dataclasses import fields, replace

import pytest

from nda_augment.auditing import verdicts
from nda_augment.auditing.report import Estimate, Measures


def sure(value):
    return Estimate(value, value - 0.001, value + 0.001, 500)


def unsure(value):
    return Estimate(value, value - 0.5, value + 0.5, 500)


# A jigsaw of photographs, about.
GOOD = Measures(
    **{field.name: sure(0.0) for field in fields(Measures)}
    | {
        "told_by_pixels": sure(0.6),
        "told_by_features": sure(0.75),
        "shift": sure(0.3),
        "overlap": sure(0.7),
        "broken": sure(0.6),
        "realism": sure(0.9),
        "variance_ratio": sure(1.0),
    }
)


def concluded(purpose="gan", **changes):
    measures = replace(GOOD, **changes)
    return verdicts.conclude(measures, verdicts.checks(measures, purpose), purpose)


@pytest.mark.parametrize(
    ("changes", "kind", "verdict", "words"),
    [
        ({}, "negative", "pass", "breaks structure"),
        ({"nearly_unchanged": sure(0.3)}, "positive", "fail", "as they are"),
        ({"shift": sure(0.0), "overlap": sure(1.0)}, "positive", "fail", "where real images lie"),
        (
            {"shift": unsure(0.0), "told_by_features": sure(0.5), "overlap": sure(1.0)},
            "positive",
            "fail",
            "cannot tell",
        ),
        ({"shift": sure(0.0)}, "negative", "pass", "breaks"),
        ({"overlap": sure(1.0)}, "negative", "pass", "breaks"),
        ({"broken": sure(0.0)}, "harmless", "warn", "hardly changes anything"),
        ({"shift": unsure(0.0), "overlap": sure(1.0), "broken": sure(0.0)}, "harmless", "warn", "hardly"),
        ({"broken": unsure(0.1)}, "unclear", "warn", "breaks structure"),
        ({"nearly_unchanged": unsure(0.0)}, "unclear", "warn", "changes its images"),
        ({"shift": unsure(0.0), "overlap": unsure(0.8)}, "unclear", "warn", "leaves the data"),
        ({"told_by_pixels": sure(1.0)}, "negative", "warn", "told by one linear filter"),
        ({"told_by_edges": sure(0.9)}, "negative", "warn", "told by edges at fixed places"),
        ({"realism": sure(0.1)}, "negative", "warn", "far from real"),
        ({"realism": unsure(0.6)}, "negative", "warn", "perhaps far"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_follows_from_the_numbers(changes, kind, verdict, words):
    concluded_kind, concluded_verdict, score, reason = concluded(**changes)
    assert (concluded_kind, concluded_verdict) == (kind, verdict)
    assert words in reason
    assert (score == 0.0) == (kind == "positive" or ("broken" in changes and changes["broken"].value == 0.0))


def test_the_score_is_the_place_in_the_plane():
    assert concluded()[2] == pytest.approx(0.6 * 0.9)
    assert concluded(broken=sure(1.3))[2] == pytest.approx(0.9)
    assert concluded(realism=sure(-0.2))[2] == 0.0


def test_what_keeps_its_structure_fails_where_it_would_teach_to_tell_an_image_from_itself():
    assert concluded("contrastive", broken=sure(0.0))[:2] == ("harmless", "fail")
    assert concluded("semantic", broken=sure(0.0))[:2] == ("harmless", "warn")
    assert concluded("contrastive") == concluded("gan") == concluded("semantic")


DEFECT = {"extent": sure(0.1), "told_by_patches": sure(0.75)}


@pytest.mark.parametrize(
    ("changes", "kind", "verdict", "words"),
    [
        ({}, "negative", "pass", "a small part"),
        ({"broken": sure(0.0), "shift": sure(0.0), "overlap": sure(1.0)}, "negative", "pass", "a small part"),
        ({"unchanged": sure(0.2)}, "positive", "fail", "as they are"),
        ({"extent": sure(0.9)}, "unsuited", "fail", "most of the image"),
        ({"told_by_patches": sure(0.5)}, "positive", "fail", "too alike"),
        ({"told_by_patches": unsure(0.6)}, "unclear", "warn", "can be seen"),
        ({"told_by_patches": sure(0.999)}, "negative", "warn", "told by statistics of patches"),
        ({"realism": sure(0.1)}, "negative", "warn", "far from real"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_follows_for_defects(changes, kind, verdict, words):
    found = concluded("defect", **{**DEFECT, **changes})
    assert found[:2] == (kind, verdict)
    assert words in found[3]
    assert (found[2] == 0.0) == (verdict == "fail")


def test_the_score_of_a_defect_is_largest_where_patches_tell_half_of_the_time():
    scores = [concluded("defect", **{**DEFECT, "told_by_patches": sure(told)})[2] for told in (0.6, 0.75, 0.9)]
    assert scores[1] == pytest.approx(0.9)
    assert scores[0] == pytest.approx(scores[2]) == pytest.approx(0.9 * 0.64)


RULES = [(purpose, rule) for purpose in ("gan", "defect") for rule in verdicts.RULES[purpose]]


@pytest.mark.parametrize(("purpose", "rule"), RULES, ids=lambda value: getattr(value, "name", value))
def test_a_check_passes_warns_and_fails_by_its_interval(purpose, rule):
    sign = 1 if rule.at_least else -1
    answers = {}
    for name, low, high in (("pass", 0.01, 0.02), ("warn", -0.01, 0.02), ("fail", -0.02, -0.01)):
        ends = sorted(rule.threshold + sign * end for end in (low, high))
        estimate = Estimate(sum(ends) / 2, *ends, 100)
        checks = verdicts.checks(replace(GOOD, **{rule.measure: estimate}), purpose)
        answers[name] = checks[verdicts.RULES[purpose].index(rule)]
    assert all(check.verdict == name for name, check in answers.items())
    assert answers["pass"].why
    assert answers["pass"].threshold == rule.threshold


def test_what_is_not_known_of_structure_is_left_open():
    checks = verdicts.checks(GOOD, structure_is_known=False)
    assert [check.verdict for check in checks].count("warn") == 1
    assert verdicts.conclude(GOOD, checks)[:2] == ("unclear", "warn")


def test_what_is_preserved():
    assert verdicts.preserved(GOOD) == ("mean", "variance", "histogram", "spectrum")
    changed = replace(GOOD, mean_shift=sure(1.0), variance_ratio=sure(0.5), spectrum=sure(3.0))
    assert verdicts.preserved(changed) == ("histogram",)
