"""What there is to know about a negative, apart from its code."""

from dataclasses import dataclass

__all__ = ["Card"]


@dataclass(frozen=True)
class Card:
    """What a negative says of itself. Policies, docs, gallery, audit and tests read it.

    Attributes:
        family: Kind of structure that it works on.
        breaks: Property that its negatives lack.
        keeps: Properties that its negatives share with the data.
        guarantee: Reason why a negative differs from its source, by construction.
        source: Publication that it is taken from.
    """

    family: str
    breaks: str
    keeps: str
    guarantee: str
    source: str
