from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from examples.common.data import Images
from examples.common.fitting import CHECKPOINT
from examples.common.settings import ConfigError
from examples.video import recognize, train
from examples.video.recognition import Config, Recognition, accuracy, windows
from tests.examples.contrastive.conftest import LIGHTNING_WARNS
from tests.examples.contrastive.test_train import _app, assert_same_run
from tests.examples.video.conftest import METHODS, Tiny

pytestmark = pytest.mark.filterwarnings(LIGHTNING_WARNS)

WORDS = ["OPTIMIZATION.batch_size=8", "OPTIMIZATION.epochs=2", "EVAL.clips=3", "RUN.print_freq=1"]


@pytest.fixture
def learned(tiny: Tiny) -> Path:
    """The folder of a run of dense predictive coding, on windows of ten frames."""
    settings = tiny("learned", *METHODS["dpc"], "DATA.length=10", "OPTIMIZATION.epochs=1")
    train.train(settings)
    return Path(settings.RUN.save_dir)


def encoder_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"]
    prefix = "encoder." if "classifier.0.weight" in state else "backbone."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_probe_leaves_the_encoder_and_fine_tuning_does_not(learned: Path) -> None:
    for frozen in (True, False):
        folder = learned / f"frozen {frozen}"
        words = [*WORDS, f"START.frozen={frozen}", f"RUN.save_dir={folder}"]
        results = recognize.recognize(recognize.settings_of(learned, words))
        assert 0 <= results["top1"] <= 1
        assert same(encoder_of(folder), encoder_of(learned)) == frozen


def test_random_weights_are_of_the_same_network(learned: Path) -> None:
    words = [
        *WORDS,
        "START.weights=random",
        "START.frozen=true",
        "OPTIMIZATION.epochs=1",
        f"RUN.save_dir={learned / 'r'}",
    ]
    recognize.recognize(recognize.settings_of(learned, words))
    assert not same(encoder_of(learned / "r"), encoder_of(learned))


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = (recognize.settings_of(learned, [*WORDS, f"RUN.save_dir={learned / name}"]) for name in "ab")
    expected = recognize.recognize(whole)
    step = Recognition.training_step

    def dies(self: Recognition, batch: list[object], batch_idx: int) -> torch.Tensor:
        if batch[-1] == 4:  # in the second epoch
            raise SystemError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Recognition, "training_step", dies)
    with pytest.raises(SystemError, match="killed"):
        recognize.recognize(killed)
    monkeypatch.undo()
    torch.randn(100)  # another state of the global generator
    results = recognize.recognize(killed)
    assert_same_run(killed, whole)  # type: ignore[arg-type]
    assert {**results, "seconds": 0} == {**expected, "seconds": 0}


def test_windows_lie_at_even_distances() -> None:
    videos = torch.arange(10).expand(2, -1)
    assert windows(videos, 4, 3)[0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert windows(videos, 4, 1)[0].tolist() == [[3, 4, 5, 6]]
    assert windows(videos, 10, 5).shape == (2, 1, 10)
    assert windows(videos, 9, 5)[0, :, 0].tolist() == [0, 1]


def test_probabilities_are_averaged_over_the_windows_of_a_video() -> None:
    """The last window is sure of class 1, the others lean to class 0: together they say 1, the middle one 0."""
    settings = Config.load(None, ["DATA.frames=2", "DATA.length=4", "EVAL.clips=3"])
    videos = torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8)
    videos[:, 0], videos[:, 3] = 100, 200

    class Brightness(nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return clips.mean(dim=(1, 2, 3, 4))[:, None]

    module = Recognition(settings, Images(videos, torch.tensor([1, 0])), Brightness(), 1)
    seen: list[int] = []

    def forward(clips: torch.Tensor) -> torch.Tensor:
        seen.append(len(clips))
        brightest = clips.mean(dim=(2, 3, 4)).amax(dim=1)
        return torch.stack([torch.zeros_like(brightest), 9 * (brightest > 0.5) - 0.2], dim=1)

    module.forward = forward  # type: ignore[method-assign]
    found = accuracy(module, Images(videos, torch.tensor([1, 0])))
    assert seen == [6, 2]
    assert found == {"top1": 0.5, "top1 of one clip": 0.5}
    assert accuracy(module, Images(videos, torch.tensor([0, 0]))) == {"top1": 0.0, "top1 of one clip": 1.0}


def test_what_cannot_be_is_refused(learned: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no folder of a run: it has no checkpoint.ckpt"):
        recognize.settings_of(tmp_path / "none", [])
    with pytest.raises(ConfigError, match=r"DATA.frames=7 is not a multiple of MODEL.block_frames=2; 6 and 8 are"):
        recognize.settings_of(learned, ["DATA.frames=7"])
    with pytest.raises(ConfigError, match=r"START.weights must be one of learned, random"):
        recognize.settings_of(learned, ["START.weights=imagenet"])


def test_the_command_line_recognizes(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Config] = []

    def remember(settings: Config) -> dict[str, float]:
        asked.append(settings)
        return {"top1": 0.5, "top1 of one clip": 0.25}

    monkeypatch.setattr(recognize, "recognize", remember)
    result = CliRunner().invoke(_app(recognize.main), [str(learned), "START.frozen=true"])
    assert result.exit_code == 0, result.output
    assert "accuracy 50.0%, of one clip 25.0%" in result.output
    assert asked[0].START.frozen
    assert (asked[0].START.run, asked[0].DATA.length) == (str(learned), 10)
