"""The benchmarks' own instruments, and what they promise: memory is counted, so it can be tested; time cannot."""

import pytest
import torch

import nda_augment as nda
from benchmarks.memory import peak_bytes
from benchmarks.timing import interleaved, median_ms, ratio

IMAGES = torch.rand(8, 3, 224, 224)


def test_peak_bytes_counts_what_lives_at_once():
    tensor = torch.zeros(1000)
    assert peak_bytes(tensor.clone) == tensor.nbytes
    assert peak_bytes(lambda: (tensor + 1) + 1) == 2 * tensor.nbytes
    assert peak_bytes(lambda: [tensor + 1 for _ in range(3)]) == 3 * tensor.nbytes
    assert peak_bytes(lambda: tensor.view(10, 100)) == 0


@pytest.mark.parametrize("word", ["jigsaw", "stitch", "cutmix", "cutout", "mixup"])
def test_a_negative_takes_its_own_size_and_a_tenth(word):
    transform = nda.from_policy(word).members[0]
    assert peak_bytes(lambda: transform(IMAGES)) <= 1.1 * IMAGES.nbytes


def test_functions_take_turns():
    calls = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4  # one round to warm up
    assert [len(times) for times in seconds.values()] == [3, 3]
    assert ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == 2.0
    assert median_ms({"a": [0.001, 0.003, 0.002]}, "a") == 2.0
