import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from examples.common import fitting
from examples.common.contrastive import compare, learning, methods
from examples.common.runs import DivergedError
from examples.common.settings import ConfigError, differences, flat
from examples.contrastive import config, train
from examples.contrastive.config import DIGITS, Config
from nda_augment._files import CheckpointError
from tests.examples.contrastive.conftest import LIGHTNING_WARNS, TINY, Tiny

pytestmark = pytest.mark.filterwarnings(LIGHTNING_WARNS)

METHODS = ["moco", "simclr"]


def state_of(settings: Config) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(Path(settings.RUN.save_dir) / fitting.CHECKPOINT, weights_only=True)
    return state


def tensors_of(value: Any, path: str = "") -> dict[str, Any]:
    """All tensors and numbers of a checkpoint, by their place in it."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return {path: value}
    return {place: leaf for key, inside in items for place, leaf in tensors_of(inside, f"{path}/{key}").items()}


def assert_same_run(settings: Config, other: Config) -> None:
    parts = ["state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "memory_bank"]
    ours, theirs = state_of(settings), state_of(other)
    for part in [part for part in parts if part in ours]:
        mine, others = tensors_of(ours[part]), tensors_of(theirs[part])
        assert mine.keys() == others.keys()
        for place, value in mine.items():
            same = torch.equal(value, others[place]) if isinstance(value, torch.Tensor) else value == others[place]
            assert same, f"{part}{place}"


def photographs(folder: Path, count: int) -> None:
    """Files of unequal sizes."""
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (10 + number % 3, 9 + number % 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("negatives", [True, False])
def test_a_run_trains_logs_and_evaluates(tiny: Tiny, method: str, negatives: bool) -> None:
    settings = tiny("run", f"MODEL.method={method}", f"AUG.apply_nda={negatives}", "MODEL.bn_splits=2")
    results = train.train(settings)
    folder = Path(settings.RUN.save_dir)
    assert json.loads((folder / fitting.RESULTS).read_text()) == results
    assert results["epochs"] == 3
    # The classes differ in brightness, which any features show.
    assert results["knn"] > 0.7
    assert 0 <= results["linear"] <= 1
    assert config.load(folder / "config.yaml") == settings
    events = EventAccumulator(str(folder))
    events.Reload()
    assert len(events.Scalars("knn")) == len(events.Scalars("loss_epoch")) == 3


@pytest.mark.parametrize("source", ["npz", "folder"])
@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tiny: Tiny, method: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"MODEL.method={method}", "OPTIMIZATION.warmup_epochs=1", "MODEL.bn_splits=2", "AUG.nda_learned=true"]
    if source == "folder":
        photographs(tmp_path / "photos", 32)
        words += ["DATA.name=folder", f"DATA.path={tmp_path / 'photos'}"]
    whole, killed = tiny("whole", *words), tiny("killed", *words)
    expected = train.train(whole)

    cls = methods.METHODS[method]
    loss = cls.loss

    def dies(self: Any, x0: Any, x1: Any, negatives: Any, number: int) -> Any:
        if number == 4:  # in the middle of the second epoch
            raise SystemError("killed")
        return loss(self, x0, x1, negatives, number)

    monkeypatch.setattr(cls, "loss", dies)
    with pytest.raises(SystemError, match="killed"):
        train.train(killed)
    assert state_of(killed)["epoch"] == 0
    monkeypatch.undo()
    torch.randn(100)  # another state of the global generator than in the uninterrupted run

    results = train.train(killed)
    assert_same_run(killed, whole)
    assert {**results, "seconds": 0} == {**expected, "seconds": 0}


def test_without_its_queue_a_run_would_not_resume_exactly(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, resumed = tiny("whole"), tiny("resumed")
    train.train(whole)
    monkeypatch.setattr(methods.MoCo, "on_load_checkpoint", lambda self, checkpoint: None)
    original = methods.MoCo.loss

    def dies(self: Any, x0: Any, x1: Any, negatives: Any, number: int) -> Any:
        if number == 4 and not hasattr(dies, "done"):
            dies.done = True  # type: ignore[attr-defined]
            raise SystemError("killed")
        return original(self, x0, x1, negatives, number)

    monkeypatch.setattr(methods.MoCo, "loss", dies)
    with pytest.raises(SystemError):
        train.train(resumed)
    train.train(resumed)
    with pytest.raises(AssertionError):
        assert_same_run(resumed, whole)


def test_a_finished_run_is_not_run_again_but_evaluated_anew_if_asked_otherwise(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny("run", "OPTIMIZATION.epochs=1")
    results = train.train(settings)

    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(methods.MoCo, "training_step", never)
    assert train.train(settings) == results
    monkeypatch.setattr(learning, "measures", lambda *_: {"knn": 0.125})
    other = tiny("run", "OPTIMIZATION.epochs=1", "EVAL.knn_k=1")
    for _ in range(2):
        anew = train.train(other)
        assert (anew["epochs"], anew["knn"]) == (1, 0.125)


def test_a_finished_run_can_be_lengthened_and_not_shortened(tiny: Tiny) -> None:
    train.train(tiny("run", "OPTIMIZATION.epochs=1"))
    longer = tiny("run", "OPTIMIZATION.epochs=2")
    assert train.train(longer)["epochs"] == 2
    state = state_of(longer)
    assert state["epoch"] == 1
    # The learning rate falls over the whole of the longer run.
    assert state["lr_schedulers"][0]["max_epochs"] == state["global_step"]
    with pytest.raises(ConfigError, match=r"has 2 epochs already, more than OPTIMIZATION\.epochs=1"):
        train.train(tiny("run", "OPTIMIZATION.epochs=1"))


def test_a_folder_with_another_run_is_refused(tiny: Tiny) -> None:
    train.train(tiny("run", "OPTIMIZATION.epochs=1"))
    with pytest.raises(ConfigError, match=r"other settings: MODEL.queue \(was 24, now 16\)"):
        train.train(tiny("run", "OPTIMIZATION.epochs=1", "MODEL.queue=16"))


def test_a_run_does_not_go_on_with_other_images(tiny: Tiny, tmp_path: Path) -> None:
    train.train(tiny("run", "OPTIMIZATION.epochs=1"))
    with np.load(tmp_path / "images.npz") as file:
        images, labels = file["images"], file["labels"]
    np.savez(tmp_path / "images.npz", images=255 - images, labels=labels)
    with pytest.raises(ConfigError, match="holds a run on other images than those that DATA now names"):
        train.train(tiny("run", "OPTIMIZATION.epochs=2"))


def test_images_without_labels_are_learnt_from_and_nothing_is_evaluated(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny("run", "OPTIMIZATION.epochs=1", "DATA.name=folder", f"DATA.path={tmp_path / 'photos'}")
    photographs(tmp_path / "photos", 12)
    results = train.train(settings)
    assert set(results) == {"epochs", "seconds"}
    assert state_of(settings)["epoch"] == 0
    with pytest.raises(ConfigError, match="these images have no labels"):
        compare.compare(Config, lambda _: results, DIGITS, [], {"plain": ""}, [0], 1)


def test_a_loss_that_is_no_number_stops_the_run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    original = methods.MoCo.loss

    def diverges(self: Any, x0: Any, x1: Any, negatives: Any, number: int) -> Any:
        return original(self, x0, x1, negatives, number) * (float("nan") if number == 4 else 1)

    settings = tiny("run")
    monkeypatch.setattr(methods.MoCo, "loss", diverges)
    with pytest.raises(DivergedError, match="at step 5 the loss is nan"):
        train.train(settings)
    assert state_of(settings)["epoch"] == 0


def test_a_damaged_checkpoint_is_told(tiny: Tiny) -> None:
    settings = tiny("run", "OPTIMIZATION.epochs=1")
    train.train(settings)
    path = Path(settings.RUN.save_dir) / fitting.CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is cut off"):
        train.train(settings)


def test_too_few_images_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="24 training images do not fill a batch of 32"):
        train.train(tiny("run", "OPTIMIZATION.batch_size=32"))


def test_the_command_line_trains(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny("run")
    asked: list[Config] = []

    def remember(settings: Config) -> dict[str, float]:
        asked.append(settings)
        return {"knn": 0.5, "linear": 0.25}

    monkeypatch.setattr(train, "train", remember)
    runner, app = CliRunner(), _app(train.main)
    words = [*TINY, f"DATA.path={settings.DATA.path}", f"RUN.save_dir={settings.RUN.save_dir}"]
    result = runner.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "kNN 50.0%, linear 25.0%" in result.output
    assert asked[0].MODEL == settings.MODEL
    failed = runner.invoke(app, ["MODEL.dims=3"])
    assert failed.exit_code == 2
    assert "MODEL.dim" in failed.output


def _app(command: Any) -> Any:
    import typer

    app = typer.Typer()
    app.command()(command)
    return app


# Comparing arms


RUNS: compare.Runs = {
    "plain": {0: {"knn": 0.5, "linear": 0.6}, 1: {"knn": 0.52, "linear": 0.6}},
    "jigsaw": {0: {"knn": 0.51, "linear": 0.5}, 1: {"knn": 0.55, "linear": 0.7}},
}


def test_the_table_has_means_spreads_and_differences_seed_by_seed() -> None:
    plain, jigsaw = compare.table(RUNS).splitlines()[2:]
    assert plain == "| plain | 51.00 ± 1.41 |  | 60.00 ± 0.00 |  | 50.00, 52.00 | 60.00, 60.00 |"
    assert (
        jigsaw
        == "| jigsaw | 53.00 ± 2.83 | +2.00 ± 1.41 | 60.00 ± 14.14 | +0.00 ± 14.14 | 51.00, 55.00 | 50.00, 70.00 |"
    )


def test_arms_are_named() -> None:
    assert compare.parse_arms(["plain", "jigsaw(grid=3)", "mixture=jigsaw,stitch"]) == {
        "plain": "",
        "jigsaw(grid=3)": "jigsaw(grid=3)",
        "mixture": "jigsaw,stitch",
    }


def test_arms_differ_in_their_negatives_only(tmp_path: Path) -> None:
    words = [*TINY, f"RUN.save_dir={tmp_path}", "DATA.path=somewhere"]
    path = tmp_path / "empty.yaml"
    path.write_text("{}\n")
    plain = compare.settings_of(Config, path, words, "plain", "", 2)
    mixture = compare.settings_of(Config, path, words, "mixture", "jigsaw,stitch:2", 2)
    assert set(differences(flat(mixture), flat(plain))) == {"AUG.apply_nda", "AUG.nda_policy", "RUN.save_dir"}
    assert (plain.RUN.seed, mixture.RUN.save_dir) == (2, str(tmp_path / "mixture-2"))
