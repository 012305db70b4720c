"""The doctor, shown installations that are ill: their metadata is real, on a path of its own."""

import re
import sys
from importlib import metadata

import pytest
import torch

import nda_augment._kornia
import nda_augment.adapters as adapters
from nda_augment import doctor


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution before all others, as far as its metadata tells."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, version, files=None):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        for path, text in (files or {}).items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)

    return install


@pytest.fixture
def uninstall(monkeypatch):
    """Return a function that hides a distribution and its module."""
    true_version = metadata.version

    def uninstall(name):
        def version(asked):
            if asked == name:
                raise metadata.PackageNotFoundError(asked)
            return true_version(asked)

        monkeypatch.setattr(metadata, "version", version)
        forget(monkeypatch, name)
        monkeypatch.setitem(sys.modules, name, None)

    return uninstall


def forget(monkeypatch, name):
    """Have a library and its adapter imported anew the next time."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(sys.modules, f"nda_augment.adapters.{name}", raising=False)


RAISES = {"torchvision/__init__.py": "raise RuntimeError('operator torchvision::nms does not exist')\n"}


def finding(name):
    (found,) = (found for found in doctor.examine() if found.name == name)
    return found


def test_what_is_installed_here_works():
    findings = {found.name: found for found in doctor.examine()}
    broken = [found for found in findings.values() if found.status == "broken"]
    assert not broken
    assert findings["kornia"].versions == {"kornia": metadata.version("kornia")}
    assert findings["functional"].status == "ok"
    assert list(findings)[:4] == ["python", "nda-augment", "torch", "kornia"]
    assert set(doctor.EXTRAS) <= set(findings)
    assert "built for" in findings["torch"].note


def test_everything_that_is_missing_has_a_command(uninstall):
    uninstall("lightly")
    found = finding("lightly")
    assert (found.status, found.fix) == ("missing", 'pip install "nda-augment[lightly]"')
    found = finding("examples")
    assert found.status == "missing"
    assert re.fullmatch(r"not installed: .*\blightly\b.*", found.note)
    assert found.fix == 'pip install "nda-augment[examples]"'
    assert "matplotlib" in found.versions


def test_an_old_kornia(install):
    install("kornia", "0.8.1")
    found = finding("kornia")
    assert found.status == "broken"
    assert found.note == "kornia 0.8.1 is outside <0.10,>=0.9"
    assert found.fix == 'pip install "kornia<0.10,>=0.9"'


def test_a_release_candidate_is_new_enough(install):
    install("torch", "99.0.0rc1")
    assert finding("torch").status == "ok"


def test_albumentationsx_is_not_albumentations(install):
    install("albumentationsx", "2.1.0")
    found = finding("albumentations")
    assert found.status == "broken"
    assert "AlbumentationsX 2.1.0" in found.note
    assert found.fix.startswith("pip uninstall albumentationsx && pip install --force-reinstall ")
    assert '"albumentations<2.1,>=2.0.8"' in found.fix


def test_torch_for_the_cpu_beside_torchvision_for_cuda(install, monkeypatch):
    install("torchvision", "0.29.2", {"torchvision/version.py": "__version__ = '0.29.2+cu132'\n", **RAISES})
    forget(monkeypatch, "torchvision")
    monkeypatch.setattr(torch, "__version__", "2.15.0+cpu")
    found = finding("torchvision")
    assert (found.status, found.note) == ("broken", "torch is built for cpu and torchvision for cu132")
    assert "both in one command" in found.fix


@pytest.mark.parametrize(
    "files", [{}, {"torchvision/version.py": "\n"}, {"torchvision/version.py": "__version__ = '0.29.2'\n"}]
)
def test_a_library_that_does_not_load_for_another_reason_is_quoted(install, monkeypatch, files):
    install("torchvision", "0.29.2", {**files, **RAISES})
    forget(monkeypatch, "torchvision")
    found = finding("torchvision")
    assert found.status == "broken"
    assert "operator torchvision::nms does not exist" in found.note
    assert found.fix == 'pip install "nda-augment[torchvision]"'


def test_an_error_without_words_is_named_by_its_kind(monkeypatch):
    def import_module(name):
        raise AssertionError

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    found = finding("torchvision")
    assert (found.status, found.note) == ("broken", "AssertionError")


def test_what_a_library_needs_itself_is_missing(uninstall, monkeypatch):
    uninstall("torchvision")
    forget(monkeypatch, "lightly")
    found = finding("lightly")
    assert (found.status, found.fix) == ("missing", 'pip install "nda-augment[torchvision]"')
    assert "could not be imported" in found.note


def test_no_torchvision_no_build():
    assert doctor._build("2.15.0") == ""
    assert doctor._build("2.15.0+cpu") == "cpu"


def test_libraries_that_talk_do_not_talk_into_the_report(tmp_path, monkeypatch, capsys):
    (tmp_path / "chatty.py").write_text("import warnings\nprint('welcome')\nwarnings.warn('buy more')\n")
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(tmp_path)])
    monkeypatch.setattr(adapters, "chatty", None, raising=False)  # undone with what the import binds
    assert finding("chatty").status == "ok"
    del sys.modules["nda_augment.adapters.chatty"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("version", ["0.8.1", "0.8.2rc1", "0.1", "0.9.0rc1", "0.9.0.dev0"])
def test_an_old_kornia_is_refused_at_the_door(version):
    with pytest.raises(ImportError, match=rf'found {version}.*pip install --upgrade "kornia>=0.9,<0.10"'):
        nda_augment._kornia.check(version)


@pytest.mark.parametrize("version", ["0.9", "0.9.0", "0.9.1rc1", "0.10.0", "1.0", "0.9.0+cpu"])
def test_a_new_kornia_passes(version):
    nda_augment._kornia.check(version)


def test_the_floor_is_that_of_the_metadata():
    (kornia,) = (needed for needed in doctor.requirements() if needed.name == "kornia")
    assert f">={nda_augment._kornia.FLOOR}" in str(kornia.specifier).split(",")
