import builtins
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from lightning.fabric.plugins.precision import Precision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nda_augment.anomaly import Training, _training
from nda_augment.anomaly._training import Objective, adamw, train
from tests.anomaly.conftest import make, stripes


class StopError(Exception):
    pass


def loader() -> DataLoader:
    return DataLoader(TensorDataset(stripes(48)), 16, shuffle=True)


def stop_after(epoch: int):
    def report(done: int, losses) -> None:
        if done == epoch:
            raise StopError

    return report


@pytest.mark.parametrize("kind", ["classifier", "discriminator", "csi"])
def test_a_fit_that_was_stopped_ends_as_one_that_was_not(kind, tmp_path) -> None:
    settings = Training(epochs=3, accelerator="cpu")
    whole = make(kind, settings).fit(loader())

    settings = replace(settings, checkpoint=tmp_path / "fit.pt")
    with pytest.raises(StopError):
        make(kind, replace(settings, report=stop_after(2))).fit(loader())
    torch.manual_seed(99)
    resumed = make(kind, settings).fit(loader())

    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt"]


def test_a_finished_fit_is_not_trained_again(tmp_path) -> None:
    reports = []
    settings = Training(
        epochs=2, accelerator="cpu", checkpoint=tmp_path / "fit.pt", report=lambda *row: reports.append(row)
    )
    first = make("classifier", settings).fit(loader())
    second = make("classifier", settings).fit(loader())
    assert [epoch for epoch, _ in reports] == [1, 2]
    assert torch.equal(first.score(stripes(3)), second.score(stripes(3)))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path) -> None:
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    make("classifier", settings).fit(loader())
    with pytest.raises(ValueError, match=r"\(seed: 0, now 1\); choose another checkpoint"):
        make("classifier", replace(settings, seed=1)).fit(loader())


def test_the_scale_of_float16_gradients_goes_on(tmp_path, monkeypatch) -> None:
    read = []
    monkeypatch.setattr(Precision, "state_dict", lambda self: {"scale": 1024.0})
    monkeypatch.setattr(Precision, "load_state_dict", lambda self, state: read.append(state))
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    make("classifier", settings).fit(loader())
    assert read == []
    make("classifier", settings).fit(loader())
    assert read == [{"scale": 1024.0}]


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch) -> None:
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "fit.pt")

    def broken(state, file) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="no space"):
        make("classifier", settings).fit(loader())
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_makes_its_folder(tmp_path) -> None:
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "runs" / "one" / "fit.pt")
    make("classifier", settings).fit(loader())
    assert settings.checkpoint.exists()


def test_a_checkpoint_of_other_learning_rates_of_the_players_is_refused(tmp_path) -> None:
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    make("discriminator", settings).fit(loader())
    other = make("discriminator", settings)
    other.lr = (1e-3, 1e-3)
    with pytest.raises(ValueError, match=r"lr: \[0.01, 0.001\], now \[0.001, 0.001\]"):
        other.fit(loader())


def test_the_state_is_read_where_the_network_will_be(tmp_path, monkeypatch) -> None:
    """Optimizers bring their state to their weights when it is loaded, and never again."""
    settings = Training(epochs=2, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    with pytest.raises(StopError):
        make("classifier", replace(settings, report=stop_after(1))).fit(loader())
    events = []
    fabric = _training._fabric(settings)
    monkeypatch.setattr(_training, "_fabric", lambda _: fabric)
    move, load = fabric.to_device, torch.optim.AdamW.load_state_dict
    monkeypatch.setattr(fabric, "to_device", lambda module: events.append("moved") or move(module))
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", lambda *state: events.append("loaded") or load(*state))
    make("classifier", settings).fit(loader())
    assert events[:2] == ["moved", "loaded"]


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["classifier", "discriminator", "csi"])
def test_a_fit_goes_on_where_there_is_a_gpu(kind, tmp_path) -> None:
    settings = Training(epochs=2, accelerator="cuda", checkpoint=tmp_path / "fit.pt")
    with pytest.raises(StopError):
        make(kind, replace(settings, report=stop_after(1))).fit(loader())
    assert make(kind, settings).fit(loader()).device.type == "cuda"


@pytest.mark.parametrize("kind", ["classifier", "windows", "random"])
def test_what_follows_the_training_is_seeded_too(kind) -> None:
    """A loader that shuffles and drops its last batch leaves out other images at every seed."""
    scores = []
    for seed in (1, 2):
        detector = make(kind, Training(epochs=1, accelerator="cpu"))
        torch.manual_seed(seed)
        detector.fit(DataLoader(TensorDataset(stripes(40)), 16, shuffle=True, drop_last=True))
        scores.append(detector.score(stripes(3, seed=1)))
    assert torch.equal(*scores)


def test_losses_are_reported_by_name_and_fall() -> None:
    rows = []
    settings = Training(epochs=6, lr=1e-2, accelerator="cpu", report=lambda epoch, losses: rows.append((epoch, losses)))
    make("csi", settings).fit(loader())
    assert [epoch for epoch, _ in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1][1]["loss"] < rows[0][1]["loss"]
    rows.clear()
    make("discriminator", replace(settings, epochs=1)).fit(loader())
    assert set(rows[0][1]) == {"discriminator_loss", "generator_loss"}


def test_the_learning_rate_falls_along_half_a_cosine() -> None:
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def loss(self, images):
            return self.weight.sum()  # its gradient is 1, so SGD moves by the learning rate

    line, weights = Line(), []
    settings = Training(epochs=4, accelerator="cpu", report=lambda *_: weights.append(line.weight.item()))
    train(line, [torch.zeros(2, 1, 1, 1)], [Objective("loss", torch.optim.SGD(line.parameters(), lr=1.0))], settings)
    steps = [-(b - a) for a, b in zip([0.0, *weights], weights, strict=False)]
    assert steps == pytest.approx([1.0, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2], abs=1e-6)


def test_a_loss_that_is_not_finite_stops_the_fit() -> None:
    detector = make("classifier", Training(epochs=2, accelerator="cpu"))
    with torch.no_grad():
        detector.head.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1 are not finite"):
        detector.fit(loader())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"epochs": 2, "steps": 3}, "by epochs or by steps, got both: 2 and 3"),
        ({"holdout": 1.0}, r"holdout must be a share in \[0, 1\), got 1.0"),
        ({"lr": 0.0}, "lr must be a finite number above 0, got 0.0"),
        ({"lr": float("nan")}, "lr must be a finite number above 0, got nan"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number of 0 or more, got -1.0"),
        ({"precision": "bf16-true"}, "precision must be one of '32-true', .* got 'bf16-true'"),
    ],
)
def test_settings_are_checked(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Training(**settings)


def test_a_checkpoint_may_be_named_by_a_word(tmp_path) -> None:
    assert Training(checkpoint=str(tmp_path / "fit.pt")).checkpoint == tmp_path / "fit.pt"


@pytest.mark.parametrize("kind", ["classifier", "csi", "discriminator"])
def test_mixed_precision(kind) -> None:
    settings = Training(epochs=1, accelerator="cpu", precision="bf16-mixed")
    detector = make(kind, settings).fit(loader())
    assert {p.dtype for p in detector.parameters()} == {torch.float32}
    assert detector.score(stripes(3)).isfinite().all()


def test_adamw_decays() -> None:
    (group,) = adamw([nn.Parameter(torch.zeros(1))], Training(lr=0.5, weight_decay=0.25)).param_groups
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)


def test_a_missing_lightning_is_named(monkeypatch) -> None:
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("lightning"):
            raise ImportError("No module named 'lightning'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[anomaly\]"'):
        make("classifier").fit(loader())


def test_importing_it_imports_no_other_library() -> None:
    names = ["lightning", "pytorch_lightning", "sklearn", "torchvision", "pandas", "matplotlib"]
    code = (
        "import sys, nda_augment; print('nda_augment.anomaly' in sys.modules); "
        f"import nda_augment.anomaly; print([name for name in {names} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "[]"]


def large_loader(count: int = 160) -> DataLoader:
    return DataLoader(TensorDataset(stripes(count)), 16, shuffle=True)


@pytest.mark.filterwarnings("ignore:.*it has learned nothing")
def test_a_budget_of_steps_is_kept_and_resumed_exactly(tmp_path) -> None:
    rows = []
    settings = Training(steps=23, accelerator="cpu", report=lambda epoch, row: rows.append((epoch, row)))
    whole = make("classifier", settings).fit(large_loader())
    assert [epoch for epoch, _ in rows] == [1, 2, 3]  # 9 steps each: a tenth is held out
    assert all("accuracy" in row for _, row in rows)

    settings = replace(settings, checkpoint=tmp_path / "fit.pt", report=stop_after(2))
    with pytest.raises(StopError):
        make("classifier", settings).fit(large_loader())
    resumed = make("classifier", replace(settings, report=None)).fit(large_loader())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert torch.load(settings.checkpoint, weights_only=True)["progress"]["step"] == 23


def test_the_default_is_a_number_of_steps() -> None:
    assert (Training().steps, Training().epochs) == (_training.STEPS, None)
    assert (Training(epochs=3).steps, Training(epochs=3).epochs) == (None, 3)


class Guess(nn.Module):
    """Learns nothing, and is measured as it is told to be."""

    def __init__(self, values) -> None:
        super().__init__()
        self.weight, self.values, self.seen = nn.Parameter(torch.zeros(1)), list(values), []

    def loss(self, images):
        return self.weight.sum()

    def validate(self, images):
        self.seen.append((images, torch.rand(1), self.training))
        return _training.Validation("accuracy", self.values[len(self.seen) - 1], 0.5, 0.05)

    def learn(self, settings: Training):
        objective = Objective("loss", torch.optim.SGD(self.parameters(), lr=1.0))
        return train(self, large_loader(), [objective], settings, validate=self.validate)


def test_validations_see_held_out_images_and_the_same_draws() -> None:
    guess = Guess([0.9] * 10)
    assert guess.learn(Training(epochs=20, accelerator="cpu")).value == 0.9
    assert len(guess.seen) == 10
    images, draws, modes = zip(*guess.seen, strict=True)
    assert all(torch.equal(each, images[0]) for each in images)
    assert len(images[0]) == 16
    assert len(set(map(float, draws))) == 1
    assert not any(modes)


def test_chance_is_told_with_numbers() -> None:
    with pytest.warns(UserWarning, match=r"after 90 steps Guess tells .* accuracy 0.60, where chance is 0.50 ± 0.05"):
        Guess([0.6] * 10).learn(Training(epochs=10, accelerator="cpu"))


def test_patience_ends_a_training_that_no_longer_gets_better() -> None:
    guess = Guess([0.7, 0.8, 0.9, 0.9, 0.8, 0.95, 0.99])
    guess.learn(Training(epochs=10, patience=2, accelerator="cpu"))
    assert len(guess.seen) == 5


def test_nothing_is_held_out_if_not_asked_for() -> None:
    guess = Guess([])
    assert guess.learn(Training(epochs=1, holdout=0.0, accelerator="cpu")) is None


@pytest.mark.parametrize("change", ["images", "negatives"])
def test_a_checkpoint_of_other_images_or_negatives_is_refused(change, tmp_path) -> None:
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    make("segmentation", settings).fit(loader())
    other = make("segmentation", settings)
    batches = loader()
    if change == "images":
        batches = DataLoader(TensorDataset(stripes(48, seed=1)), 16, shuffle=True)
    else:
        other.negatives[0].opacity = 0.7
    with pytest.raises(ValueError, match=r"fit\.pt is of another training .*choose another checkpoint"):
        other.fit(batches)


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path) -> None:
    settings = Training(epochs=1, accelerator="cpu", checkpoint=tmp_path / "fit.pt")
    make("classifier", settings).fit(loader())
    settings.checkpoint.write_bytes(settings.checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"fit\.pt is cut off"):
        make("classifier", settings).fit(loader())


@pytest.mark.filterwarnings("ignore:.*it has learned nothing")
def test_the_bar_shows_losses_and_the_measure(capsys) -> None:
    make("classifier", Training(steps=20, accelerator="cpu", progress=True)).fit(large_loader())
    shown = capsys.readouterr().err
    assert "20/20" in shown
    assert "loss=" in shown
    assert "accuracy=" in shown
    make("classifier", Training(steps=2, accelerator="cpu", progress=False)).fit(large_loader())
    assert not capsys.readouterr().err


@pytest.mark.parametrize("kind", ["segmentation", "classifier"])
def test_an_image_left_over_is_passed_over(kind, monkeypatch) -> None:
    detector = make(kind, Training(steps=6, holdout=0.0, accelerator="cpu"))
    seen, loss = [], type(detector).loss
    monkeypatch.setattr(type(detector), "loss", lambda self, images: seen.append(len(images)) or loss(self, images))
    detector.fit(stripes(33).split(16))
    assert seen == [16] * 6


def test_batches_of_one_image_alone_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"all batches are of one image.* make batch_size 2 or more"):
        make("segmentation").fit(stripes(4).split(1))
