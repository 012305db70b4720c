"""Writes what the docs show of the registry: `python -m docs.build`, after a transform was added.

`docs/transforms.md` is the table of guarantees, `docs/transforms/` has a page per family, `docs/support.md` says what
works with what, the first page shows all families, README counts the negatives, and `docs/images/` holds a picture of
each family on photographs that ship inside scikit-image and scikit-learn.
"""

import re
from pathlib import Path

import torch

import nda_augment as nda
from docs import support
from docs.negatives import FAMILIES, GALLERY, family_page, gallery, table
from examples.common.photographs import load_photographs
from nda_augment.gallery import save_contact_sheet
from nda_augment.registry import NEGATIVES

HERE = Path(__file__).parent
IMAGES = HERE / "images"
PASSAGE = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


def main() -> None:
    """Write the pages and their pictures."""
    photographs, _ = load_photographs(160)
    IMAGES.mkdir(exist_ok=True)
    _sheet("negatives", [nda.Jigsaw, nda.Stitch, nda.CutMix, nda.Cutout, nda.Mixup], photographs)
    for family in FAMILIES:
        if family != "clip":
            _sheet(family, [negative for negative in NEGATIVES if negative.card.family == family], photographs)
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
    index = HERE / "index.md"
    index.write_text(index.read_text().partition(GALLERY)[0] + gallery())
    readme = HERE.parent / "README.md"
    readme.write_text(re.sub(r"\[\d+ negatives\]", f"[{len(NEGATIVES)} negatives]", readme.read_text()))


def _sheet(name: str, negatives: list[type[nda.NegativeTransform]], photographs: torch.Tensor) -> None:
    modules = {negative.word: negative() for negative in negatives}
    save_contact_sheet(IMAGES / f"{name}.jpg", photographs, modules, dpi=90)


if __name__ == "__main__":
    main()
