"""What there is to know about a negative, beside its code."""

from dataclasses import dataclass

__all__ = ["Card"]


@dataclass(frozen=True)
class Card:
    """What a negative says of itself. Policies, docs, gallery, audit and tests read it.

    Attributes:
        family: Kind of structure that it works on.
        breaks: What is wrong with its negatives.
        keeps: What its negatives share with the data.
        guarantee: What makes a negative differ from its source, by construction.
        source: Publication that it is taken from.
    """

    family: str
    breaks: str
    keeps: str
    guarantee: str
    source: str
