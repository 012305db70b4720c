import runpy
import sys

import pytest
import torch
from PIL import Image

import nda_augment as nda
from nda_augment import gallery
from nda_augment.gallery import contact_sheet, save_contact_sheet

TRANSFORMS = {"jigsaw": nda.Jigsaw(), "mixup": nda.Mixup()}


def pictures(figure):
    return [axes.images[0].get_array() for axes in figure.axes]


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_the_images_and_their_negatives(channels):
    images = torch.rand(4, channels, 8, 12)
    figure = contact_sheet(images, TRANSFORMS)
    cells = torch.stack([torch.as_tensor(picture) for picture in pictures(figure)])
    assert cells.shape == (3 * 4, 8, 12, 3)
    assert torch.equal(cells[:4].permute(0, 3, 1, 2), images.expand(-1, 3, -1, -1))
    expected = nda.Jigsaw()(images, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cells[4:8].permute(0, 3, 1, 2), expected.expand(-1, 3, -1, -1))
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["real", "jigsaw", "mixup"]


def test_a_notebook_shows_it():
    pytest.importorskip("IPython", reason="only notebooks show figures")
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(contact_sheet(torch.rand(2, 3, 8, 8), TRANSFORMS))
    assert shown["image/png"].startswith(b"\x89PNG")


def test_a_row_depends_on_the_seed_but_not_on_the_other_rows():
    images = torch.rand(3, 3, 8, 8)
    both, alone = contact_sheet(images, TRANSFORMS), contact_sheet(images, {"mixup": nda.Mixup()})
    other = contact_sheet(images, {"mixup": nda.Mixup()}, seed=1)
    assert all((a == b).all() for a, b in zip(pictures(both)[6:], pictures(alone)[3:], strict=True))
    assert any((a != b).any() for a, b in zip(pictures(alone)[3:], pictures(other)[3:], strict=True))


def test_uint8_and_a_file(tmp_path):
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    path = save_contact_sheet(tmp_path / "new" / "sheet.png", images, TRANSFORMS, dpi=50)
    with Image.open(path) as picture:
        assert picture.size == (pytest.approx(2 * 65 + 15, abs=1), pytest.approx(3 * 65, abs=1))


@pytest.mark.parametrize(
    ("images", "transforms", "message"),
    [
        (torch.rand(3, 8, 8), TRANSFORMS, r"\(B, C, H, W\).*got shape \(3, 8, 8\)"),
        (torch.rand(2, 4, 8, 8), TRANSFORMS, "C of 1 or 3"),
        (torch.rand(0, 3, 8, 8), TRANSFORMS, "B >= 1"),
        (torch.rand(2, 3, 8, 8) * 2 - 1, TRANSFORMS, r"in \[0, 1\].*\(images \+ 1\) / 2"),
        (torch.full((2, 3, 8, 8), float("nan")), TRANSFORMS, r"in \[0, 1\]"),
        (torch.rand(2, 3, 8, 8), {}, "at least one"),
    ],
)
def test_bad_input_is_named(images, transforms, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(images, transforms)


def test_a_policy_is_no_mapping():
    with pytest.raises(TypeError, match=r"by label.*got str"):
        contact_sheet(torch.rand(2, 3, 8, 8), "jigsaw")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[cli\]"'):
        contact_sheet(torch.rand(2, 3, 8, 8), TRANSFORMS)


def test_importing_the_module_imports_no_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    runpy.run_path(gallery.__file__)
