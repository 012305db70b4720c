"""Writes what the docs show of the registry: `python -m docs.build`, after a transform was added.

`docs/transforms.md` is the table of guarantees; `docs/images/` holds a picture of each family on photographs that
ship inside scikit-image and scikit-learn.
"""

from pathlib import Path

import torch

import nda_augment as nda
from examples.photographs import load_photographs
from nda_augment.gallery import save_contact_sheet
from nda_augment.registry import ENTRIES, Entry

HERE = Path(__file__).parent
IMAGES = HERE / "images"
PASSAGE = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)

HEADER = """<!-- Written by `python -m docs.build` from nda_augment/registry.py. -->
# The negatives

Every negative differs from its source *by construction*, not on average; what content can still defeat it (a constant
image, a symmetric one) is written in its docstring. All of them draw one set of parameters per image, take images
`(B, C, H, W)` and clips `(B, T, C, H, W)`, floating point or uint8, keep shape, dtype, device and memory format, and
repeat a draw exactly from `_params`.
"""

FIELDS = """
The field family runs from a positive to a negative. `strength` scales the fields; while the shifts are small against
their correlation length, the image bends and stays whole. Where their standard deviation exceeds it (σ/ℓ > 1, here
from a strength of 0.67 on), the image folds over itself and is torn. The spectrum is our own choice: the source
publishes none.

![strength from 0.05 to 1](images/passage.jpg)
"""


def main() -> None:
    """Write the page and its pictures."""
    photographs, _ = load_photographs(160)
    IMAGES.mkdir(exist_ok=True)
    first = [entry for entry in ENTRIES if entry.word in ("jigsaw", "stitch", "cutmix", "cutout", "mixup")]
    _sheet("negatives", first, photographs)
    for family in _families():
        if family != "clip":
            _sheet(family, [entry for entry in ENTRIES if entry.family == family], photographs)
    passage: dict[str, nda.NegativeTransform] = {
        f"warp {strength}": nda.RandomFieldWarp(strength=strength) for strength in PASSAGE
    }
    passage |= {f"color {strength}": nda.RandomFieldColor(strength=strength) for strength in PASSAGE[1::2]}
    save_contact_sheet(IMAGES / "passage.jpg", photographs, passage, dpi=90)
    (HERE / "transforms.md").write_text(table())


def table() -> str:
    """Return the page of the transforms, in Markdown."""
    parts = [HEADER]
    for family in _families():
        parts.append(f"\n## {family}\n")
        if family != "clip":
            parts.append(f"![{family}](images/{family}.jpg)\n")
        parts.append("| policy word | class | breaks | keeps | guarantee | mask | source |")
        parts.append("| --- | --- | --- | --- | --- | --- | --- |")
        parts.extend(_line(entry) for entry in ENTRIES if entry.family == family)
        if family == "field":
            parts.append(FIELDS)
    return "\n".join(parts).rstrip() + "\n"


def _families() -> list[str]:
    return list(dict.fromkeys(entry.family for entry in ENTRIES))


def _line(entry: Entry) -> str:
    mask = "yes" if entry.cls.changes_region else ""
    cells = (
        f"`{entry.word}`",
        f"`{entry.cls.__name__}`",
        entry.breaks,
        entry.keeps,
        entry.guarantee,
        mask,
        entry.source,
    )
    return "| " + " | ".join(cells) + " |"


def _sheet(name: str, entries: list[Entry], photographs: torch.Tensor) -> None:
    save_contact_sheet(IMAGES / f"{name}.jpg", photographs, {entry.word: entry.cls() for entry in entries}, dpi=90)


if __name__ == "__main__":
    main()
