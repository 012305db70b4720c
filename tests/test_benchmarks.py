"""The benchmarks' own instruments, and what they promise: memory is counted, so it can be tested; time cannot."""

import math
import sys
import time

import pytest
import torch

import nda_augment as nda
from benchmarks import cuda, detectors, peers, run, training, transforms
from benchmarks.memory import freed_memory_is, peak_bytes
from benchmarks.timing import interleaved, median_ms, ratio
from benchmarks.traffic import on_fake_gpu
from nda_augment.losses import FAKE_WEIGHT
from tests.cases import REGISTERED

IMAGES = torch.rand(8, 3, 224, 224)


def test_peak_bytes_counts_what_lives_at_once():
    tensor = torch.zeros(1000)
    assert peak_bytes(tensor.clone) == tensor.nbytes
    assert peak_bytes(lambda: (tensor + 1) + 1) == 2 * tensor.nbytes
    assert peak_bytes(lambda: [tensor + 1 for _ in range(3)]) == 3 * tensor.nbytes
    assert peak_bytes(lambda: tensor.view(10, 100)) == 0


@pytest.mark.parametrize(
    ("function", "kernels", "copies"),
    [
        (lambda x: x.clone(), 1, 1.0),
        (lambda x: x + x, 1, 1.5),
        (lambda x: x.add_(1), 1, 1.0),
        (lambda x: torch.add(x, 1, out=torch.empty_like(x)), 1, 1.0),
        (lambda x: torch.where(x > 0, x, x[:1], out=torch.empty_like(x)), 2, 1.5 + 1 / 8 + 1 / 4 + 1 / 8),
        (lambda x: x.view(-1).expand(5, -1)[1:], 0, 0.0),
        (lambda x: x.expand(9, *x.shape).clone(), 1, 5.0),
        (lambda x: x.index_select(0, torch.zeros(1, dtype=torch.long, device=x.device)), 2, 1 / 2 + 2 * 8 / (2 * 1024)),
        (lambda x: x.copy_(x[:1]), 1, 1 / 2 + 1 / 4),
    ],
)
def test_traffic_is_counted_without_a_gpu(function, kernels: int, copies: float):
    traffic = on_fake_gpu(function, (2, 128), torch.float32)
    assert traffic.kernels == kernels
    assert traffic.bytes / (2 * 1024) == pytest.approx(copies)
    assert traffic.host_copies == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
@pytest.mark.parametrize(
    ("word", "kernels", "copies"),
    [
        *(("jigsaw", 4, 1.0), ("stitch", 10, 1.0), ("cutmix", 12, 1.0), ("cutout", 9, 1.0), ("mixup", 12, 1.5)),
        # Inside of the box the image itself is read as well.
        *(("cutpaste", 47, 1.0), ("cutpasteforeign", 52, 1.125)),
        # All images once, and for a quarter the partner.
        ("jigsaw,stitch,cutout,mixup", 41, 1.0 + 0.5 / 4),
    ],
)
def test_fused_kernels_move_no_more_than_they_must(word: str, kernels: int, copies: float, dtype: torch.dtype):
    pytest.importorskip("nda_augment.functional._triton", exc_type=ImportError)
    shape = (256, 3, 224, 224)
    transform = nda.from_policy(word)
    traffic = on_fake_gpu(transform, shape, dtype, len(transform.members))
    assert traffic.kernels <= kernels
    assert traffic.bytes / (2 * math.prod(shape) * dtype.itemsize) == pytest.approx(copies, abs=0.01)
    assert traffic.host_copies == 0


@pytest.mark.parametrize("word", ["perlinblend", "randomfieldcolor", "randomfieldwarp"])
def test_noise_and_fields_move_twelve_copies_at_most(word: str):
    pytest.importorskip("nda_augment.functional._triton", exc_type=ImportError)
    shape = (256, 3, 224, 224)
    traffic = on_fake_gpu(nda.from_policy(word), shape, torch.float32)
    assert traffic.bytes / (2 * math.prod(shape) * 4) < (6 if word == "perlinblend" else 12)
    assert traffic.host_copies == 0


def test_copies_from_the_host_are_counted():
    there = torch.arange(4.0)
    assert on_fake_gpu(lambda x: x + there.to(x.device), (4,), torch.float32).host_copies == 1
    assert on_fake_gpu(lambda x: x.add_(1).to("cpu"), (4,), torch.float32).host_copies == 1
    assert on_fake_gpu(lambda x: x + torch.tensor(1.0), (4,), torch.float32).host_copies == 0  # a kernel's argument


def test_memory_can_be_kept_or_not():
    for kept in (True, False):
        with freed_memory_is(kept):
            assert torch.ones(2**20).sum() == 2**20


def test_a_row_says_what_a_transform_costs():
    row = transforms._row("jigsaw", nda.from_policy("jigsaw"), IMAGES, rounds=1)
    assert row["shape"] == "8x3x224x224"
    assert row["dtype"] == "float32"
    assert min(row["ms"], row["times limit"], row["times clone"], row["GPU copies"]) > 0


def test_every_peer_makes_a_batch(monkeypatch):
    monkeypatch.setattr(peers, "SHAPES", ((4, 3, 32, 32),))
    rows = list(peers.rows(torch.device("cpu"), rounds=1))
    assert {row["transform"] for row in rows} == set(peers.PEERS)
    for row in rows:
        assert row["times faster than peer"] == pytest.approx(row["peer ms"] / row["ms"])


def test_detectors_learn_in_two_ways(monkeypatch):
    monkeypatch.setattr(detectors, "LEARNED_FROM", ((2, 1, 8, 8),))
    monkeypatch.setattr(detectors, "SMOOTHED", ((1, 1, 20, 20),))
    monkeypatch.setattr(detectors, "FILES", (2, 3, 8, 8))
    monkeypatch.setattr(detectors, "SIZE", (4, 4))
    rows = list(detectors.rows(rounds=1))
    assert [row["way"] for row in rows] == ["channels_last", "matrices", "kept"]
    for row in rows:
        assert row["times as fast"] == pytest.approx(row["other's ms"] / row["ms"])


# Not yet a few images at a time.
WHOLE = ("blur", "noise", "sobel")


@pytest.mark.parametrize(
    "case", [case for case in REGISTERED if not case.module.needs_clips and case.name not in WHOLE], ids=str
)
def test_a_negative_takes_its_own_size_and_a_few_images(case):
    transform = case.make()
    images = torch.rand(48, 3, 96, 96)
    assert peak_bytes(lambda: transform(images)) <= 1.05 * images.nbytes + 8 * 2**20


def test_functions_take_turns():
    calls = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4  # one round to warm up
    assert [len(times) for times in seconds.values()] == [3, 3]
    assert ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == 2.0
    assert median_ms({"a": [0.001, 0.003, 0.002]}, "a") == 2.0


def test_the_clock_can_be_that_of_the_processor():
    seconds = interleaved({"idle": lambda: time.sleep(0.05)}, rounds=2, clock=time.process_time)
    assert max(seconds["idle"]) < 0.02
    assert min(interleaved({"idle": lambda: time.sleep(0.05)}, rounds=2)["idle"]) >= 0.05


@pytest.fixture
def small(monkeypatch):
    """A training step that takes milliseconds."""
    monkeypatch.setattr(training, "SIDE", 8)
    monkeypatch.setattr(training, "BATCH", 4)
    monkeypatch.setattr(training, "WIDTH", {"cpu": 2})


def test_a_row_per_network_and_policy(small, monkeypatch):
    made, modes = training._run, []

    def noted(*arguments):
        steps = made(*arguments)
        modes.append((steps.fake_weight, steps.settings.LOSS.nda_mode))
        return steps

    monkeypatch.setattr(training, "_run", noted)
    rows = list(training.rows(torch.device("cpu"), rounds=1))
    assert modes == [(1.0, "separate"), (FAKE_WEIGHT, "separate"), (FAKE_WEIGHT, "replace")] * len(rows)
    named = [(row["network"], row["negatives"]) for row in rows]
    assert named == [(network, policy) for network in training.NETWORKS for policy in training.POLICIES]
    for row in rows:
        assert row["transforms / plain, %"] == pytest.approx(100 * row["transforms, ms"] / row["plain step, ms"])
        assert min(row["separate / plain"], row["replacement / plain"]) > 0


@pytest.mark.parametrize(
    ("words", "judged"), [(["AUG.apply_nda=false"], 2), ([], 3), (["LOSS.nda_mode=replace"], 2)], ids=str
)
def test_the_modes_differ_by_one_batch_to_judge(small, words, judged):
    images = training.Images(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), None)
    steps = training._run("SNGAN", "jigsaw", images, torch.device("cpu"), words)
    seen = []
    steps.discriminator.network.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    steps.discriminator_steps()
    assert sum(seen) == judged * 4


def test_tables_are_chosen_and_written(small, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr("sys.argv", ["run", "training", "--rounds", "1"])
    run.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.json", "training.md"]
    assert "| SNGAN | jigsaw | 4x3x8x8 | cpu |" in (tmp_path / "training.md").read_text()
    monkeypatch.setattr("sys.argv", ["run", "trianing"])
    with pytest.raises(SystemExit):
        run.main()


def test_without_a_gpu_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device"):
        cuda.main()


def test_the_page_of_a_gpu_says_what_ran():
    row = {"transform": "jigsaw", "synchronizes": "", "graph": ""}
    page = cuda._page("A GPU", "3 passed", [row], {"GAN": "12 s"})
    assert "Tests: 3 passed" in page
    assert "GAN training in bf16: 12 s" in page
    assert page.endswith("| jigsaw |  |  |\n")


def test_a_command_that_fails_or_takes_too_long_says_so():
    assert cuda._run([sys.executable, "-c", "print('fine')"], 60) == ("fine", True)
    assert cuda._run([sys.executable, "-c", "print('bad'); exit(3)"], 60) == ("bad", False)
    assert cuda._run([sys.executable, "-c", "import time; time.sleep(60)"], 1) == ("stopped after 1 s", False)


def test_the_trainings_of_a_gpu_are_known():
    """Their settings are read as on the command line."""
    from examples.contrastive import config as contrastive
    from examples.gan import config as gan

    for module, words in ((gan, cuda.TRAININGS["GAN"]), (contrastive, cuda.TRAININGS["contrastive"])):
        module.load(module.DIGITS, [*words[1:], "RUN.precision=bf16-mixed", "RUN.save_dir=there/run"])
