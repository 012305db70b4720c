"""The patches of docs/adapters/gan_code.md, put into the sources that environment variables name, and two steps there.

Each trains on random images with its own trainer, or its own training step, on the CPU: as it is, patched with λ = 1,
and patched as the page has it.
"""

import importlib
import os
import random
import re
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.utils import save_image

PAGE = Path(__file__).parents[2] / "docs" / "adapters" / "gan_code.md"
FILES = [
    "lightweight_gan/lightweight_gan.py",
    "models/cut_model.py",
    "models/cycle_gan_model.py",
    "models/pix2pix_model.py",
    "train.py",
    "train_fns.py",
]
STEPS = 2
WEIGHT = "0.75"

# Their code is of its time.
pytestmark = pytest.mark.filterwarnings("ignore")


def patch_of(file: str) -> str:
    """What the page changes in a file: lines that begin with a blank, ``-`` or ``+``, in pieces parted by ``@@``."""
    [found] = re.findall(rf"^```diff\n--- {re.escape(file)}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return found


def apply(patch: str, text: str) -> str:
    """Put a patch into a text; each of its pieces must fit at one place."""
    for piece in patch.split("@@\n"):
        lines = piece.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")
        assert f"\n{text}".count(f"\n{before}") == 1, before
        text = f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]
    return text


Weights = dict[str, Tensor]
Step = Callable[[Path], Weights]


def all_but_code(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".") or Path(name).suffix not in (".py", "")]


class Checkout:
    """Copies of a checkout: as it is, and patched."""

    def __init__(self, folder: Path, variable: str, file: str, changes: dict[str, dict[str, str]]) -> None:
        if variable not in os.environ:
            pytest.skip(f"{variable} names no checkout")
        self.folder, self.source, self.file, self.changes = folder, Path(os.environ[variable]), file, changes

    def copy(self, name: str, weight: str | None) -> Path:
        copy = self.folder / name
        shutil.copytree(self.source, copy, ignore=all_but_code)
        for file, replaced in self.changes.items():
            text = (copy / file).read_text()
            for old, new in replaced.items():
                assert old in text, old
                text = text.replace(old, new)
            (copy / file).write_text(text)
        if weight is not None:
            patch = patch_of(self.file)
            assert WEIGHT in patch
            (copy / self.file).write_text(apply(patch.replace(WEIGHT, weight), (copy / self.file).read_text()))
        return copy


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Train as it is, with the patch at λ = 1, and with the patch; the first two must end with the same weights."""

    def run(variable: str, file: str, train: Step, changes: dict[str, dict[str, str]] | None = None) -> None:
        checkout = Checkout(tmp_path, variable, file, changes or {})
        found = []
        for name, weight in (("stock", None), ("patched", "1"), ("negatives", WEIGHT)):
            copy = checkout.copy(name, weight)
            before = set(sys.modules)
            with monkeypatch.context() as patched:
                patched.chdir(copy)
                patched.syspath_prepend(copy)
                random.seed(0)
                np.random.seed(0)  # noqa: NPY002  # what their code draws from
                torch.manual_seed(0)
                try:
                    found.append({key: value.clone() for key, value in train(copy).items()})
                finally:
                    for module in {name for name in set(sys.modules) - before if is_of(sys.modules[name], copy)}:
                        del sys.modules[module]
        stock, patched_one, negatives = found
        assert stock.keys() == patched_one.keys() == negatives.keys()
        assert all(torch.equal(stock[key], patched_one[key]) for key in stock)
        assert all(value.isfinite().all() for value in negatives.values())
        assert any(not torch.equal(stock[key], negatives[key]) for key in stock)

    return run


def is_of(module: types.ModuleType, copy: Path) -> bool:
    return str(copy) in str(getattr(module, "__file__", ""))


def images(count: int, size: int) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def stub(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    """Stand in for a library that a source imports and these steps need not."""
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("file", FILES)
def test_a_patch_changes_what_it_names_and_has_a_weight(file: str) -> None:
    patch = patch_of(file)
    before = "".join(line[1:] + "\n" for line in patch.splitlines() if line[0] in " -")
    after = "".join(line[1:] + "\n" for line in patch.splitlines() if line[0] in " +")
    assert apply(patch, before) == after
    assert patch.count(WEIGHT) >= 1
    with pytest.raises(AssertionError):
        apply(patch, after)


def test_all_patches_of_the_page_are_tried() -> None:
    assert sorted(re.findall(r"^--- (.*)$", PAGE.read_text(), re.MULTILINE)) == sorted(FILES)


def translation(model: str, size: int, *words: str) -> Step:
    """A few steps of the models of pix2pix, CycleGAN and CUT, with their own options."""

    def train(copy: Path) -> Weights:
        arguments = ["train.py", "--model", model, "--name", "run", "--dataroot", "none", *words]
        arguments += ["--checkpoints_dir", str(copy / "runs"), "--ngf", "4", "--ndf", "4"]
        arguments += ["--crop_size", str(size), "--load_size", str(size)]
        if "--gpu_ids" in (copy / "options" / "base_options.py").read_text():
            arguments += ["--gpu_ids", "-1"]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", arguments)
            options = importlib.import_module("options.train_options").TrainOptions().parse()
        options.device = torch.device("cpu")
        trained = importlib.import_module("models").create_model(options)
        a, b = images(2 * STEPS, size).view(2, STEPS, 1, 3, size, size)
        batches = [{"A": a[i], "B": b[i], "A_paths": [""], "B_paths": [""]} for i in range(STEPS)]
        if hasattr(trained, "data_dependent_initialize"):
            trained.data_dependent_initialize(batches[0])
        trained.setup(options)
        for batch in batches:
            trained.set_input(batch)
            trained.optimize_parameters()
            assert all(np.isfinite(value) for value in trained.get_current_losses().values())
        nets = [(name, getattr(trained, f"net{name}")) for name in trained.model_names]
        return {f"{name}.{key}": value for name, net in nets for key, value in net.state_dict().items()}

    return train


@pytest.mark.parametrize("mode", ["CUT", "FastCUT"])
def test_cut(compare: Any, mode: str) -> None:
    words = ["--CUT_mode", mode, "--netG", "resnet_6blocks", "--num_patches", "16", "--nce_layers", "0,4,8"]
    compare("CUT_SRC", "models/cut_model.py", translation("cut", 32, *words))


def test_cyclegan(compare: Any) -> None:
    compare("PIX2PIX_SRC", "models/cycle_gan_model.py", translation("cycle_gan", 32, "--netG", "resnet_6blocks"))


def test_pix2pix(compare: Any) -> None:
    words = ["--netG", "unet_128", "--dataset_mode", "aligned"]
    compare("PIX2PIX_SRC", "models/pix2pix_model.py", translation("pix2pix", 128, *words))


def test_fastgan(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, "lmdb")

    def train(copy: Path) -> Weights:
        for number, image in enumerate(images(2, 256)):
            (copy / "photos").mkdir(exist_ok=True)
            save_image(image, copy / "photos" / f"{number}.png", normalize=True)
        distance = types.SimpleNamespace(PerceptualLoss=lambda **_: lambda a, b: (a - b).abs())  # weights of a VGG
        monkeypatch.setitem(sys.modules, "lpips", distance)
        arguments = {"path": str(copy / "photos"), "iter": STEPS - 1, "batch_size": 2, "im_size": 256, "ckpt": "None"}
        module = importlib.import_module("train")
        module.train(types.SimpleNamespace(**arguments, name="run", cuda=0, start_iter=0))
        state = torch.load(copy / f"train_results/run/models/all_{STEPS - 1}.pth")
        return {f"{part}.{key}": value for part in "gd" for key, value in state[part].items()}

    smaller = {
        "use_cuda = True": "use_cuda = False",
        "workers = 8": "workers = 0",
        " ndf = 64": " ndf = 8",
        " ngf = 64": " ngf = 8",
    }
    compare("FASTGAN_SRC", "train.py", train, {"train.py": smaller})


@pytest.mark.parametrize("dual", [False, True])
def test_lightweight_gan(compare: Any, monkeypatch: pytest.MonkeyPatch, dual: bool) -> None:
    pytest.importorskip("einops", reason="lightweight-gan needs einops")
    stub(monkeypatch, "adabelief_pytorch", AdaBelief=None)

    def train(copy: Path) -> Weights:
        module = importlib.import_module("lightweight_gan.lightweight_gan")
        trainer = module.Trainer(
            base_dir=copy,
            image_size=32,
            latent_dim=8,
            fmap_max=8,
            batch_size=4,
            aug_prob=0.5,
            disc_output_size=1,
            dual_contrast_loss=dual,
            use_aim=False,
        )
        trainer.loader = iter(images(4 * 8, 32).split(4))
        trainer.steps = 3  # the next one has a gradient penalty
        for _ in range(STEPS):
            trainer.train()
        return trainer.GAN.state_dict()

    on_the_cpu = {".cuda(self.rank)": "", "self.cuda(rank)": "", "f'cuda:{self.rank}'": "'cpu'"}
    on_the_cpu |= {"assert torch.cuda.is_available()": "assert True"}
    file = "lightweight_gan/lightweight_gan.py"
    compare("LIGHTWEIGHT_GAN_SRC", file, train, {file: on_the_cpu})


@pytest.mark.parametrize("split", [False, True])
def test_biggan(compare: Any, monkeypatch: pytest.MonkeyPatch, split: bool) -> None:
    stub(monkeypatch, "h5py")

    def train(copy: Path) -> Weights:
        utils, biggan, steps = (importlib.import_module(name) for name in ("utils", "BigGAN", "train_fns"))
        config = vars(utils.prepare_parser().parse_args([]))
        config |= {"resolution": 32, "n_classes": 3, "G_ch": 4, "D_ch": 4, "batch_size": 4, "split_D": split}
        config |= {"num_D_steps": 2, "num_D_accumulations": 2, "toggle_grads": True, "device": "cpu"}
        config |= {"G_activation": nn.ReLU(), "D_activation": nn.ReLU()}
        g, d = biggan.Generator(**config), biggan.Discriminator(**config)
        z, y = utils.prepare_z_y(4, g.dim_z, 3, device="cpu")
        step = steps.GAN_training_function(g, d, biggan.G_D(g, d), z, y, None, {"itr": 1}, config)
        for _ in range(STEPS):
            assert all(map(np.isfinite, step(images(16, 32), torch.arange(16) % 3).values()))
        return {**g.state_dict(prefix="g."), **d.state_dict(prefix="d.")}

    compare("BIGGAN_SRC", "train_fns.py", train)
