import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from examples.common.fitting import RESULTS
from examples.common.randomness import Share
from examples.common.settings import ConfigError
from examples.detection import compare, config, learning, pictures, train
from examples.detection.config import Config
from examples.detection.learning import Batches, Detection
from tests.examples.contrastive.conftest import LIGHTNING_WARNS
from tests.examples.contrastive.test_train import _app, assert_same_run
from tests.examples.detection.conftest import TINY, Tiny

pytestmark = pytest.mark.filterwarnings(LIGHTNING_WARNS)

needs_coco = pytest.mark.skipif(
    importlib.util.find_spec("pycocotools") is None, reason='needs pycocotools: pip install "nda-augment[examples]"'
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pycocotools: what a run trains is looked at, not what it measures."""
    monkeypatch.setattr(learning, "check_metric", lambda: None)
    monkeypatch.setattr(train, "check_metric", lambda: None)
    monkeypatch.setattr(train, "average_precision", lambda *_: {"AP": 0.1, "AP50": 0.2, "AP75": 0.3})


@pytest.mark.parametrize("form", ["fpn", "c4"])
@pytest.mark.usefixtures("measured")
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tiny: Tiny, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (tiny(name, f"MODEL.form={form}", "AUG.flip=0.5") for name in ("whole", "killed"))
    expected = train.train(whole)
    assert json.loads((Path(whole.RUN.save_dir) / RESULTS).read_text()) == expected
    step = Detection.training_step

    def dies(self: Detection, batch: Any, batch_idx: int) -> torch.Tensor:
        if batch[-1] == 4:  # in the second epoch
            raise SystemError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Detection, "training_step", dies)
    with pytest.raises(SystemError, match="killed"):
        train.train(killed)
    monkeypatch.setattr(Detection, "training_step", step)
    torch.randn(100)  # another state of the global generator
    assert {**train.train(killed), "seconds": 0} == {**expected, "seconds": 0}
    assert_same_run(killed, whole)  # type: ignore[arg-type]


def test_processes_share_the_batches_of_one(tiny: Tiny) -> None:
    settings = tiny("run", "AUG.flip=0.5", "OPTIMIZATION.batch_size=4")
    data = train.load(settings.DATA)[0]
    whole = Batches(data, settings, 1, Share())[0]
    halves = [Batches(data, settings, 1, Share(rank, 2))[0] for rank in range(2)]
    assert all(torch.equal(*pair) for pair in zip(whole[0], halves[0][0] + halves[1][0], strict=True))
    assert whole[2] == halves[0][2] == 1


@needs_coco
def test_average_precision_is_one_of_what_is_right_and_none_of_what_is_not(tiny: Tiny) -> None:
    """COCO's thresholds: a box that overlaps by two thirds counts at 0.5, and not at 0.75."""
    test = train.load(tiny("run").DATA)[1]

    class Oracle(torch.nn.Module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.shift, self.place = torch.nn.Parameter(torch.tensor(shift)), 0

        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            found = []
            for _ in images:
                sample = test[self.place]
                sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
                moved = sample.boxes + self.shift.detach() * torch.cat([sides[:, :1], 0 * sides[:, :1]], 1).repeat(1, 2)
                found.append({"boxes": moved, "labels": sample.labels, "scores": torch.ones(len(moved))})
                self.place += 1
            return found

    assert learning.average_precision(Oracle(0.0), test, 3) == {"AP": 1.0, "AP50": 1.0, "AP75": 1.0}
    shifted = learning.average_precision(Oracle(0.2), test, 3)  # (1 − 0.2) / (1 + 0.2) = 2/3
    assert shifted["AP50"] == 1.0
    assert shifted["AP75"] == 0.0
    assert learning.average_precision(Oracle(2.0), test, 3) == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}


@needs_coco
def test_a_run_measures_and_is_drawn(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny("run", "OPTIMIZATION.epochs=1")
    results = train.train(settings)
    assert all(-1 <= results[name] <= 1 for name in learning.MEASURES)
    output = tmp_path / "deep" / "picture.png"
    result = CliRunner().invoke(_app(pictures.main), [settings.RUN.save_dir, str(output), "--count", "4"])
    assert result.exit_code == 0, result.output
    with Image.open(output) as image:
        assert image.size == (4 * 97 - 1, 96)


def test_found_boxes_are_red_and_true_ones_white() -> None:
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    found = {
        "boxes": torch.tensor([[2.0, 2.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]]),
        "labels": torch.tensor([1, 1]),
        "scores": torch.tensor([0.9, 0.1]),
    }
    drawn = pictures.draw(image, torch.tensor([[14.0, 2.0, 24.0, 10.0]]), found, ("a",), 0.5)
    red = (drawn[0] > 200) & (drawn[1] < 50)
    assert red[:33, :33].any()
    assert not red[50:, 50:].any()
    assert (drawn.amin(dim=0) == 255).any()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("DATA.name=voc", r"DATA.name=voc needs DATA.path; got none"),
        ("DATA.path=x", r"DATA.name=scenes needs no path: scenes are composed, not read; got path"),
        ("DATA.max_size=16", r"DATA.max_size must be at least 32"),
        ("MODEL.frozen=6", r"MODEL.frozen=6: a ResNet has 5 parts"),
        ("MODEL.form=c5", r"MODEL.form must be one of fpn, c4"),
        ("MODEL.backbone=resnet-8", r"did you mean 'resnet-18'|did you mean 'resnet-9'"),
        ("OPTIMIZATION.decay_at=[0.9,0.5]", r"decay_at must be rising shares"),
        ("RUN.devices=3", r"OPTIMIZATION.batch_size=8 cannot be divided by RUN.devices=3"),
    ],
)
def test_what_cannot_be_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])


@pytest.mark.parametrize("path", sorted(Path(config.__file__).parent.glob("configs/[!p]*.yaml")), ids=lambda p: p.stem)
def test_the_configs_that_come_along_are_valid(path: Path) -> None:
    config.load(path)


def test_without_the_metric_nothing_is_trained(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pycocotools: pip install \"nda-augment\[examples\]\""):
        train.train(tiny("run"))


@pytest.mark.usefixtures("measured")
def test_arms_learn_features_and_detectors_begin_with_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    features = ["DATA: {name: npz, img_size: 32, holdout: 0.0}", "OPTIMIZATION: {batch_size: 4, epochs: 1}"]
    (tmp_path / "features.yaml").write_text("\n".join([*features, "RUN: {accelerator: cpu, print_freq: 1}"]))
    words = [*TINY, "OPTIMIZATION.epochs=1", f"RUN.save_dir={tmp_path / 'runs'}", "--seeds", "1"]
    arms = ["--arm", "random", "--arm", "plain", "--arm", "jigsaw"]
    options = ["--pretraining", str(tmp_path / "features.yaml"), *arms]
    result = CliRunner().invoke(_app(compare.main), [str(tmp_path / "images.npz"), *words, *options])
    assert result.exit_code == 0, result.output
    table = (tmp_path / "runs" / "comparison.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["random", "plain", "jigsaw"]
    weights = [
        config.load(tmp_path / "runs" / f"{arm}-0" / "config.yaml").MODEL.weights for arm in ("random", "jigsaw")
    ]
    assert weights == ["", str(tmp_path / "runs" / "features" / "jigsaw-0" / "backbone.pt")]


def test_the_command_line_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Config] = []

    def remember(settings: Config) -> dict[str, float]:
        asked.append(settings)
        return {"AP": 0.125, "AP50": 0.25, "AP75": 0.5}

    monkeypatch.setattr(train, "train", remember)
    result = CliRunner().invoke(_app(train.main), [f"RUN.save_dir={tmp_path}", "MODEL.form=c4"])
    assert result.exit_code == 0, result.output
    assert "AP 12.5%, AP50 25.0%, AP75 50.0%" in result.output
    assert asked[0].MODEL.form == "c4"
    assert CliRunner().invoke(_app(train.main), ["MODEL.fom=c4"]).exit_code == 2
