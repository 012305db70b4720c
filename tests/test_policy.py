"""Policies: read, written, and read again; what cannot be read is named, with the nearest that can."""

import inspect
import re
import time
import typing
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nda_augment as nda
from nda_augment import from_policy
from nda_augment._policy_syntax import format_value, normalise, parse_value
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import Mixture, NegativeTransform
from tests.cases import distinct, generator

WORDS = [negative.word for negative in NEGATIVES]
CLASSES = list(NEGATIVES)

fractions = st.floats(0.02, 0.48)


def values_like(default: Any, hint: Any) -> st.SearchStrategy[Any]:
    """Values of an argument's kind, told from its annotation and its default."""
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, str):
        return st.one_of(st.just(default), st.floats(-5, 5), st.tuples(fractions, fractions, fractions))
    if isinstance(default, tuple) and all(isinstance(part, int) for part in default):
        return st.tuples(st.integers(1, 4), st.integers(4, 9))
    if isinstance(default, tuple):
        return st.one_of(fractions.map(lambda x: (x, x)), st.tuples(fractions, fractions).map(sorted).map(tuple))
    return st.one_of(st.just(default), fractions)


def hints_of(cls: type) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base) and base.__module__.startswith("nda_augment"):
            hints = typing.get_type_hints(base.__init__) | hints
    return hints


@st.composite
def negatives(draw: st.DrawFn) -> NegativeTransform:
    """Any registered negative with any of its arguments changed."""
    cls = draw(st.sampled_from(CLASSES))
    hints, arguments = hints_of(cls), {}
    for name, default in cls.defaults().items():
        if name not in ("p", "same_on_batch") and draw(st.booleans()):
            arguments[name] = draw(values_like(default, hints.get(name)))
    try:
        return cls(**arguments)
    except ValueError:  # some arguments exclude each other, or have only a few values
        return cls()


weights = st.one_of(st.just(1.0), st.integers(1, 20).map(float), st.floats(1e-6, 1e6))
mixtures = st.recursive(
    negatives(),
    lambda members: st.lists(st.tuples(members, weights), min_size=1, max_size=4).map(
        lambda pairs: Mixture([member for member, _ in pairs], [weight for _, weight in pairs])
    ),
    max_leaves=8,
)


@given(module=mixtures)
def test_what_is_written_is_read_back(module: NegativeTransform) -> None:
    mixture = module if isinstance(module, Mixture) else Mixture([module])
    again = from_policy(str(mixture))
    assert str(again) == str(mixture)
    assert repr(again) == repr(mixture)


def test_the_strategy_changes_negatives() -> None:
    """A round trip of defaults alone would show nothing."""
    changed: set[str] = set()

    @given(module=negatives())
    def collect(module: NegativeTransform) -> None:
        changed.update(name for name, value in module.arguments().items() if value != module.defaults()[name])

    collect()
    assert len(changed) > 3


@pytest.mark.parametrize("word", WORDS)
def test_a_word_alone_is_the_negative_with_its_defaults(word: str) -> None:
    (member,) = from_policy(word).members
    assert repr(member) == repr(CLASSES[WORDS.index(word)]())


@pytest.mark.parametrize("policy", ["JIGSAW", "jig_saw", "Jig-Saw", " jigsaw ", "jigsaw()", "jigsaw( )", "(jigsaw)"])
def test_case_underscores_and_hyphens_do_not_count(policy: str) -> None:
    (member,) = from_policy(policy).members
    inner = member.members[0] if isinstance(member, Mixture) else member
    assert repr(inner) == repr(nda.Jigsaw())


def test_weights_and_arguments() -> None:
    mixture = from_policy(
        " jigsaw( grid = 3x3 ) : 2 , cutout(side=0.3-0.5,fill=0.1/0.2/0.3):0.5,\nmixup(alpha=1),stitch"
    )
    assert mixture.weights == (2.0, 0.5, 1.0, 1.0)
    jigsaw, cutout, mixup, stitch = mixture.members
    assert jigsaw.arguments() == nda.Jigsaw(grid=(3, 3)).arguments()
    assert cutout.arguments() == nda.Cutout(side=(0.3, 0.5), fill=(0.1, 0.2, 0.3)).arguments()
    assert mixup.arguments() == nda.Mixup(alpha=1.0).arguments()
    assert stitch.arguments() == nda.Stitch().arguments()


def test_a_policy_in_parentheses_is_a_member() -> None:
    mixture = from_policy("(jigsaw:3,stitch):2,(cutout),mixup")
    inner, single, mixup = mixture.members
    assert isinstance(inner, Mixture)
    assert inner.weights == (3.0, 1.0)
    assert isinstance(single, Mixture)
    assert isinstance(mixup, nda.Mixup)
    assert str(from_policy("((jigsaw,(stitch)))")) == "((jigsaw,(stitch)))"
    negatives = mixture(distinct((16, 3, 8, 8)), generator=generator(0))
    assert negatives.shape == (16, 3, 8, 8)


def test_a_policy_is_the_mixture_that_it_names() -> None:
    images = distinct((16, 3, 12, 12))
    by_hand = Mixture([nda.Jigsaw(grid=(3, 3)), nda.Stitch()], weights=[2, 1])
    policy = from_policy("jigsaw(grid=3x3):2,stitch")
    assert torch.equal(policy(images, generator=generator(3)), by_hand(images, generator=generator(3)))


class TestErrors:
    @pytest.mark.parametrize(
        ("policy", "word", "nearest"),
        [
            ("jigsa", "jigsa", "jigsaw"),
            ("jigsaw,cut_mx", "cut_mx", "cutmix"),
            ("Cut-out2", "Cut-out2", "cutout"),
            ("q", "q", ""),
        ],
    )
    def test_an_unknown_word_names_the_nearest(self, policy: str, word: str, nearest: str) -> None:
        with pytest.raises(ValueError, match=f"unknown negative.*'{word}'; did you mean '{nearest}") as caught:
            from_policy(policy)
        assert policy in str(caught.value)
        assert ", ".join(normalise(known) for known in WORDS) in str(caught.value)

    def test_an_unknown_argument_names_the_nearest(self) -> None:
        with pytest.raises(ValueError, match=r"unknown argument of 'jigsaw': 'gird'; did you mean 'grid'"):
            from_policy("jigsaw(gird=2x2)")

    @pytest.mark.parametrize("policy", ["jigsaw(3x3)", "jigsaw(grid)", "jigsaw(grid=2x2,)", "jigsaw(,)"])
    def test_an_argument_without_a_name(self, policy: str) -> None:
        with pytest.raises(ValueError, match=r"cannot read argument .* of 'jigsaw' in policy .*; write name=value"):
            from_policy(policy)

    @pytest.mark.parametrize("policy", ["jigsaw(grid=2x2,grid=3x3)", "jigsaw(grid=2x2,GRID=3x3)"])
    def test_an_argument_twice(self, policy: str) -> None:
        with pytest.raises(ValueError, match="grid"):
            from_policy(policy)

    @pytest.mark.parametrize(
        "policy",
        [
            *(f"jigsaw(grid={value})" for value in ("abc", "1x1", "0x3", "2.5", "-2", "2/2/2", "none", "")),
            *(f"cutmix(side={value})" for value in ("wide", "2.0", "0.1/0.2/0.3", "a/b", "none", "0.5-0.3")),
            *(f"mixup(alpha={value})" for value in ("big", "1-2", "-1", "none")),
            *(
                "cutout(square=maybe)",
                "stitch(same_on_batch=2)",
                "stitch(axis=3)",
                "jigsaw(p=often)",
                "jigsaw(p=2)",
                "jigsaw(p=0.5=1)",
            ),
        ],
    )
    def test_a_value_that_makes_no_sense_is_named(self, policy: str) -> None:
        name, _, value = policy.rstrip(")").partition("(")[2].partition("=")
        with pytest.raises(ValueError, match=name) as caught:
            from_policy(f"stitch:2,{policy},flip")
        read = "" if "a/b" in value else str(parse_value(value))
        assert value in str(caught.value) or read in str(caught.value)

    @pytest.mark.parametrize("weight", ["", "x", "2x"])
    def test_a_weight_that_is_no_number(self, weight: str) -> None:
        with pytest.raises(ValueError, match=f"weight '{weight}' in policy 'jigsaw:{weight}' is not a number"):
            from_policy(f"jigsaw:{weight}")

    @pytest.mark.parametrize("weight", ["-1", "nan", "inf", "0"])
    def test_a_weight_that_is_no_weight(self, weight: str) -> None:
        with pytest.raises(ValueError, match="weights must be finite, not negative and not all zero"):
            from_policy(f"jigsaw:{weight}")

    @pytest.mark.parametrize(
        "policy", ["jigsaw(", "jigsaw)", "(jigsaw", "jigsaw))", "jigsaw(grid=(2x2)", ")jigsaw(", "jigsaw()(p=1)"]
    )
    def test_parentheses_that_do_not_match(self, policy: str) -> None:
        with pytest.raises(ValueError, match=f"parentheses do not match in policy {re.escape(repr(policy))}"):
            from_policy(policy)

    @pytest.mark.parametrize(
        ("policy", "item"),
        [
            ("jigsaw,,stitch", ""),
            ("jigsaw,", ""),
            (",", ""),
            ("flip, jig saw", "jig saw"),
            ("2", "2"),
            ("jigsaw stitch", "jigsaw stitch"),
            (":2", ":2"),
            ("()", "()"),
            ("jigsaw:1,5:2:3", "5:2:3"),
            ("jigsaw(grid=2x2)x", "jigsaw(grid=2x2)x"),
        ],
    )
    def test_what_cannot_be_read_is_shown(self, policy: str, item: str) -> None:
        with pytest.raises(ValueError, match=re.escape(f"cannot read {item!r} in policy {policy!r}")):
            from_policy(policy)

    @pytest.mark.parametrize("policy", ["", "  ", "\n"])
    def test_an_empty_policy(self, policy: str) -> None:
        with pytest.raises(ValueError, match="at least one transform"):
            from_policy(policy)

    def test_a_member_that_skips(self) -> None:
        with pytest.raises(ValueError, match=r"members of a mixture: .* has p=0\.5 .* use p=1, and a weight"):
            from_policy("jigsaw(p=0.5)")


class TestValues:
    @given(
        value=st.one_of(
            st.booleans(),
            st.none(),
            st.integers(-(10**6), 10**6),
            st.floats(allow_nan=False, allow_infinity=False),
            st.tuples(st.integers(0, 99), st.integers(0, 99)),
            st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
            st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=6).map(tuple),
            st.sampled_from(["patch_mean", "zero", "other_class"]),
        )
    )
    def test_are_read_as_they_were_written(self, value: Any) -> None:
        again = parse_value(format_value(value))
        assert again == value
        assert type(again) is type(value)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3x4", (3, 4)),
            ("0.3-0.5", (0.3, 0.5)),
            ("1e-3-.5", (0.001, 0.5)),
            ("-45-45", (-45.0, 45.0)),
            ("1/2", (1.0, 2.0)),
            (" True ", True),
            ("NONE", None),
            ("7", 7),
            ("-7.5", -7.5),
            ("x", "x"),
            ("2 X 3", (2, 3)),
            ("0 - 3", (0, 3)),
            ("0-0.5", (0, 0.5)),
        ],
    )
    def test_how_they_are_written(self, text: str, value: Any) -> None:
        assert parse_value(text) == value
        assert type(parse_value(text)) is type(value)

    @pytest.mark.parametrize("word", ["Patch-Mean", " patch_mean", "PATCHMEAN"])
    def test_words_are_compared_without_case_and_hyphens(self, word: str) -> None:
        assert normalise(word) == "patchmean"


def test_every_argument_of_every_negative_can_be_written() -> None:
    for cls in CLASSES:
        for name, default in cls.defaults().items():
            assert parse_value(format_value(default)) == default, f"{cls.__name__}({name}=)"
        assert not inspect.isabstract(cls)


@pytest.mark.parametrize("policy", [None, ["jigsaw"]], ids=["none", "list"])
def test_a_policy_is_a_string(policy: Any) -> None:
    with pytest.raises(TypeError, match=f"a policy is a string such as .*, got {type(policy).__name__}"):
        from_policy(policy)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("jigsaw," * 20_000, "at most 10000 characters, got 140000"),
        ("(" * 2_400 + "jigsaw" + ")" * 2_400, "at most 20 parentheses within each other"),
        ("jigsaw(p=" + "1" * 5_000 + ")", "an argument has at most 1000 characters, got 5000"),
        ("jigsaw(" + "1" * 9_000 + ")", "cannot read argument"),
        ("jigsaw" + "z" * 9_000, "unknown negative"),
        ("jigsaw" + ":" * 9_000, "cannot read"),
        ("jigsaw" + " " * 9_000 + "x", "cannot read"),
        ("jigsaw" + "(" * 10 + ")" * 9, "parentheses do not match"),
    ],
    ids=["long", "deep", "digits", "argument", "word", "colons", "spaces", "unmatched"],
)
def test_what_nobody_writes_is_refused_at_once(policy: str, message: str) -> None:
    start = time.thread_time()
    with pytest.raises(ValueError, match=message):
        nda.from_policy(policy)
    assert time.thread_time() - start < 1.0


@pytest.mark.parametrize("policy", ["jigsaw" + " " * 9_994, "(" * 20 + "jigsaw" + ")" * 20], ids=["long", "deep"])
def test_the_bounds_themselves_are_read(policy: str) -> None:
    assert normalise(str(nda.from_policy(policy)).strip("()")) == "jigsaw"


def test_how_arguments_are_written() -> None:
    policy = "jigsaw(grid=2x3),cutout(side=0.3-0.5,fill=0.1/0.2/0.3),stitch(axis=vertical,same_on_batch=true)"
    assert str(nda.from_policy(policy)) == policy


def test_spaces_do_not_count() -> None:
    assert str(nda.from_policy("jigsaw" + " " * 5_000 + "( grid = 3x3 ) : 2 , (stitch)" + " " * 4_000)) == (
        "jigsaw(grid=3x3):2,(stitch)"
    )
