"""The package as it is installed: what it imports, exports and says about itself."""

import importlib.metadata
import importlib.resources
import inspect
import subprocess
import sys

import pytest

import nda_augment as nda
from nda_augment import functional, losses, transforms

KEPT_OUT = ["torchvision", "albumentations", "lightly", "lightning", "pandas", "matplotlib", "sklearn", "typer", "rich"]


def test_importing_it_imports_no_other_library() -> None:
    code = f"import sys, nda_augment; print([name for name in {KEPT_OUT} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_is_typed() -> None:
    assert importlib.resources.files("nda_augment").joinpath("py.typed").is_file()


@pytest.mark.parametrize("module", [nda, functional, losses, transforms], ids=lambda module: module.__name__)
def test_exports_are_sorted_unique_and_there(module) -> None:
    assert module.__all__ == sorted(set(module.__all__), key=lambda name: (not name.isupper(), name))  # as ruff does
    for name in module.__all__:
        assert hasattr(module, name), name


@pytest.mark.parametrize("module", [functional, losses, transforms], ids=lambda module: module.__name__)
def test_exports_are_all_that_is_public(module) -> None:
    defined = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(f"{module.__name__}.")
    }
    assert defined == set(module.__all__) & defined
    assert defined


def test_transforms_are_exported_at_the_top() -> None:
    assert set(transforms.__all__) <= set(nda.__all__)


def test_everything_public_is_documented() -> None:
    for module in (nda, functional, losses, transforms):
        for name in module.__all__:
            value = getattr(module, name)
            assert not (inspect.isclass(value) or inspect.isfunction(value)) or value.__doc__, name


def test_version() -> None:
    assert nda.__version__ == importlib.metadata.version("nda-augment")


def test_needs_torch_and_kornia_only() -> None:
    required = importlib.metadata.requires("nda-augment") or []
    unconditional = sorted(line.split(">")[0].split("<")[0].strip() for line in required if "extra ==" not in line)
    assert unconditional == ["kornia", "torch"]
