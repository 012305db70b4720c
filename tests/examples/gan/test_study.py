"""The study's runner: lanes do not touch each other, arms differ in the negatives only, measures are what they say."""

import json
import statistics
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from examples.gan.study import data, measures, report
from examples.gan.study.settings import ARMS, SETTINGS, Arm, Setting
from examples.gan.study.train import Runs, run

# Fresh networks judge batches this small alike by chance.
pytestmark = pytest.mark.filterwarnings("ignore:all logits of this batch lie in")
SETTING = Setting("digits", images=50, d_steps=2, batch=8, steps=4, every=2)


@pytest.fixture(scope="module")
def split() -> data.Split:
    return data.load("digits")


@pytest.fixture(scope="module")
def judge(split: data.Split) -> measures.Judge:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "_EPOCHS", 1)
        return measures.Judge(split)


def trained(arm: Arm, seeds: list[int], split: data.Split, steps: int = 2) -> Runs:
    runs = Runs(SETTING, arm, seeds, split)
    runs.train(steps)
    return runs


def test_digits_are_split_for_good(split: data.Split) -> None:
    assert split.images.shape == (1348, 1, 16, 16)
    assert split.held_out.shape == (449, 1, 16, 16)
    assert (split.images.amin(), split.images.amax()) == (-1, 1)
    assert len(split.labels) == 1348


def test_runs_side_by_side_are_those_one_by_one(split: data.Split) -> None:
    arm = replace(ARMS["jigsaw-adaptive"], diffaugment="translation,cutout")
    together = trained(arm, [1, 2], split)
    for lane, seed in enumerate((1, 2)):
        alone = trained(arm, [seed], split)
        assert torch.equal(alone.images[0], together.images[lane])
        assert_close(alone.samples()[0], together.samples()[lane], atol=1e-4, rtol=1e-4)
        assert alone.fake_weights[0] == together.fake_weights[lane]


def test_negatives_that_never_come_in_change_nothing(split: data.Split) -> None:
    plain, late = trained(Arm(), [1], split), trained(Arm("jigsaw", start=1.0), [1], split)
    assert torch.equal(plain.samples(), late.samples())
    assert not torch.equal(plain.samples(), trained(Arm("jigsaw"), [1], split).samples())


@pytest.mark.parametrize("arm", ["mixture-learned", "mixture-target"])
def test_each_run_learns_weights_of_its_own(split: data.Split, arm: str) -> None:
    together, alone = (Runs(replace(SETTING, steps=9), ARMS[arm], seeds, split) for seeds in ([1, 2], [2]))
    for runs in (together, alone):
        runs.train(6)  # two updates each; weights move at the tenth
    first, second = (mixture.probabilities for mixture in together.learned)
    assert first != second
    assert second == pytest.approx(alone.learned[0].probabilities, rel=1e-3)
    assert max(second) > 0.2 + 1e-6


def test_lambda_follows_the_arm(split: data.Split) -> None:
    weights = {}
    for name in ("jigsaw-0.25", "jigsaw-early", "jigsaw-late"):
        runs = Runs(SETTING, ARMS[name], [1], split)
        weights[name] = []
        for runs.step in range(SETTING.steps):
            weights[name] += runs.fake_weights
    assert weights == {
        "jigsaw-0.25": [0.25] * 4,
        "jigsaw-early": [0.75, 1.0, 1.0, 1.0],
        "jigsaw-late": [1.0, 1.0, 0.75, 0.75],
    }


def test_of_the_candidates_the_one_with_the_lowest_logit_is_taken(split: data.Split) -> None:
    runs = Runs(SETTING, replace(ARMS["history-worst"], candidates=3), [1, 2], split)
    images = torch.rand(2, 8 * 3, 1, 16, 16)
    taken = runs._worst(images)
    for lane in range(2):
        logits = runs.discriminators(images)[lane]
        for place in range(8):
            candidates = range(3 * place, 3 * place + 3)
            worst = min(candidates, key=lambda number: logits[number].item())
            assert torch.equal(taken[lane, place], images[lane, worst])


def test_a_history_may_come_late(split: data.Split) -> None:
    setting = replace(SETTING, steps=10)
    plain, late = (Runs(setting, arm, [1], split) for arm in (Arm(), ARMS["history-late"]))
    for runs in (plain, late):
        runs.train(5)
    assert torch.equal(plain.samples(), late.samples())
    for runs in (plain, late):
        runs.train(2)
    assert not torch.equal(plain.samples(), late.samples())


def test_a_run_is_measured_as_it_goes(split: data.Split, judge: measures.Judge) -> None:
    rows, samples = run(SETTING, ARMS["jigsaw"], [1, 2], split, judge)
    assert samples.shape == (2, 1500, 1, 16, 16)
    for seed in (1, 2):
        assert [row["step"] for row in rows[seed]] == [2, 4]
        shares = [row[name] for row in rows[seed] for name in ("coverage", "recall", "copies", "memorised")]
        assert all(0 <= share <= 1 for share in shares)
        assert {"frechet", "d_train", "d_held_out", "d_fake", "d_negative", "negative_pull"} <= rows[seed][0].keys()


def test_copies_of_training_images_are_told(split: data.Split, judge: measures.Judge) -> None:
    training = split.images[:50]
    assert judge.score(training.repeat(4, 1, 1, 1), training)["copies"] == 1.0
    assert judge.score(split.held_out[:50].repeat(4, 1, 1, 1), training)["copies"] == 0.0


def test_frechet_distance_of_gaussians() -> None:
    features = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shift, scale = torch.tensor([1.0, -2.0, 0.5]), 3.0
    covariance = features.T.cov()
    expected = shift.square().sum() + (scale - 1) ** 2 * covariance.trace()
    mean = features.mean(0)
    moved = (features - mean) * scale + mean + shift
    assert measures.frechet_distance(features, moved) == pytest.approx(expected.item())
    assert measures.frechet_distance(features, features) == pytest.approx(0.0, abs=1e-9)


def test_every_arm_is_one(split: data.Split) -> None:
    for name, arm in ARMS.items():
        runs = Runs(SETTING, arm, [1], split)
        assert (runs.negatives is None) == (arm.policy is None), name
    assert SETTINGS["few"].data == "cifar10"


class TestReport:
    def test_differences_are_taken_seed_by_seed(self) -> None:
        plain = {"1": [{"frechet": 9.0}, {"frechet": 5.0}], "2": [{"frechet": 7.0}, {"frechet": 8.0}]}
        runs = {"2": [{"frechet": 3.0}, {"frechet": 4.0}]}
        assert report.differences(runs, plain, report.last("frechet")) == [-4.0]
        assert report.differences(runs, plain, report.lowest("frechet")) == [-4.0]
        assert report.differences(plain, plain, report.last("frechet")) == [0.0, 0.0]

    def test_interval(self) -> None:
        values = [1.0, 2.0, 4.0, 7.0, 11.0]
        low, high = report.interval(values)
        expected = stats.bootstrap((values,), statistics.mean, method="percentile", vectorized=False, rng=0)
        assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.25)
        assert report.interval([2.0, 2.0]) == (2.0, 2.0)

    def test_spearman(self) -> None:
        first, second = [3.0, 1.0, 2.0, 7.0], [1.0, 4.0, 2.0, 0.0]
        assert report.spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)

    def test_tables_and_curves(self, tmp_path) -> None:
        row = {"step": 1, "frechet": 5.0, "coverage": 0.5, "copies": 0.5, "memorised": 0.6, "d_train": 1.0}
        worse = row | {"frechet": 6.0, "d_negative": -1.0, "negative_pull": 0.1}
        better = row | {"frechet": 4.0, "d_negative": -2.0, "negative_pull": 0.2}
        for name, one, seeds in (("plain", row, 2), ("jigsaw", worse, 1), ("jigsaw", worse, 2), ("flip", better, 2)):
            rows = {str(seed): [one] for seed in range(1, seeds + 1)}
            (tmp_path / f"few.{name}.{seeds}.json").write_text(json.dumps({"which": name, "rows": rows}))
        report.main(tmp_path, "few")
        text = (tmp_path / "few.md").read_text()
        assert "| jigsaw | 2 | 6.00 ± 0.00 | +1.00 [+1.00, +1.00], 0 of 2 lower |" in text
        assert "| flip | -3.00 | -3.00 | 0.200 | -1.00 |" in text
        assert "hardness early and the difference: +1.00" in text
        assert (tmp_path / "few.png").stat().st_size > 1000
        (tmp_path / "few.flip.2.json").unlink()  # of one negative no order can be told
        report.main(tmp_path, "few")
        assert "Spearman" not in (tmp_path / "few.md").read_text()
