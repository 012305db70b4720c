"""Whether something is a negative that can be used in a place: asked here, whatever the place."""

from typing import Any

from nda_augment.transforms.base import NegativeTransform


def check_negative(
    negative: Any,
    name: str = "negatives",
    *,
    always: bool = True,
    labels: bool = False,
    clips: bool = False,
    instead: str = "let its partners be of any class",
) -> None:
    """Raise unless this is a negative of the package that a place can make use of.

    Args:
        negative: Whatever a user handed in.
        name: Name in the error messages.
        always: Whether it must change every image: the place takes all that comes out for a negative.
        labels: Whether the place knows the classes of its images.
        clips: Whether the place may see clips.
        instead: Advice on what to do with a negative that needs classes.

    Raises:
        TypeError: If it is not a transform of this package.
        ValueError: If it leaves some images as they are, needs classes, or works on clips, where the place cannot
            have that.
    """
    if not isinstance(negative, NegativeTransform):
        raise TypeError(
            f"{name} must be negatives of this package, such as nda_augment.Jigsaw(), got {negative!r}; "
            "nda_augment.AsNegative makes one of another transform"
        )
    if always and negative.p != 1.0:
        raise ValueError(
            f"{name}: {negative!r} has p={negative.p} and leaves images as they are, which here would count as "
            "negatives; use p=1, and a weight for how much it counts"
        )
    if negative.needs_labels and not labels:
        raise ValueError(f"{name}: {negative!r} needs labels, and there are none here; {instead}")
    if negative.needs_clips and not clips:
        raise ValueError(f"{name}: {negative!r} works on clips; here are images only")
