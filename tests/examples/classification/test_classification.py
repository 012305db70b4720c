from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import nda_augment as nda
from examples.classification import few, train
from examples.classification.model import VisionTransformer
from examples.classification.train import ARMS, Settings
from examples.common import data
from examples.common.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from examples.common.data import Data, Images
from examples.common.settings import ConfigError
from nda_augment import losses

SETTINGS = Settings("plain", seed=0, epochs=1, batch_size=8, policy="patch_shuffle(grid=2)")


@pytest.fixture(scope="module")
def digits() -> tuple[Images, Images]:
    training, test = data.load_rgb(Data(img_size=8, limit=24))
    return training, test[torch.arange(40)]


def batch() -> tuple[Tensor, Tensor, Tensor]:
    images = torch.randn(2, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return images[0], images[1], torch.arange(8) % 4


class TestModel:
    def test_logits_are_linear_in_the_features(self) -> None:
        model = VisionTransformer(8, 10)
        logits, features = model(batch()[0])
        assert logits.shape == (8, 10)
        assert torch.equal(model.classify(features), logits)

    def test_it_sees_where_patches_are(self) -> None:
        model = VisionTransformer(8, 10).eval()
        images = batch()[0]
        assert not torch.allclose(model(images)[0], model(images.roll(4, dims=-1))[0], atol=1e-4)
        nn.init.zeros_(model.positions)
        torch.testing.assert_close(model(images)[0], model(images.roll(4, dims=-1))[0])

    def test_images_that_cannot_be_cut_are_refused(self) -> None:
        with pytest.raises(ValueError, match="side 10 cannot be cut into patches of side 4"):
            VisionTransformer(10, 10)


class TestCorruptions:
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize("corruption", CORRUPTIONS)
    def test_they_grow_with_the_strength_and_repeat(self, corruption: str) -> None:
        changes = []
        for strength in STRENGTHS:
            corrupted = corrupt(self.images, corruption, strength)
            assert corrupted.shape == self.images.shape
            assert corrupted.min() >= 0
            assert corrupted.max() <= 1
            assert torch.equal(corrupted, corrupt(self.images, corruption, strength))
            changes.append((corrupted - self.images).abs().mean().item())
        assert 0 < changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("arm", ARMS)
def test_the_loss_of_an_arm(arm: str) -> None:
    model = VisionTransformer(8, 10).eval()
    images, negatives, labels = batch()
    settings = replace(SETTINGS, arm=arm, negative_weight=0.5)
    (logits, features), (negative_logits, negative_features) = model(images), model(negatives)
    terms = {
        "plain": torch.zeros(()),
        "uniform": losses.uniform_cross_entropy(negative_logits),
        "distance": losses.probability_distance(logits, negative_logits),
        "supcon": losses.sup_con(features, labels),
        "contrastive": losses.sup_con(features, labels, negatives=negative_features),
    }
    expected = nn.functional.cross_entropy(logits, labels) + 0.5 * terms[arm]
    torch.testing.assert_close(train.loss(model, images, negatives, labels, settings), expected)


@pytest.mark.parametrize("arm", ["plain", "contrastive"])
def test_training_is_a_function_of_its_settings(arm: str, digits: tuple[Images, Images]) -> None:
    def weights(**changes: Any) -> dict[str, Tensor]:
        return train.train(digits[0], replace(SETTINGS, arm=arm, **changes)).state_dict()

    first, again, other = weights(), weights(), weights(seed=1)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["classify.weight"], other["classify.weight"])


def test_some_images_give_way_to_generated_ones_before_the_views(
    digits: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    class Identity(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images

    black = nda.Generated(lambda z, _: -torch.ones(len(z), 3, 8, 8), 2, encoder=lambda x: x.mean((2, 3)), p=0.5)
    monkeypatch.setattr(train, "load_augmentation", lambda folder, p, channels: black)
    monkeypatch.setitem(train.VIEWS, "none", lambda _: Identity())
    train.train(digits[0], replace(SETTINGS, views="none", generator="run", generated=0.5))
    shown, real = torch.cat(seen), digits[0].images.float() / 255
    gone = (shown == 0).flatten(1).all(dim=1)
    assert 4 < gone.sum() < 20
    assert all((image - real).abs().amax((1, 2, 3)).min() < 1e-6 for image in shown[~gone])


class TestFew:
    def test_each_class_has_as_many_and_each_seed_its_own(self, digits: tuple[Images, Images]) -> None:
        training, _ = data.load_rgb(Data(img_size=8))
        chosen = [few.few_of(training, 30, seed) for seed in (0, 0, 1)]
        assert data.labels_of(chosen[0]).bincount().tolist() == [3] * 10
        assert torch.equal(chosen[0].images, chosen[1].images)
        assert not torch.equal(chosen[0].images, chosen[2].images)
        with pytest.raises(ConfigError, match="fewer than 300"):
            few.few_of(training, 3000, 0)

    def test_arms_differ_in_views_and_generated_images_only(self) -> None:
        arms = few.arms_of("crop", "run")
        assert list(arms) == [
            *("plain", "crop", "IC-GAN 0.1", "IC-GAN 0.3", "IC-GAN 0.5"),
            *("crop + IC-GAN 0.1", "crop + IC-GAN 0.3", "crop + IC-GAN 0.5"),
        ]
        plain = replace(arms["crop + IC-GAN 0.3"], views="none", generator="", generated=0.0)
        assert plain == arms["plain"]

    def test_all_is_done_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(few, "TESTED", 30)
        encoder = ["MODEL.method=simclr", "MODEL.width=0.0625", "AUG.apply_nda=false", "EVAL.linear_epochs=1"]
        encoder += ["OPTIMIZATION.epochs=1", "RUN.print_freq=1", "RUN.progress=false"]
        ic_gan = ["MODEL.instance_cond=true", "MODEL.instance_neighbours=3", "MODEL.g_conv_dim=2"]
        words = tuple(encoder), (*ic_gan, "OPTIMIZATION.total_steps=1")
        setting = few.Setting(Data(img_size=8, limit=140), 50, "crop", *words, epochs=1)
        measured = few.compare(setting, tmp_path, seeds=2)
        files = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
        assert len(files) == 1 + 8 * 2
        assert few.compare(setting, tmp_path, seeds=2) == measured
        assert files == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}

    def test_the_table_has_differences_by_seed_from_plain_and_from_crops(self) -> None:
        clean = {
            "plain": (50.0, 60.0),
            "crop": (61.0, 73.0),
            "IC-GAN 0.1": (52.0, 60.0),
            "crop + IC-GAN 0.1": (60.0, 70.0),
        }
        measured = {arm: [{"clean": value, "corrupted": value / 2} for value in runs] for arm, runs in clean.items()}
        rows = [line.strip("| ").split(" | ") for line in few.table(measured, "crop").splitlines()]
        found = {row[0]: [cell.partition(" ")[0] for cell in row[1:]] for row in rows[2:]}
        assert found["crop"][:5] == ["2", "67.00", "+12.00", "33.50", "+6.00"]
        assert found["IC-GAN 0.1"][:3] == ["2", "56.00", "+1.00"]
        assert found["crop + IC-GAN 0.1"] == ["2", "65.00", "+10.00", "32.50", "+5.00", "-2.00"]
        assert len(found["crop"]) == 5  # nothing is compared with itself


def test_measures_are_percentages_of_what_is_right(digits: tuple[Images, Images]) -> None:
    _, test = digits

    class Constant(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.zeros(len(images), 10)
            logits[:, 3] = 1
            return logits, logits

    measured = train.measure(Constant(), test, SETTINGS.policy)
    assert test.labels is not None
    threes = 100 * (test.labels == 3).float().mean().item()
    assert set(measured) == {"clean", "corrupted", *CORRUPTIONS, "negatives", "confidence on negatives"}
    confidence = measured.pop("confidence on negatives")
    assert confidence == pytest.approx(100 * torch.e / (torch.e + 9))
    assert all(value == pytest.approx(threes) for value in measured.values())


def test_the_command_line_prints_a_table(monkeypatch: pytest.MonkeyPatch, digits: tuple[Images, Images]) -> None:
    import typer

    monkeypatch.setattr(data, "load", lambda *_: digits)
    app = typer.Typer()
    app.command()(train.main)
    words = ["--arm", "plain", "--seeds", "2", "--epochs", "0", "--size", "8", "--policy", "patch_shuffle(grid=2)"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "| accuracy in % | plain |" in result.output
    assert "±" in result.output
    assert CliRunner().invoke(app, ["--arm", "plan"]).exit_code == 2
