"""Install what would be released into empty environments and use it there: `python -m tests.wheel [EXTRA ...]`.

Builds `dist/`, checks it, and makes one environment for the core (torch and kornia only) and one for each extra alone.
In the first the core suite's tests run against the installed wheel; in the others, the page that the extra is for, the
command, or the imports of all examples.
"""

import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
UV = (sys.executable, "-m", "uv")
NOT_USED = {"all", "dev", "docs"}
SUITE = ("conftest.py", "cases.py", "properties.py", "functional", "test_policy.py", "transforms/test_base.py")

ALONE = """
import sys, nda_augment
assert "site-packages" in nda_augment.__file__, nda_augment.__file__
import importlib.util as util
found = [name for name in ("torchvision", "lightly", "matplotlib", "scipy", "typer") if util.find_spec(name)]
assert not found, found
try:
    import nda_augment.adapters.torchvision
except ImportError as error:
    assert 'pip install "nda-augment[torchvision]"' in str(error), error
else:
    raise AssertionError("torchvision is not there, and its adapter did not say so")
"""
PAGE = """
import doctest, sys
result = doctest.testfile(sys.argv[1], module_relative=False)
assert result.attempted and not result.failed
"""
EXAMPLES = """
import importlib, pkgutil, examples
for module in pkgutil.walk_packages(examples.__path__, "examples."):
    if not module.name.endswith(("__main__", "notebooks.run")):  # the runner of the notebooks is a developer's
        importlib.import_module(module.name)
"""


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = sorted(set(project["optional-dependencies"]) - NOT_USED)
    wanted = sys.argv[1:] or ["core", *extras]
    if unknown := sorted(set(wanted) - {"core", *extras}):
        sys.exit(f"unknown extras: {', '.join(unknown)}; known are core, {', '.join(extras)}")
    wheel = build()
    for name in wanted:
        print(f"== {name}", flush=True)
        # In a folder of its own: nothing there can be mistaken for the installed package.
        with tempfile.TemporaryDirectory() as folder:
            use(name, Environment(Path(folder), wheel, name))
    print(f"all of {', '.join(wanted)} work; what to release is in {DIST}")


def build() -> Path:
    """Build the source distribution, and the wheel from it; return the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(*UV, "build", "--quiet", "--out-dir", DIST, ROOT)
    wheel, source = sorted(DIST.glob("*.whl")), sorted(DIST.glob("*.tar.gz"))
    run(sys.executable, "-m", "twine", "check", "--strict", *wheel, *source)
    return wheel[0]


class Environment:
    """A virtual environment with the wheel and one extra."""

    def __init__(self, folder: Path, wheel: Path, extra: str) -> None:
        self.folder = folder
        self.bin = folder / "environment" / "bin"
        run(*UV, "venv", "--quiet", "--python", sys.executable, self.bin.parent)
        self.install(str(wheel) if extra == "core" else f"{wheel}[{extra}]")

    def install(self, *requirements: str) -> None:
        run(*UV, "pip", "install", "--quiet", "--python", self.bin / "python", *requirements)

    def python(self, *arguments: str | Path) -> None:
        run(self.bin / "python", *arguments, cwd=self.folder)

    def copy(self, *paths: str) -> None:
        for path in paths:
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
            copy(ROOT / path, target)


def use(name: str, environment: Environment) -> None:
    """Do in an environment what its extra is for."""
    if name == "core":
        environment.python("-c", ALONE)
        environment.install("pytest", "hypothesis")
        environment.copy("pyproject.toml", *(f"tests/{part}" for part in SUITE))
        environment.python("-m", "pytest", "-q", "-k", "not compile", "tests")
        # The command line is an extra: without it, one line says so.
        done = subprocess.run([environment.bin / "nda-augment"], capture_output=True, text=True, check=False)
        assert done.returncode == 1, done
        assert done.stderr.count("\n") == 1, done.stderr
        assert 'pip install "nda-augment[cli]"' in done.stderr, done.stderr
    elif name == "cli":
        for arguments in (["doctor"], ["policies", "jigsaw,stitch"], ["gallery", ROOT / "docs" / "images"]):
            run(environment.bin / "nda-augment", *arguments, cwd=environment.folder)
    elif name == "examples":
        environment.copy("examples")
        environment.python("-W", "ignore", "-c", EXAMPLES)
    elif name == "video":
        environment.python("-c", "import av, nda_augment")
    else:
        page = "start/anomaly.md" if name == "anomaly" else f"adapters/{name.replace('-', '_')}.md"
        environment.python("-W", "ignore", "-c", PAGE, ROOT / "docs" / page)


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:200]} failed with {done.returncode}")


if __name__ == "__main__":
    main()
