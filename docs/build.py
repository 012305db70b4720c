"""Writes what the docs show of the registry: `python -m docs.build`, after a transform was added.

`docs/transforms.md` is the table of guarantees, `docs/transforms/` has a page per family, `docs/support.md` says what
works with what, and `docs/images/` holds a picture of each family on photographs that ship inside scikit-image and
scikit-learn.
"""

from pathlib import Path

import torch

import nda_augment as nda
from docs import support
from docs.negatives import FAMILIES, family_page, table
from examples.common.photographs import load_photographs
from nda_augment.gallery import save_contact_sheet
from nda_augment.registry import ENTRIES, Entry

HERE = Path(__file__).parent
IMAGES = HERE / "images"
PASSAGE = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


def main() -> None:
    """Write the pages and their pictures."""
    photographs, _ = load_photographs(160)
    IMAGES.mkdir(exist_ok=True)
    first = [entry for entry in ENTRIES if entry.word in ("jigsaw", "stitch", "cutmix", "cutout", "mixup")]
    _sheet("negatives", first, photographs)
    for family in FAMILIES:
        if family != "clip":
            _sheet(family, [entry for entry in ENTRIES if entry.family == family], photographs)
    passage: dict[str, nda.NegativeTransform] = {
        f"warp {strength}": nda.RandomFieldWarp(strength=strength) for strength in PASSAGE
    }
    passage |= {f"color {strength}": nda.RandomFieldColor(strength=strength) for strength in PASSAGE[1::2]}
    save_contact_sheet(IMAGES / "passage.jpg", photographs, passage, dpi=90)
    write_pages()


def write_pages() -> None:
    """Write the pages alone."""
    (HERE / "transforms.md").write_text(table())
    (HERE / "transforms").mkdir(exist_ok=True)
    for family in FAMILIES:
        (HERE / "transforms" / f"{family}.md").write_text(family_page(family))
    (HERE / "support.md").write_text(support.page())


def _sheet(name: str, entries: list[Entry], photographs: torch.Tensor) -> None:
    save_contact_sheet(IMAGES / f"{name}.jpg", photographs, {entry.word: entry.cls() for entry in entries}, dpi=90)


if __name__ == "__main__":
    main()
