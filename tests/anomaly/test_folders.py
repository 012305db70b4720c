import csv
import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from nda_augment.anomaly import PatchDetector, SegmentationDetector, Training, folders
from nda_augment.anomaly.folders import (
    ImageFiles,
    Sample,
    evaluate,
    overlay,
    predict,
    read_image,
    read_layout,
    read_mask,
    write_table,
)
from nda_augment.anomaly.page import write_page
from nda_augment.cli import app

SIDE = 32


def write(path, values: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (values * 255).byte()
    Image.frombytes("L", (pixels.shape[1], pixels.shape[0]), pixels.contiguous().numpy().tobytes()).save(path)


@pytest.fixture(scope="module")
def surface(tmp_path_factory):
    """A folder in MVTec's layout: noise is good, a dark square is a defect."""
    root = tmp_path_factory.mktemp("surface")
    source = torch.Generator().manual_seed(0)

    def noise() -> torch.Tensor:
        return 0.6 + 0.1 * torch.rand(SIDE, SIDE, generator=source)

    for number in range(50):
        write(root / "train" / "good" / f"{number:03d}.png", noise())
    for number in range(4):
        write(root / "test" / "good" / f"{number}.png", noise())
        damaged, mask = noise(), torch.zeros(SIDE, SIDE)
        damaged[8:18, 10:20], mask[8:18, 10:20] = 0.1, 1.0
        write(root / "test" / "hole" / f"{number}.png", damaged)
        write(root / "ground_truth" / "hole" / f"{number}_mask.png", mask)
    return root


class Darkness(torch.nn.Module):
    def forward(self, images):
        return -images


@pytest.fixture(scope="module")
def detector(surface):
    files = read_layout(surface).training
    detector = PatchDetector(Darkness(), coreset=50, smoothing=0.0)
    images = torch.stack([ImageFiles(files, channels=1)[number] for number in range(30)])
    return detector.fit(images.split(10)).calibrate(images, 0.1)


def test_the_layout_is_read(surface) -> None:
    layout = read_layout(surface)
    assert len(layout.training) == 50
    assert [sample.kind for sample in layout.test] == ["good"] * 4 + ["hole"] * 4
    assert [sample.mask and sample.mask.name for sample in layout.test[3:6]] == [None, "0_mask.png", "1_mask.png"]
    assert [sample.anomalous for sample in layout.test[3:5]] == [False, True]


def test_images_are_read_once_as_far_as_there_is_memory(surface, monkeypatch) -> None:
    files, read = read_layout(surface).training[:3], []
    monkeypatch.setattr(folders, "read_image", lambda file, *how: read.append(file) or read_image(file, *how))
    one = read_image(files[0], 1)
    images = ImageFiles(files, channels=1, memory=2 * one.nbytes)
    for _ in range(2):
        for number, file in enumerate(files):
            assert torch.equal(images[number].fill_(9), torch.full_like(one, 9))
            assert torch.equal(images[number], read_image(file, 1))
    assert read == [files[0], files[1], files[2], files[2], files[2], files[2]]
    assert torch.equal(images[torch.tensor(-3)], one), "the same file, whatever kind of number names it"
    assert len(read) == 6
    sent = pickle.loads(pickle.dumps(images))
    assert torch.equal(sent[0], one), "another process reads its own"
    assert len(read) == 7
    images.size = (4, 4)
    assert images[0].shape == (1, 4, 4)
    with pytest.raises(ValueError, match="memory must be at least 0 bytes, got -1"):
        ImageFiles(files, memory=-1)


def test_what_is_missing_is_named(surface, tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train/good: no such folder; .*MVTec's layout.*There is: photos"):
        read_layout(tmp_path)
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no images in it"):
        read_layout(tmp_path)
    write(tmp_path / "train" / "good" / "0.png", torch.zeros(4, 4))
    write(tmp_path / "test" / "hole" / "0.png", torch.zeros(4, 4))
    assert read_layout(tmp_path).test == [Sample(tmp_path / "test" / "hole" / "0.png", "hole")]
    (tmp_path / "ground_truth" / "hole").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"0_mask.png: no mask of .*0.png, though other 'hole'"):
        read_layout(tmp_path)


def test_images_and_masks_are_read_at_the_size_asked_for(tmp_path) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 6), (255, 0, 0)).save(file)
    assert read_image(file, 3).shape == (3, 6, 8)
    assert read_image(file, 3)[:, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert read_image(file, 1, (3, 5)).shape == (1, 3, 5)
    assert read_image(file, 1)[0, 0, 0].item() == pytest.approx(0.299)
    write(file, torch.eye(4))
    assert read_mask(file, (8, 8))[0].float().mean() == 0.25
    assert not read_mask(None, (8, 8)).any()


def test_a_table_of_scores_decisions_and_overlays(surface, detector, tmp_path) -> None:
    found = predict(detector, surface / "test", channels=1, overlays=tmp_path / "overlays")
    assert [each.anomalous for each in found] == [False] * 4 + [True] * 4
    assert found[0].score == pytest.approx(detector.score(read_image(surface / "test/good/0.png", 1)[None]).item())
    shown = read_image(tmp_path / "overlays" / "00004_0.png", 3)
    assert shown[0, 12, 14] > shown[2, 12, 14] + 0.3  # red where the hole is
    assert shown[:, 0, 0].max() - shown[:, 0, 0].min() < 0.05
    write_table(found, tmp_path / "scores.csv")
    write_table(found, tmp_path / "scores.json")
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert float(rows[4]["score"]) == found[4].score
    assert json.loads((tmp_path / "scores.json").read_text())[4] == {
        "path": str(surface / "test/hole/0.png"),
        "score": found[4].score,
        "anomalous": True,
        "overlay": str(tmp_path / "overlays" / "00004_0.png"),
    }
    with pytest.raises(ValueError, match=r"ends in .csv or .json, got 'scores.txt'"):
        write_table(found, tmp_path / "scores.txt")


def test_a_perfect_detector_measures_perfectly(surface, detector) -> None:
    found = evaluate(detector, read_layout(surface).test, channels=1)
    assert found == pytest.approx(
        {"image_auroc": 1, "image_ap": 1, "pixel_auroc": 1, "pixel_ap": 1, "pro": 1}, abs=1e-3
    )


def test_an_overlay_is_the_grey_image_where_the_map_is_low() -> None:
    image, share = torch.rand(3, 2, 2), torch.zeros(1, 2, 2)
    share[..., 0, 0] = 1
    shown = overlay(image, share)
    assert torch.allclose(shown[:, 1, 1], image[:, 1, 1].mean())
    assert shown[0, 0, 0] > shown[2, 0, 0]


def test_a_page_shows_misses_and_false_alarms_and_loads_nothing(surface, detector, tmp_path) -> None:
    test = read_layout(surface).test
    found = predict(detector, [sample.path for sample in test], channels=1)
    truth = [sample.anomalous for sample in test]
    write_page(found, tmp_path / "page.html", detector, anomalous=truth, measures={"image_auroc": 1.0}, channels=1)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 8
    assert "Worst misses" in page
    assert "image_auroc</td><td>1.0000" in page
    assert "http" not in page
    write_page(found, tmp_path / "page.html", detector, channels=1)
    assert "Highest scores" in (tmp_path / "page.html").read_text()
    with pytest.raises(ValueError, match="one truth for each, got 8"):
        write_page(found, tmp_path / "page.html", detector, anomalous=[True])


def test_from_the_shell(surface, tmp_path) -> None:
    shell, file = CliRunner(), tmp_path / "detector.pt"
    options = ["--size", str(SIDE), "--channels", "1", "--steps", "2", "--false-positive-rate", "0.2"]
    done = shell.invoke(app, ["detect", "fit", str(surface), "-o", str(file), *options])
    assert done.exit_code == 0, done.output
    assert "pixel_ap" in done.output
    table, page = tmp_path / "scores.csv", tmp_path / "page.html"
    words = ["detect", "score", str(file), str(surface / "test"), "-o", str(table), "--page", str(page), "--json"]
    done = shell.invoke(app, words)
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)) == 8
    assert len(table.read_text().splitlines()) == 9
    assert page.exists()


def test_from_the_shell_what_is_wrong_is_one_line(tmp_path) -> None:
    shell = CliRunner()
    done = shell.invoke(app, ["detect", "fit", str(tmp_path)])
    assert done.exit_code == 1
    assert "no such folder; good images to learn from belong there" in done.output
    (tmp_path / "detector.pt").write_bytes(b"something else")
    done = shell.invoke(app, ["detect", "score", str(tmp_path / "detector.pt"), str(tmp_path)])
    assert done.exit_code == 1
    assert "no checkpoint at all" in done.output


def test_a_detector_from_the_shell_knows_its_channels() -> None:
    assert SegmentationDetector(1, width=2, training=Training(steps=1)).channels == 1


def test_an_unreadable_file_is_named_and_an_empty_folder_too(detector, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: no images in it"):
        predict(detector, tmp_path / "empty", channels=1)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png: not a readable image"):
        predict(detector, tmp_path / "broken.png", channels=1)


def test_overlays_may_be_named_by_a_word(surface, detector, tmp_path) -> None:
    (found,) = predict(detector, surface / "test" / "hole" / "0.png", channels=1, overlays=str(tmp_path / "drawn"))
    assert read_image(Path(found.overlay), 3).shape == (3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["fit", "{surface}", "--false-positive-rate", "0"],
            "--false-positive-rate must be a share in (0, 1), got 0.0",
        ),
        (["fit", "{surface}", "-o", "{folder}"], "is a folder; name a file in it"),
        (["score", "missing.pt", "{surface}", "-o", "scores.txt"], "ends in .csv or .json, got 'scores.txt'"),
    ],
)
def test_from_the_shell_options_are_checked_before_anything_is_learned(words, message, surface, tmp_path) -> None:
    words = [word.format(surface=surface, folder=tmp_path) for word in words]
    done = CliRunner().invoke(app, ["detect", *words])
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
