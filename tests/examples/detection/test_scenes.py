from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from examples.detection import scenes
from examples.detection.samples import check_boxes
from tests.examples.contrastive.test_train import _app


def test_scenes_are_always_the_same_and_their_boxes_fit() -> None:
    training, test = scenes.load(6, 4, 48)
    assert (len(training), len(test)) == (6, 4)
    again = scenes.load(6, 4, 48)[0]
    assert training.fingerprint() == again.fingerprint() != test.fingerprint()
    for sample in (*training.samples, *test.samples):
        assert sample.image.shape == (3, 48, 48)
        assert sample.image.dtype == torch.uint8
        assert 1 <= len(sample.boxes) == len(sample.labels) <= 3
        assert sample.labels.min() >= 1
        assert sample.labels.max() <= 10
        check_boxes(sample.boxes.tolist(), 48, 48, "a scene")


def test_a_box_holds_its_digit_and_nothing_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """On black, with white digits: what is bright lies in the boxes, and touches all their sides."""
    monkeypatch.setattr(scenes, "load_whole", lambda name: torch.zeros(3, 60, 60, dtype=torch.uint8))
    for sample in scenes.compose(8, 48, held_out=False).samples:
        inside = torch.zeros(48, 48, dtype=torch.bool)
        for x0, y0, x1, y1 in sample.boxes.int().tolist():
            inside[y0:y1, x0:x1] = True
            patch = sample.image[:, y0:y1, x0:x1].amax(dim=0).float()
            edges = (patch[0], patch[-1], patch[:, 0], patch[:, -1])
            assert all(edge.max() >= 0.2 * patch.max() for edge in edges)
        bright = sample.image.amax(dim=0)
        assert bright[~inside].max() <= 0.3 * bright.max()


def test_test_digits_and_backgrounds_are_in_no_training_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not set(scenes.TRAINING) & set(scenes.TEST)
    seen: dict[bool, set[bytes]] = {}

    def remember(backgrounds: object, digits: torch.Tensor, *rest: object) -> scenes.Sample:
        seen[len(seen) == 0] = {digit.numpy().tobytes() for digit in digits}
        return scenes.Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(0, 4), torch.zeros(0))

    monkeypatch.setattr(scenes, "_scene", remember)
    scenes.load(1, 1, 48)
    assert len(seen[True]) > 1000
    assert len(seen[False]) > 300
    assert not seen[True] & seen[False]


def test_the_command_line_writes_other_scenes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scenes.npz"
    result = CliRunner().invoke(_app(scenes.main), [str(path), "--count", "3", "--size", "32"])
    assert result.exit_code == 0, result.output
    images = np.load(path)["images"]
    assert images.shape == (3, 32, 32, 3)
    first = scenes.load(1, 1, 32)[0].samples[0].image.permute(1, 2, 0).numpy()
    assert not any(np.array_equal(first, image) for image in images)
