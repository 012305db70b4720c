"""Triton's kernels: interpreted, built for devices that are not there, and against the eager ones where one is."""

import inspect
import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from nda_augment import functional
from nda_augment.functional import _kernels
from nda_augment.transforms import Mixture
from tests.cases import apply
from tests.functional import test_fused

triton = pytest.importorskip("triton", exc_type=ImportError)
_triton = pytest.importorskip("nda_augment.functional._triton", exc_type=ImportError)

knows_constants = "constexprs" in inspect.signature(triton.compiler.ASTSource).parameters
in_todays_triton = pytest.mark.skipif(not knows_constants, reason="Triton 3.1 interprets and builds otherwise")


@in_todays_triton
@pytest.mark.slow
def test_the_interpreter_agrees_with_the_eager_operations() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test_fused.__file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


INDICES = ("boxes", "image", "offset", "choice", "sources", "cells")
POINTERS = {**dict.fromkeys(INDICES, "i64"), **dict.fromkeys(("weight", "across", "down"), "fp32")}
CONSTANTS = {"rows": 4, "cols": 256, "values": 3, "block": 1024, "in_place": False, "grid_rows": 3, "grid_cols": 4}


def build(kernel, element: str, capability: int, **constants):
    """Build a kernel for images of a dtype and a device of a compute capability, which need not be there."""
    names = inspect.signature(kernel.fn).parameters
    working = "fp64" if element == "fp64" else "fp32"
    constants = {**CONSTANTS, "dtype": triton.language.dtype(working), **constants}
    constants = {name: value for name, value in constants.items() if name in names}
    pointers = {
        **dict.fromkeys(("target", "own", "source", "donor", "planes", "means", "noise", "angles"), element),
        **POINTERS,
    }
    pointers |= dict.fromkeys(("mean", "gain", "change"), working)
    kinds = {"feather": "fp32", **{name: f"*{kind}" for name, kind in pointers.items()}}
    signature = {name: "constexpr" if name in constants else kinds.get(name, "i32") for name in names}
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants)
    target = triton.backends.compiler.GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options=_triton._OPTIONS).asm


@in_todays_triton
@pytest.mark.parametrize(
    ("kernel", "element", "capability", "constants"),
    [
        ("_paste", "fp32", 80, {}),
        ("_paste", "u8", 90, {}),
        ("_paste", "bf16", 90, {"weight": None}),
        ("_paste", "fp64", 90, {"choice": None}),
        ("_paste", "i64", 90, {"feather": None, "mean": None, "gain": None, "change": None, "offset": None}),
        ("_mix", "u8", 80, {}),
        ("_mix", "fp16", 90, {"choice": None}),
        ("_put", "u8", 80, {}),
        ("_put", "i64", 90, {"sources": None, "choice": None}),
        ("_box_mean", "u8", 80, {}),
        ("_box_mean", "fp32", 90, {"choice": None}),
        ("_perlin_noise", "fp32", 80, {}),
        ("_perlin_noise", "fp64", 90, {}),
        ("_perlin_noise", "bf16", 90, {}),
    ],
)
def test_is_built_without_a_device(
    kernel: str, element: str, capability: int, constants, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    asm = build(getattr(_triton, kernel), element, capability, **constants)
    assert asm["cubin"]
    assert ("__assertfail" in asm["ptx"]) == (kernel not in ("_box_mean", "_perlin_noise")), (
        "an index out of range has to stop the device"
    )


def test_without_a_triton_that_works_torch_does_it(monkeypatch) -> None:
    there = torch.device("cpu")
    monkeypatch.setitem(_kernels._BUILDERS, "cpu", _kernels._of_triton)
    found = partial(_kernels._kernels_on.__wrapped__, fake=False)
    monkeypatch.setattr(_triton, "paste_", lambda *arguments: None)
    assert found(there) is _triton
    monkeypatch.setattr(_triton, "paste_", lambda *arguments: 1 / 0)
    with pytest.warns(UserWarning, match="no fused kernel could be built .* on cpu, .* take longer: division by zero"):
        assert found(there) is None
    monkeypatch.setattr(_triton, "paste_", lambda *arguments: None)
    monkeypatch.delattr(functional, "_triton")
    monkeypatch.setitem(sys.modules, _triton.__name__, None)
    assert found(there) is None
    monkeypatch.undo()
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert _kernels._of_triton(there, fake=False) is None


@pytest.mark.cuda
@pytest.mark.parametrize(("layout", "dtype"), test_fused.KINDS)
@pytest.mark.parametrize("module", [*test_fused.TRANSFORMS, Mixture(test_fused.MEMBERS)], ids=str)
def test_transforms_on_a_device(module, layout: str, dtype: torch.dtype, monkeypatch) -> None:
    images = test_fused.images_of(layout, dtype).cuda()
    assert _kernels.fused("paste_", images) is _triton.paste_, "Triton is there and does not work"
    negatives = apply(module, images, seed=3)
    monkeypatch.setattr(_kernels, "_DTYPES", {})
    test_fused.assert_agree(negatives, apply(module, images, seed=3))
