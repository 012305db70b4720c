"""A trainer with the shape of StudioGAN's: the attributes, calls and order of calls that the adapter relies on."""

# ruff: noqa: A002, N803 - the names are StudioGAN's
from collections.abc import Callable, Iterator
from types import SimpleNamespace as Section
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

CLASSES, SIZE, LATENT = 3, 8, 5


def d_logistic(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: bool) -> Tensor:
    return (F.softplus(-d_logit_real) + F.softplus(d_logit_fake)).mean()


def d_hinge(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: bool) -> Tensor:
    return F.relu(1 - d_logit_real).mean() + F.relu(1 + d_logit_fake).mean()


def d_ls(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: bool) -> Tensor:
    return (0.5 * (d_logit_real - 1) ** 2 + 0.5 * d_logit_fake**2).mean()


def d_wasserstein(d_logit_real: Tensor, d_logit_fake: Tensor, DDP: bool) -> Tensor:
    return (d_logit_fake - d_logit_real).mean()


def multi_hinge(adv_output: Tensor, label: Tensor, DDP: bool, **_: Any) -> Tensor:
    right = adv_output.gather(1, label[:, None])
    wrong = adv_output.scatter(1, label[:, None], float("-inf")).amax(1, keepdim=True)
    return F.relu(1 + wrong - right).mean()


def g_hinge(adv_output: Tensor, DDP: bool, **_: Any) -> Tensor:
    return -adv_output.mean()


D_LOSSES: dict[str, Callable[..., Tensor]] = {
    "logistic": d_logistic,
    "hinge": d_hinge,
    "least_square": d_ls,
    "wasserstein": d_wasserstein,
    "MH": multi_hinge,
}


class Noise(nn.Module):
    """A positive augmentation with a strength that is adapted, as ADA's is."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(0.1))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.p * torch.randn_like(images)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENT + CLASSES, 3 * SIZE**2)

    def forward(self, z: Tensor, label: Tensor, eval: bool = False) -> Tensor:
        inputs = torch.cat([z, F.one_hot(label, CLASSES)], 1)
        return self.linear(inputs).tanh().view(-1, 3, SIZE, SIZE)


class Discriminator(nn.Module):
    """Returns a dictionary; with spectral norm, so that a forward pass more or less is seen in its buffers."""

    def __init__(self, cond: str, aux: str, normalise: bool = True) -> None:
        super().__init__()
        norm = spectral_norm if normalise else lambda module: module
        outputs = {"MH": 1 + CLASSES, "MD": CLASSES}.get(cond, 1)
        self.cond, self.aux = cond, aux
        self.conv = norm(nn.Conv2d(3, 4, 3, 2, 1))
        self.linear1 = norm(nn.Linear(64, outputs))
        if cond == "AC":
            self.linear2 = norm(nn.Linear(64, 2 * CLASSES))
        if cond == "PD":
            self.embedding = nn.Embedding(CLASSES, 64)
        self.seen: list[tuple[Tensor, Tensor, bool]] = []

    def forward(self, x: Tensor, label: Tensor, eval: bool = False, adc_fake: bool = False) -> dict[str, Any]:
        self.seen.append((x.detach().clone(), label.clone(), adc_fake))
        h = F.leaky_relu(self.conv(x), 0.1).flatten(1)
        adv_output = torch.squeeze(self.linear1(h))
        if self.cond == "PD":
            adv_output = adv_output + (self.embedding(label) * h).sum(1)
        if self.cond == "MD":
            adv_output = adv_output[torch.arange(len(label)), label]
        if self.aux == "ADC":
            label = 2 * label + adc_fake
        cls_output = self.linear2(h) if self.cond == "AC" else None
        return {"h": h, "adv_output": adv_output, "cls_output": cls_output, "label": label}


class Configurations:
    """Settings in sections; what is not known there is refused."""

    def __init__(self, settings: dict[str, dict[str, Any]]) -> None:
        self.load_base_cfgs()
        for section, values in settings.items():
            for name, value in values.items():
                if not hasattr(getattr(self, section), name):
                    raise AttributeError(f"there is no {section}.{name}")
                setattr(getattr(self, section), name, value)

    def load_base_cfgs(self) -> None:
        self.MODEL = Section(d_cond_mtd="W/O", aux_cls_type="W/O", normalise=True)
        self.LOSS = Section(adv_loss="hinge", apply_cr=False, apply_bcr=False, apply_r1_reg=False)
        self.OPTIMIZATION = Section(batch_size=4, acml_steps=1, d_updates_per_step=1, world_size=1)
        self.PRE = Section(apply_rflip=True)
        self.AUG = Section(
            apply_diffaug=False,
            apply_ada=False,
            diffaug_type="W/O",
            ada_aug_type="W/O",
            cr_aug_type="W/O",
            bcr_aug_type="W/O",
        )
        self.RUN = Section(distributed_data_parallel=False)

    def check_compatability(self) -> None:
        assert self.OPTIMIZATION.batch_size > 0, "batch_size must be positive"

    def define_augments(self) -> None:
        self.AUG.series_augment = Noise() if self.AUG.apply_ada else roll if self.AUG.apply_diffaug else identity

    def define_losses(self) -> None:
        self.LOSS.d_loss = D_LOSSES[self.LOSS.adv_loss]


def identity(images: Tensor) -> Tensor:
    return images


def roll(images: Tensor) -> Tensor:
    return images.roll(int(torch.randint(SIZE, ())), -1)


def baskets(size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Return an endless data set that takes nothing from the global generator."""
    generator = torch.Generator().manual_seed(17)
    while True:
        yield torch.rand(size, 3, SIZE, SIZE, generator=generator) * 2 - 1, torch.arange(size) % CLASSES


class WORKER:
    def __init__(self, cfgs: Configurations, Gen: nn.Module, Dis: nn.Module) -> None:
        cfgs.define_augments()
        cfgs.define_losses()
        self.Gen, self.Dis = Gen, Dis
        self.MODEL, self.LOSS, self.OPTIMIZATION = cfgs.MODEL, cfgs.LOSS, cfgs.OPTIMIZATION
        self.PRE, self.AUG, self.RUN = cfgs.PRE, cfgs.AUG, cfgs.RUN
        self.DDP = cfgs.RUN.distributed_data_parallel
        self.adc_fake = cfgs.MODEL.aux_cls_type == "ADC"
        if cfgs.LOSS.adv_loss == "MH":
            self.lossy = torch.full((cfgs.OPTIMIZATION.batch_size,), CLASSES)
        steps = cfgs.OPTIMIZATION.acml_steps * cfgs.OPTIMIZATION.d_updates_per_step
        self.train_iter = baskets(cfgs.OPTIMIZATION.batch_size * steps)
        self.d_optimizer = torch.optim.Adam(Dis.parameters(), lr=1e-2)
        self.g_optimizer = torch.optim.Adam(Gen.parameters(), lr=1e-2)

    def generate(self) -> tuple[Tensor, Tensor]:
        labels = torch.randint(CLASSES, (self.OPTIMIZATION.batch_size,))
        return self.Gen(torch.randn(self.OPTIMIZATION.batch_size, LATENT), labels), labels

    def train_discriminator(self, current_step: int) -> Tensor:
        self.Gen.requires_grad_(False)
        self.Dis.requires_grad_(True)
        images, labels = next(self.train_iter)
        real_image_basket = images.split(self.OPTIMIZATION.batch_size)
        real_label_basket = labels.split(self.OPTIMIZATION.batch_size)
        batch = 0
        for _ in range(self.OPTIMIZATION.d_updates_per_step):
            self.d_optimizer.zero_grad()
            for _ in range(self.OPTIMIZATION.acml_steps):
                real_images, real_labels = real_image_basket[batch].clone(), real_label_basket[batch].clone()
                fake_images, fake_labels = self.generate()
                if self.LOSS.apply_r1_reg:
                    real_images.requires_grad_(True)

                real_images_ = self.AUG.series_augment(real_images)
                fake_images_ = self.AUG.series_augment(fake_images)
                real_dict = self.Dis(real_images_, real_labels)
                fake_dict = self.Dis(fake_images_, fake_labels, adc_fake=self.adc_fake)

                if self.LOSS.adv_loss == "MH":
                    dis_acml_loss = self.LOSS.d_loss(DDP=self.DDP, **real_dict)
                    dis_acml_loss += self.LOSS.d_loss(fake_dict["adv_output"], self.lossy, DDP=self.DDP)
                else:
                    dis_acml_loss = self.LOSS.d_loss(real_dict["adv_output"], fake_dict["adv_output"], DDP=self.DDP)

                if self.MODEL.d_cond_mtd == "AC":
                    dis_acml_loss += F.cross_entropy(real_dict["cls_output"], real_dict["label"])
                if self.adc_fake:
                    dis_acml_loss += F.cross_entropy(fake_dict["cls_output"], fake_dict["label"])
                if self.LOSS.apply_cr:
                    again = self.Dis(roll(real_images), real_labels)
                    dis_acml_loss += F.mse_loss(real_dict["adv_output"], again["adv_output"])
                if self.LOSS.apply_r1_reg:
                    (slope,) = torch.autograd.grad(real_dict["adv_output"].sum(), real_images, create_graph=True)
                    dis_acml_loss += 0.1 * slope.square().sum([1, 2, 3]).mean()
                dis_acml_loss = dis_acml_loss / self.OPTIMIZATION.acml_steps
                batch += 1
                dis_acml_loss.backward()
            self.d_optimizer.step()
        if self.AUG.apply_ada:
            self.AUG.series_augment.p.copy_(self.AUG.series_augment.p + 0.01)
        return dis_acml_loss

    def train_generator(self, current_step: int) -> Tensor:
        self.Dis.requires_grad_(False)
        self.Gen.requires_grad_(True)
        self.g_optimizer.zero_grad()
        for _ in range(self.OPTIMIZATION.acml_steps):
            fake_images, fake_labels = self.generate()
            fake_dict = self.Dis(self.AUG.series_augment(fake_images), fake_labels)
            g_loss = multi_hinge if self.LOSS.adv_loss == "MH" else g_hinge
            gen_acml_loss = g_loss(DDP=self.DDP, **fake_dict) / self.OPTIMIZATION.acml_steps
            gen_acml_loss.backward()
        self.g_optimizer.step()
        return gen_acml_loss


def make_worker(cfgs: Configurations, worker: type = WORKER) -> Any:
    """Return a worker whose networks are always the same."""
    torch.manual_seed(5)
    model = cfgs.MODEL
    return worker(cfgs=cfgs, Gen=Generator(), Dis=Discriminator(model.d_cond_mtd, model.aux_cls_type, model.normalise))


def train(worker: Any, steps: int, seed: int = 6) -> list[Tensor]:
    """Return the losses of both players, step by step."""
    torch.manual_seed(seed)
    losses = []
    for step in range(steps):
        losses += [worker.train_discriminator(current_step=step), worker.train_generator(current_step=step)]
    return [loss.detach() for loss in losses]


def state(worker: Any) -> dict[str, Tensor]:
    """Return all that a training leaves behind: weights, buffers, gradients and the generator of random numbers."""
    networks = {"Gen": worker.Gen, "Dis": worker.Dis}
    values = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    grads = {f"{name}.{key}.grad": p.grad for name, net in networks.items() for key, p in net.named_parameters()}
    kept = {name: value.detach().clone() for name, value in (values | grads).items() if value is not None}
    return kept | {"rng": torch.get_rng_state()}
