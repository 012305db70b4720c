"""Negatives in the discriminator's losses of code bases that have no adapter, as docs/adapters/gan_code.md shows it.

Each loss is taken from the source that an environment variable names.
"""

import ast
import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from nda_augment.losses import with_negatives

Loss = Callable[[Tensor, Tensor], Tensor]

# Their code is of its time.
pytestmark = pytest.mark.filterwarnings("ignore")


def source_of(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout")
    return Path(os.environ[variable])


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], Any]]:
    """Import a module of a checkout, and forget it and its siblings afterwards."""
    tops: set[str] = set()

    def load(path: Path, name: str) -> Any:
        monkeypatch.syspath_prepend(path)
        tops.add(name.split(".")[0])
        return importlib.import_module(name)

    yield load
    for name in [name for name in sys.modules if name.split(".")[0] in tops]:
        del sys.modules[name]


def check(loss: Loss, real: Tensor, fake: Tensor, negative: Tensor) -> None:
    assert torch.equal(with_negatives(loss, real, fake, None, 1), loss(real, fake))
    expected = 0.75 * loss(real, fake) + 0.25 * loss(real, negative)
    torch.testing.assert_close(with_negatives(loss, real, fake, lambda: negative, 0.75), expected)


def logits(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    real, fake, negative = torch.randn(3, *shape, generator=draws)
    return real, fake, negative


@pytest.mark.parametrize("name", ["loss_dcgan_dis", "loss_hinge_dis"])
def test_biggan(name: str, importable: Any) -> None:
    theirs = getattr(importable(source_of("BIGGAN_SRC"), "losses"), name)
    check(lambda real, fake: sum(theirs(fake, real)), *logits(8, 1))


@pytest.mark.parametrize("loss_type", ["gan", "ns", "hinge", "wasserstein"])
def test_mimicry(loss_type: str, importable: Any) -> None:
    path = source_of("MIMICRY_SRC")
    package = types.ModuleType("torch_mimicry")  # without what the package itself imports: it needs TensorFlow
    package.__path__ = [str(path / "torch_mimicry")]
    sys.modules["torch_mimicry"] = package
    gan = importable(path, "torch_mimicry.nets.gan.gan")

    class Small(gan.BaseDiscriminator):
        def __init__(self) -> None:
            super().__init__(ndf=4, loss_type=loss_type)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))

        def forward(self, images: Tensor) -> Tensor:
            return self.body(images)

    class WithNegatives(Small):
        negatives, weight = nda.Flip(), 0.75

        def train_step(self, real_batch: Any, *args: Any, **kwargs: Any) -> Any:
            self.images = real_batch[0]
            return super().train_step(real_batch, *args, **kwargs)

        def compute_gan_loss(self, output_real: Tensor, output_fake: Tensor) -> Tensor:
            def negative() -> Tensor:
                return self(self.negatives(self.images.to(output_real.device)))

            return with_negatives(super().compute_gan_loss, output_real, output_fake, negative, self.weight)

    real, fake = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    class Log:
        def add_metric(self, name: str, value: Any, **_: Any) -> None:
            pass

    def step(cls: type, seen: Tensor, weight: float = 0.75) -> list[Tensor]:
        torch.manual_seed(0)
        judge = cls()
        judge.weight = weight
        generator = types.SimpleNamespace(generate_images=lambda num_images, device=None: seen)
        optimizer = torch.optim.SGD(judge.parameters(), lr=0.0)
        judge.train_step((real, None), generator, optimizer, Log(), device="cpu")
        return [parameter.grad for parameter in judge.parameters()]

    on_fakes, on_negatives = step(Small, fake), step(Small, nda.Flip()(real))
    for own, one, other in zip(step(WithNegatives, fake), on_fakes, on_negatives, strict=True):
        torch.testing.assert_close(own, 0.75 * one + 0.25 * other)
    assert all(map(torch.equal, step(WithNegatives, fake, weight=1), on_fakes))


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "wgangp", "nonsaturating"])
def test_cut(mode: str, importable: Any) -> None:
    """Its GANLoss, which is that of pix2pix and CycleGAN with one mode more."""
    path = source_of("CUT_SRC") / "models" / "networks.py"
    [found] = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == "GANLoss"]
    theirs: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    exec(compile(ast.Module([found], []), str(path), "exec"), theirs)
    criterion = theirs["GANLoss"](mode)

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        return (criterion(real, True).mean() + criterion(fake, False).mean()) * 0.5

    check(loss, *logits(2, 1, 6, 6))


@pytest.mark.parametrize("name", ["hinge_loss", "dual_contrastive_loss"])
def test_lightweight_gan(name: str) -> None:
    einops = pytest.importorskip("einops", reason="lightweight-gan needs einops")
    path = source_of("LIGHTWEIGHT_GAN_SRC") / "lightweight_gan" / "lightweight_gan.py"
    [found] = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == name]
    theirs: dict[str, Any] = {"torch": torch, "F": F, "rearrange": einops.rearrange, "repeat": einops.repeat}
    exec(compile(ast.Module([found], []), str(path), "exec"), theirs)
    check(theirs[name], *logits(8))
