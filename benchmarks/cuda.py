"""Everything that asks for a GPU, in one command of at most ten minutes: `make gpu`.

It runs the CUDA tests, measures the transforms on the device, and trains a GAN and a contrastive encoder for a short
while in bf16. The results go to `benchmarks/cuda.md`. It needs torch, kornia and pytest with hypothesis; the trainings
need the `examples` extra, and say so where it is missing.
"""

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import nda_augment as nda

PAGE = Path(__file__).with_name("cuda.md")
SHAPES = ((256, 3, 32, 32), (64, 3, 224, 224))
MIXTURE = "jigsaw,stitch,cutout,mixup"
# Seconds for the tests, and for each training; what is left of ten minutes is for the transforms.
TEST_LIMIT, TRAINING_LIMIT = 240, 90

TRAININGS = {
    "GAN": ["examples.gan.train", "OPTIMIZATION.total_steps=200", "AUG.apply_nda=true", f"AUG.nda_policy={MIXTURE}"],
    "contrastive": ["examples.contrastive.train", "OPTIMIZATION.epochs=2"],
}


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device on this machine: nothing was run, and cuda.md is as it was")
    started = time.perf_counter()
    device = torch.cuda.get_device_name()
    tests, passed = _run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider"], TEST_LIMIT)
    measured = list(rows())
    trainings = {name: _train(words) for name, words in TRAININGS.items()}
    PAGE.write_text(_page(device, tests, measured, trainings))
    print(PAGE.read_text(), f"{time.perf_counter() - started:.0f} s")
    if not (passed and all(row["synchronizes"] == row["graph"] == "" for row in measured)):
        raise SystemExit(1)


def rows() -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per policy, shape and dtype."""
    for shape in SHAPES:
        for dtype in (torch.float32, torch.uint8):
            images = (torch.rand(shape, device="cuda") * 255).to(dtype)
            for word in (*nda.list_transforms(), MIXTURE):
                transform = nda.from_policy(word)
                batch = images.view(-1, 8, *shape[1:]) if transform.needs_clips else images
                yield _row(word, transform, batch)


def _row(word: str, transform: Callable[[Tensor], Any], images: Tensor) -> dict[str, Any]:
    own, copy = _milliseconds(lambda: transform(images)), _milliseconds(images.clone)
    return {
        "transform": word,
        "shape": "x".join(map(str, images.shape)),
        "dtype": str(images.dtype).removeprefix("torch."),
        "device ms": f"{own:.3f}",
        "times copy": f"{own / copy:.2f}",
        "kernels": _kernels(lambda: transform(images)),
        "synchronizes": _error_of(lambda: _without_synchronizing(lambda: transform(images))),
        "graph": _error_of(lambda: _captured(lambda: transform(images))),
    }


def _milliseconds(function: Callable[[], Any], rounds: int = 20) -> float:
    """Return the median time between two events on the device."""
    for _ in range(3):
        function()
    times: list[float] = []
    for _ in range(rounds):
        start, end = _event(), _event()
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _kernels(function: Callable[[], Any]) -> int:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        function()
        torch.cuda.synchronize()
    # CUDA's own calls, and the driver's, by which Triton launches.
    launches = ("cudaLaunchKernel", "cuLaunchKernel")
    return sum(event.count for event in profiler.key_averages() if event.key.startswith(launches))


def _without_synchronizing(function: Callable[[], Any]) -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        function()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _captured(function: Callable[[], Any]) -> None:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # a warm-up, as graphs ask for
        function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    graph.replay()
    torch.cuda.synchronize()


def _error_of(function: Callable[[], Any]) -> str:
    """Return what a call fails with, in a line, or nothing."""
    try:
        function()
    except RuntimeError as error:
        return str(error).splitlines()[0][:80]
    return ""


def _train(words: list[str]) -> str:
    if importlib.util.find_spec("lightning") is None:
        return 'not run: it needs pip install "nda-augment[examples]"'
    module, *settings = words
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", module, *settings, "RUN.precision=bf16-mixed", f"RUN.save_dir={folder}/run"]
        started = time.perf_counter()
        last, passed = _run([*run, "RUN.accelerator=gpu"], TRAINING_LIMIT)
    return f"{time.perf_counter() - started:.0f} s" if passed else f"failed: {last}"


def _run(command: list[str], limit: int) -> tuple[str, bool]:
    """Run a command, and return the last line that it printed and whether it succeeded."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit} s", False
    return (done.stdout.strip().splitlines() or [""])[-1], done.returncode == 0


def _page(device: str, tests: str, measured: list[dict[str, Any]], trainings: dict[str, str]) -> str:
    lines = [
        "# cuda",
        "",
        f"{device}, torch {torch.__version__}. Device times are medians of 20 calls between two events; a copy is a "
        "clone of the batch. `synchronizes` and `graph` are empty where the host waits for nothing and where a whole "
        "call, its draws included, is captured in a CUDA graph and replayed.",
        "",
        f"Tests: {tests}",
        "",
        *(f"A short {name} training in bf16: {result}" for name, result in trainings.items()),
        "",
        "| " + " | ".join(measured[0]) + " |",
        "|" + " --- |" * len(measured[0]),
        *("| " + " | ".join(map(str, row.values())) + " |" for row in measured),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
