"""Kernels that share images among torch's threads."""

import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

pytest.importorskip("numba")
_openmp = pytest.importorskip("nda_augment.functional._openmp")

pytestmark = pytest.mark.skipif(_openmp._address_of_run() is None, reason="torch has another OpenMP than GNU's")


@pytest.fixture(autouse=True)
def small_batches_are_shared(monkeypatch):
    monkeypatch.setattr(_openmp, "_LEAST", 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def count(first, last, target, added, doubled):
    for image in range(first, last):
        target[image] += 2 * added[image] if doubled else added[image]


def refuse(first, last, target, refused):
    if first <= refused < last:
        raise ValueError


COUNT, REFUSE = _openmp.Kernel(count), _openmp.Kernel(refuse)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("number", [1, 2, 7, 100])
def test_every_image_is_done_once(number: int, threads: int) -> None:
    torch.set_num_threads(threads)
    images = np.zeros(number, np.int64)
    COUNT(images, np.arange(number), True)
    assert images.tolist() == [2 * image for image in range(number)]


@pytest.mark.parametrize(
    ("threads", "number", "size", "wanted"), [(2, 7, 8, 2), (3, 2, 8, 2), (2, 7, 1, 0), (1, 7, 8, 0)]
)
def test_as_many_threads_are_asked_for_as_pay(
    threads: int, number: int, size: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    def run(function, record, threads, flags) -> None:
        asked.append((threads, flags))
        do_part = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
        others = [threading.Thread(target=do_part, args=(record,)) for _ in range(threads)]
        for other in others:
            other.start()
        for other in others:
            other.join()

    monkeypatch.setattr(_openmp, "_address_of_run", lambda: ctypes.cast(run, ctypes.c_void_p).value)
    monkeypatch.setattr(_openmp, "_LEAST", 8)
    torch.set_num_threads(threads)
    images = np.zeros(number, f"int{8 * size}")
    COUNT(images, np.ones(number, images.dtype), False)
    assert images.tolist() == [1] * number
    assert asked == ([(wanted, 0)] if wanted else [])


def test_without_that_openmp_it_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(_openmp, "_address_of_run", lambda: None)
    monkeypatch.setattr(COUNT, "_shared", None)
    images = np.zeros(4, np.int64)
    COUNT(images, np.arange(4), False)
    assert images.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("image", range(4))
def test_what_fails_in_a_thread_is_heard_of(image: int) -> None:
    torch.set_num_threads(2)
    with pytest.raises(MemoryError, match="a thread had not enough memory"):
        REFUSE(np.zeros(4, np.int64), image)
    REFUSE(np.zeros(4, np.int64), 4)


def test_a_kernel_that_has_changed_is_not_found_in_a_cache(tmp_path) -> None:
    kernels = tmp_path / "kernels.py"
    program = (
        "import numpy, torch, kernels; torch.set_num_threads(2); a = numpy.zeros(9, int); kernels.fill(a); print(*a)"
    )
    for value in ("1", "23"):
        kernels.write_text(f"{KERNEL}{value}\n")
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
            assert done.stdout.split() == [value] * 9, done.stderr


KERNEL = """
from nda_augment.functional import _openmp

_openmp._LEAST = 1


@_openmp.Kernel
def fill(first, last, target):
    for image in range(first, last):
        target[image] = """


FORKED = """
import os, sys, warnings
import nda_augment
if sys.argv[1] == "before":
    from nda_augment.functional import _openmp
    assert _openmp._address_of_run() is not None
warnings.simplefilter("ignore")  # of a process that has threads
child = os.fork()
from nda_augment.functional import _openmp
if not child:
    os._exit(_openmp._address_of_run() is not None)
assert os.waitpid(child, 0)[1] == 0
assert _openmp._address_of_run() is not None
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("loaded", ["before", "after"])
def test_a_forked_process_uses_one_thread(loaded: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED, loaded], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
