"""The registry is whole: policies, docs, gallery, benchmarks and the guarantee suite read it."""

import inspect

import nda_augment as nda
from nda_augment import transforms
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform


def public_negatives() -> set[type[NegativeTransform]]:
    """All public classes that are a negative by themselves: neither abstract nor made of other transforms.

    Corruptions leave an image what it is: they are shifts, and promise nothing that a card could say.
    """
    classes = {value for value in vars(transforms).values() if inspect.isclass(value)}
    negatives = {
        cls for cls in classes if issubclass(cls, NegativeTransform) and not issubclass(cls, transforms.Mixture)
    }
    negatives -= {transforms.Corruption}
    return {cls for cls in negatives if not inspect.isabstract(cls) and not _needs_arguments(cls) and _has_kernel(cls)}


def _needs_arguments(cls: type) -> bool:
    return any(
        parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        for parameter in inspect.signature(cls).parameters.values()
    )


def _has_kernel(cls: type[NegativeTransform]) -> bool:
    return cls.transform is not NegativeTransform.transform


def test_every_public_negative_is_registered() -> None:
    missing = public_negatives() - set(NEGATIVES)
    assert not missing, f"give a card to {sorted(cls.__name__ for cls in missing)}"


def test_the_guard_would_notice() -> None:
    assert len(public_negatives()) >= 5
    assert nda.Jigsaw in public_negatives()
    assert not public_negatives() & {NegativeTransform, transforms.Mixture, transforms.AsNegative}


def test_every_entry_is_public_and_unique() -> None:
    words = [negative.word for negative in NEGATIVES]
    assert words == nda.list_transforms()
    assert len(set(words)) == len(words)
    for negative in NEGATIVES:
        assert getattr(nda, negative.__name__) is negative
        assert negative.__name__ in transforms.__all__
        assert negative.word == negative.__name__.lower()


def test_every_entry_says_what_it_is() -> None:
    for negative in NEGATIVES:
        for text in (negative.card.family, negative.card.breaks, negative.card.keeps, negative.card.source):
            assert text.strip() == text
            assert text
        assert inspect.getdoc(negative) != inspect.getdoc(NegativeTransform)


def test_every_negative_has_a_kernel_in_functional() -> None:
    for name in nda.functional.__all__:
        assert callable(getattr(nda.functional, name))
    assert nda.functional.__all__ == sorted(nda.functional.__all__)
