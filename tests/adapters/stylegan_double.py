"""Losses with the shape of those of the official StyleGANs and their kin, and networks that suit them all.

stylegan2-ada-pytorch synchronises processes by hand (``sync``), stylegan3 blurs (``blur_sigma``). projected-gan and
StyleGAN-XL use hinge, no regularisation and no gain; the discriminator of the latter returns many outputs in a list.
"""

# ruff: noqa: N803 - the names are StyleGAN's
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES, SIZE, LATENT = 3, 8, 4

reported: dict[str, Tensor] = {}


def report(name: str, value: Tensor) -> Tensor:
    reported[name] = value.detach()
    return value


def _report(name: str, value: Tensor) -> None:
    """Report as the originals do, by the module."""
    sys.modules["torch_utils.training_stats"].report(name, value)


class Mapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENT + CLASSES, 6)

    def forward(self, z: Tensor, c: Tensor, **_: Any) -> Tensor:
        return self.linear(torch.cat([z, c], 1))[:, None].repeat(1, 2, 1)


class Synthesis(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 3 * SIZE**2)

    def forward(self, ws: Tensor, *_: Any, **__: Any) -> Tensor:
        return self.linear(ws.flatten(1)).tanh().view(-1, 3, SIZE, SIZE)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping, self.synthesis = Mapping(), Synthesis()


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Softplus(), nn.Flatten())
        self.head = nn.Linear(64, 1 + CLASSES)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, img: Tensor, c: Tensor, **_: Any) -> Tensor:
        self.seen.append((img.detach().clone(), c))
        base, by_class = self.head(self.body(img)).split([1, CLASSES], 1)
        return base + (by_class * c).sum(1, keepdim=True)


class ManyOutputs(Discriminator):
    """One that returns a list, as that of StyleGAN-XL does."""

    def forward(self, img: Tensor, c: Tensor, **_: Any) -> list[Tensor]:  # type: ignore[override]
        logits = super().forward(img, c)
        return [*logits, *(2 * logits - 1)]


class Loss:
    """What both StyleGANs have in common."""

    def __init__(self, D: nn.Module, augment_pipe: nn.Module | None = None, r1_gamma: float = 10) -> None:
        self.D, self.augment_pipe, self.r1_gamma = D, augment_pipe, r1_gamma
        self.pl_mean = torch.zeros([])
        self.calls: list[dict[str, Any]] = []

    def run_D(self, img: Tensor, c: Tensor, **options: Any) -> Tensor:
        self.calls.append(options)
        if options.get("blur_sigma", 0) > 0:
            img = F.avg_pool2d(img, 3, 1, 1)
        return self.D(img if self.augment_pipe is None else self.augment_pipe(img), c)

    def accumulate(
        self,
        phase: str,
        real_img: Tensor,
        real_c: Tensor,
        gen_z: Tensor,
        gen_c: Tensor,
        gain: float,
        fake_options: dict[str, Any],
        real_options: dict[str, Any],
    ) -> None:
        if phase in ("Gmain", "Gboth"):
            gen_img, _ = self.run_G(gen_z, gen_c)
            F.softplus(-self.run_D(gen_img, gen_c, **fake_options)).mean().mul(gain).backward()
        if phase in ("Dmain", "Dboth"):
            gen_img, _ = self.run_G(gen_z, gen_c)
            gen_logits = self.run_D(gen_img, gen_c, **fake_options)
            _report("Loss/scores/fake", gen_logits)
            _report("Loss/signs/fake", gen_logits.sign())
            F.softplus(gen_logits).mean().mul(gain).backward()
        if phase in ("Dmain", "Dreg", "Dboth"):
            real_img_tmp = real_img.detach().requires_grad_(phase != "Dmain")
            real_logits = self.run_D(real_img_tmp, real_c, **real_options)
            _report("Loss/scores/real", real_logits)
            loss = real_logits * 0 if phase == "Dreg" else F.softplus(-real_logits)
            if phase != "Dmain":
                (slope,) = torch.autograd.grad(real_logits.sum(), real_img_tmp, create_graph=True)
                loss = loss + slope.square().sum([1, 2, 3])[:, None] * (self.r1_gamma / 2)
            loss.mean().mul(gain).backward()


class StyleGAN2AdaLoss(Loss):
    def __init__(self, device: str, G_mapping: nn.Module, G_synthesis: nn.Module, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.G_mapping, self.G_synthesis = G_mapping, G_synthesis

    def run_G(self, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        ws = self.G_mapping(z + 0.1 * torch.randn_like(z), c)
        return self.G_synthesis(ws), ws

    def accumulate_gradients(self, *, sync: bool, **kwargs: Any) -> None:
        self.accumulate(**kwargs, fake_options={"sync": False}, real_options={"sync": sync})


class StyleGAN3Loss(Loss):
    def __init__(self, device: str, G: Generator, blur_init_sigma: float = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.G, self.blur_init_sigma = G, blur_init_sigma

    def run_G(self, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        ws = self.G.mapping(z + 0.1 * torch.randn_like(z), c)
        return self.G.synthesis(ws), ws

    def accumulate_gradients(self, *, cur_nimg: int, **kwargs: Any) -> None:
        blur = {"blur_sigma": max(1 - cur_nimg / 1000, 0) * self.blur_init_sigma}
        self.accumulate(**kwargs, fake_options=blur | {"update_emas": True}, real_options=blur)


class ProjectedGANLoss:
    """Hinge, whose derivative is not that of softplus."""

    def __init__(self, device: str, G: Generator, D: nn.Module, G_ema: nn.Module | None = None, **_: Any) -> None:
        self.G, self.D = G, D

    def run_G(self, z: Tensor, c: Tensor, update_emas: bool = False) -> Any:
        return self.G.synthesis(self.G.mapping(z, c), c)

    def run_D(self, img: Tensor, c: Tensor, blur_sigma: float = 0) -> Any:
        return self.D(img, c)

    def mean(self, penalty: Any, logits: Any) -> Tensor:
        return penalty(logits).mean()

    def accumulate_gradients(
        self, phase: str, real_img: Tensor, real_c: Tensor, gen_z: Tensor, gen_c: Tensor, gain: float, cur_nimg: int
    ) -> None:
        if phase in ("Gmain", "Gboth"):
            self.mean(torch.neg, self.run_D(self.run_G(gen_z, gen_c), gen_c, blur_sigma=0)).backward()
        if phase in ("Dmain", "Dboth"):
            logits = self.run_D(self.run_G(gen_z, gen_c, update_emas=True), gen_c, blur_sigma=0)
            self.mean(lambda logits: F.relu(1 + logits), logits).backward()
            logits = self.run_D(real_img.detach(), real_c, blur_sigma=0)
            self.mean(lambda logits: F.relu(1 - logits), logits).backward()


class StyleGANXLLoss(ProjectedGANLoss):
    """The same with several outputs, and a generator's pass that returns two things."""

    def run_G(self, z: Tensor, c: Tensor, update_emas: bool = False) -> Any:
        return super().run_G(z, c), None

    def run_D(self, img: Any, c: Tensor, blur_sigma: float = 0) -> Any:
        return super().run_D(img[0] if isinstance(img, tuple) else img, c)

    def mean(self, penalty: Any, logits: Any) -> Tensor:
        return sum(penalty(output).mean() for output in logits)
