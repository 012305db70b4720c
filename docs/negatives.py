"""The pages of the negatives, from the registry: the table of guarantees and a page per family."""

import inspect
import re
import textwrap
from collections.abc import Iterator

from nda_augment._policy_syntax import short_value
from nda_augment.registry import NEGATIVES
from nda_augment.transforms.base import Common, NegativeTransform

NOTE = "<!-- Written by `python -m docs.build` from the cards of nda_augment/transforms/. -->\n"

HEADER = """# The negatives

Every negative differs from its source *by construction*, not on average; what content can still defeat it (a constant
image, a symmetric one) is written in its docstring. All of them draw one set of parameters per image, take images
`(B, C, H, W)` and clips `(B, T, C, H, W)`, floating point or uint8, keep shape, dtype, device and memory format, and
repeat a draw exactly from `_params`. What a generator makes, as a negative or as a positive, has
[a page of its own](transforms/generated.md).
"""

GALLERY = "## The gallery\n\n"

ABOUT = {
    "patch": "Cells of the image change places, or turn: every part is real, and the layout is not.",
    "pair": "Two images in one: each half, box or layer is real, and they do not belong together.",
    "region": "A region is spoiled and the rest left alone. With `return_mask=True` they say which region.",
    "texture": "The image is made anew of its own texture: what is left of it has no structure.",
    "geometry": "The whole image moves: negatives for data that has an upright position or a fixed place.",
    "field": "Smooth random fields bend the image or its colours.",
    "filter": "Every pixel is computed anew from its surroundings, or drowned in noise: the layout stays.",
    "clip": "Order and continuity of time are broken, and every frame is real. They take `(B, T, C, H, W)` only.",
}

FAMILIES = list(ABOUT)

FIELDS = """
The field family runs from a positive to a negative. `strength` scales the fields; while the shifts are small against
their correlation length, the image bends and stays whole. Where their standard deviation exceeds it (σ/ℓ > 1, here
from a strength of 0.67 on), the image folds over itself and is torn. The spectrum is our own choice: the source
publishes none.

![strength from 0.05 to 1]({images}/passage.jpg)
"""

_ARGUMENT = re.compile(r"(?P<name>\w+): (?P<text>.*)", re.DOTALL)
_ROLE = re.compile(r":(?:class|func|meth|mod|attr):`~?(?:[\w.]*\.)?(\w+)`")


def table() -> str:
    """Return the page of all negatives, in Markdown."""
    parts = [NOTE + HEADER]
    for family in FAMILIES:
        parts.append(f"\n## [{family}](transforms/{family}.md)\n")
        parts.append(f"![{family}](images/{picture(family)})\n")
        parts.append("| policy word | class | breaks | keeps | guarantee | mask | source |")
        parts.append("| --- | --- | --- | --- | --- | --- | --- |")
        parts.extend(_line(negative) for negative in _of(family))
        if family == "field":
            parts.append(FIELDS.format(images="images"))
    return "\n".join(parts).rstrip() + "\n"


def gallery() -> str:
    """Return the last section of the first page: a picture of each family."""
    parts = [f"{GALLERY}All [{len(NEGATIVES)} negatives](transforms.md), each with its guarantee, by family:\n"]
    for family in FAMILIES:
        page = f"transforms/{family}.md"
        parts.append(f"**[{family.capitalize()}]({page})**: {ABOUT[family][0].lower()}{ABOUT[family][1:]}\n")
        parts.append(f"[![{family}](images/{picture(family)})]({page})\n")
    return "\n".join(parts)


def family_page(family: str) -> str:
    """Return the page of one family: what it is, its picture, and every negative with its arguments."""
    parts = [f"{NOTE}# {family.capitalize()}\n", f"{ABOUT[family]}\n"]
    parts.append(f"![real images and, under each, its negatives](../images/{picture(family)})\n")
    if family == "field":
        parts.append(FIELDS.format(images="../images").strip() + "\n")
    for negative in _of(family):
        parts.append("\n".join(_section(negative)))
    common = ", ".join(f"`{name}={short_value(NegativeTransform.defaults()[name])}`" for name in Common.__annotations__)
    parts.append(
        f"All of them also take {common}: the probability that an image becomes its negative, one draw for the whole "
        "batch, and whether a single image comes back as one."
    )
    return "\n".join(parts).rstrip() + "\n"


def picture(family: str) -> str:
    """Return the file name of a family's picture. That of clips is drawn by `python -m examples.video.pictures`."""
    return "video_negatives.png" if family == "clip" else f"{family}.jpg"


def arguments(cls: type[NegativeTransform]) -> dict[str, str]:
    """Return what the docstring of a class and of its bases says of each argument.

    Example:
        >>> from nda_augment import Jigsaw
        >>> list(arguments(Jigsaw))
        ['grid', 'p', 'same_on_batch', 'keepdim']
    """
    told: dict[str, str] = {}
    for base in cls.__mro__:
        told = {**_told(base), **told}
    return {name: told[name] for name in cls.defaults() if name in told}


def _told(cls: type) -> dict[str, str]:
    lines = inspect.cleandoc(vars(cls).get("__doc__") or "").split("\n")
    if "Args:" not in lines:
        return {}
    start = lines.index("Args:") + 1
    section = textwrap.dedent("\n".join(_indented(lines[start:])))
    found = (_ARGUMENT.fullmatch(text) for text in re.split(r"\n(?=\S)", section))
    return {match["name"]: _plain(match["text"]) for match in found if match}


def _indented(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith(" "):
            return
        yield line


def _plain(text: str) -> str:
    """Turn a docstring's text into one line of Markdown for a cell."""
    return " ".join(_ROLE.sub(r"`\1`", text).split()).replace("``", "`").replace("|", r"\|")


def _section(negative: type[NegativeTransform]) -> Iterator[str]:
    defaults, told = negative.defaults(), arguments(negative)
    summary, _, rest = inspect.cleandoc(negative.__doc__ or "").partition("\n\n")
    more = rest.partition("Args:")[0].partition("Shape:")[0]
    yield f"## {negative.__name__}\n"
    yield f"{_plain(summary)}\n"
    yield from (f"{_plain(paragraph)}\n" for paragraph in more.split("\n\n") if paragraph.strip())
    yield f"| in a policy | `{negative.word}` |\n| --- | --- |"
    yield f"| breaks | {negative.card.breaks} |"
    yield f"| keeps | {negative.card.keeps} |"
    yield f"| never its own source, since | {negative.card.guarantee} |"
    yield f"| takes another image | {'yes' if negative.uses_partners else 'no'} |"
    yield f"| can return the changed region | {'yes' if negative.changes_region else 'no'} |"
    yield f"| source | {negative.card.source} |\n"
    own = [name for name in defaults if name not in Common.__annotations__]
    if own:
        yield "| argument | default | meaning |\n| --- | --- | --- |"
        yield from (f"| `{name}` | `{short_value(defaults[name])}` | {told[name]} |" for name in own)
        yield ""


def _of(family: str) -> list[type[NegativeTransform]]:
    return [negative for negative in NEGATIVES if negative.card.family == family]


def _line(negative: type[NegativeTransform]) -> str:
    mask = "yes" if negative.changes_region else ""
    cells = (
        f"`{negative.word}`",
        f"`{negative.__name__}`",
        negative.card.breaks,
        negative.card.keeps,
        negative.card.guarantee,
        mask,
        negative.card.source,
    )
    return "| " + " | ".join(cells) + " |"
