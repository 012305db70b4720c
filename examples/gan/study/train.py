"""Runs of one arm, a few seeds side by side: a small GAN with or without negatives, measured as it goes."""

import time
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

import nda_augment as nda
from examples.common.randomness import generator as source
from examples.gan.positives import DiffAugment
from examples.gan.study import networks
from examples.gan.study.data import Split
from examples.gan.study.measures import Judge
from examples.gan.study.settings import Arm, Setting
from nda_augment._seeding import seeded

Row = dict[str, float]
_AVERAGE = 0.995  # decay of the averaged generator, which is what is measured
_SAMPLES = 1500
_SNAPSHOTS = 10  # of a history, evenly over the steps; all are kept


class Runs:
    """One GAN per seed, all in training.

    Every draw belongs to the seed, to what it is for and to the step, so arms of one seed have the same weights to
    start from, the same images in the same order and the same latents.
    """

    def __init__(self, setting: Setting, arm: Arm, seeds: Sequence[int], split: Split) -> None:
        self.setting, self.arm, self.seeds = setting, arm, list(seeds)
        count = len(split.images)
        orders = [torch.randperm(count, generator=source(seed, "subset"))[: setting.images] for seed in seeds]
        self.images = split.images[torch.stack(orders)]  # (lanes, N, C, H, W)
        pairs = [_networks(split.images.shape[1], seed) for seed in seeds]
        self.generators, self.discriminators = (networks.Lanes(each) for each in zip(*pairs, strict=True))
        self.average = {name: weight.clone() for name, weight in self.generators.frozen().items()}
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(lanes.weights.values(), setting.rate, betas=(0.5, 0.999), fused=True)
            for lanes in (self.generators, self.discriminators)
        )
        self.negatives = [_negatives(arm.policy, arm.learned) for _ in seeds] if arm.policy else None
        self.positives = DiffAugment(arm.diffaugment) if arm.diffaugment else None
        self.history: list[dict[str, Tensor]] = []
        self.adaptive = [nda.AdaptiveWeight(arm.fake_weight, rate=1e-3) for _ in seeds] if arm.adaptive else None
        self.step = 0

    def train(self, steps: int) -> None:
        """Train for some steps of the generators."""
        for _ in range(steps):
            for turn in range(self.setting.d_steps):
                self._discriminators_step(self.step * self.setting.d_steps + turn)
            self._generators_step()
            self.step += 1
            if self.arm.history and self.step % (self.setting.steps // _SNAPSHOTS) == 0:
                self.history.append({name: weight.clone() for name, weight in self.generators.frozen().items()})

    @property
    def fake_weights(self) -> list[float]:
        """λ of each run at the present step."""
        progress = self.step / self.setting.steps
        if (self.negatives is None and not self.arm.history) or not self.arm.start <= progress < self.arm.stop:
            return [1.0] * len(self.seeds)
        if self.adaptive is not None:
            return [weight.fake_weight for weight in self.adaptive]
        return [self.arm.fake_weight] * len(self.seeds)

    def _discriminators_step(self, turn: int) -> None:
        batch, count = self.setting.batch, self.setting.images
        chosen = self._draw(lambda draws: torch.randint(count, (batch,), generator=draws), "batch", turn)
        real = self.images[torch.arange(len(self.seeds)).unsqueeze(1), chosen]
        fake = self.generators(self._latents("d", turn), self.generators.frozen()).detach()
        fake_weights = self.fake_weights
        kinds = self._kinds(real, turn) if min(fake_weights) < 1 else {}
        if self.arm.blend and kinds:
            stays = self._draw(lambda draws: torch.rand(batch, generator=draws), "stays", turn)
            blended = fake.lerp(kinds.pop("policy"), self.arm.blend)
            fake = torch.where((stays < self.arm.fake_weight).view(-1, batch, 1, 1, 1), fake, blended)
        logits = self.discriminators(self._augmented(torch.cat([real, fake, *kinds.values()], dim=1), "d", turn))
        total = torch.zeros(())
        for lane, fake_weight in enumerate(fake_weights):
            on_real, on_fake, *others = logits[lane].view(-1, batch)
            negatives: dict[str, Tensor | None] = dict(zip(kinds, others, strict=True))
            if self.arm.history and not self.history:
                negatives["history"] = None
            terms = nda.losses.discriminator_terms(on_real, on_fake, negatives, kind=self.setting.loss)
            total = total + terms.total(self._weights(fake_weight, negatives))
            if self.adaptive is not None and "policy" in terms.logit_gap:
                self.adaptive[lane].update(terms.logit_gap["policy"])
            if self.arm.learned and "policy" in terms.hardness:
                self.learned[lane].update(terms.hardness["policy"])
        self.d_optimizer.zero_grad()
        torch.autograd.backward(total)
        self.d_optimizer.step()

    def _kinds(self, real: Tensor, turn: int) -> dict[str, Tensor]:
        """Return negatives by kind: of the policy, and of the generator's past once there is one."""
        kinds: dict[str, Tensor] = {}
        if self.negatives is not None:
            kinds["policy"] = self._negative(real, "negatives", turn)
        if self.history:
            count, lanes = len(self.history), torch.arange(len(self.seeds))
            which = self._draw(lambda draws: torch.randint(count, (), generator=draws), "snapshot", turn)
            # One snapshot for a batch: the batch norms take its statistics.
            past = {name: torch.stack([each[name] for each in self.history])[which, lanes] for name in self.history[0]}
            kinds["history"] = self._worst(self.generators(self._latents("history", turn, self.arm.candidates), past))
        return kinds

    @torch.no_grad()
    def _worst(self, images: Tensor) -> Tensor:
        """Return of each of the arm's candidates, which follow each other, the one with the lowest logit."""
        if self.arm.candidates == 1:
            return images
        several = images.view(len(images), self.setting.batch, self.arm.candidates, *images.shape[2:])
        logits = self.discriminators(images).view(several.shape[:3])
        worst = logits.argmin(dim=2).view(*several.shape[:2], 1, 1, 1, 1).expand(-1, -1, 1, *several.shape[3:])
        taken: Tensor = several.gather(2, worst).squeeze(2)
        return taken

    def _weights(self, fake_weight: float, kinds: Iterable[str]) -> dict[str, float]:
        """Return the share of generated images and of each kind; generated images have it all if there is none."""
        shares = {"policy": 1 - self.arm.history, "history": self.arm.history}
        weights = {kind: (1 - fake_weight) * shares[kind] for kind in kinds}
        return {"fake": fake_weight if weights else 1.0, **weights}

    def _generators_step(self) -> None:
        fake = self._augmented(self.generators(self._latents("g", self.step)), "g", self.step)
        logits = self.discriminators(fake, self.discriminators.frozen())
        total = torch.zeros(())
        for lane, fake_weight in enumerate(self.fake_weights):
            prior = fake_weight if self.arm.prior else 1.0
            total = total + nda.losses.generator_loss(logits[lane], kind=self.setting.loss, prior=prior)
        self.g_optimizer.zero_grad()
        torch.autograd.backward(total)
        self.g_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.generators.weights.values()), 1 - _AVERAGE)

    def _draw(self, draw: Callable[[torch.Generator], Tensor], *purpose: str | int) -> Tensor:
        """Stack what is drawn from each seed's source."""
        return torch.stack([draw(source(seed, *purpose)) for seed in self.seeds])  # type: ignore[arg-type]

    def _latents(self, player: str, turn: int, each: int = 1) -> Tensor:
        shape = (self.setting.batch * each, networks.LATENT)
        return self._draw(lambda draws: torch.randn(shape, generator=draws), f"latent-{player}", turn)

    def _augmented(self, images: Tensor, player: str, turn: int) -> Tensor:
        return images if self.positives is None else self._each(self.positives, images, f"positives-{player}", turn)

    def _each(self, transform: Callable[..., Tensor], images: Tensor, *purpose: str | int) -> Tensor:
        """Transform each run's images with draws of its own."""
        sources = [source(seed, *purpose) for seed in self.seeds]  # type: ignore[arg-type]
        return torch.stack([transform(lane, generator=draws) for lane, draws in zip(images, sources, strict=True)])

    @property
    def learned(self) -> list[nda.LearnedMixture]:
        """Each run's mixture whose weights are learned; none where they are not."""
        return [mixture for mixture in self.negatives or () if isinstance(mixture, nda.LearnedMixture)]

    def _negative(self, images: Tensor, *purpose: str | int) -> Tensor:
        """Make negatives of each run's images, with draws and weights of its own."""
        assert self.negatives is not None
        return torch.stack(
            [
                mixture(lane, generator=source(seed, *purpose))  # type: ignore[arg-type]
                for mixture, lane, seed in zip(self.negatives, images, self.seeds, strict=True)
            ]
        )

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Images of the averaged generators, ``(lanes, count, C, 16, 16)``."""
        shape = (_SAMPLES, networks.LATENT)
        latents = self._draw(lambda draws: torch.randn(shape, generator=draws), "samples")
        return self.generators(latents, self.average)

    @torch.no_grad()
    def judged(self, samples: Tensor, held_out: Tensor) -> list[Row]:
        """What each discriminator says of training images, held-out ones, generated ones and negatives.

        ``memorised`` is how often it ranks a training image above a held-out one, 0.5 if it has learned none by heart;
        ``*_pull`` are the mean slopes of the penalties: how much a kind of image still moves the discriminator.
        """
        own = self.images[:, :1000]
        kinds = {"train": own, "held_out": held_out[:1000].expand(len(own), -1, -1, -1, -1), "fake": samples[:, :1000]}
        if self.negatives is not None:
            kinds["negative"] = self._negative(own, "judged", self.step)
        logits = {name: self.discriminators(images) for name, images in kinds.items()}
        return [self._opinion({name: each[lane] for name, each in logits.items()}) for lane in range(len(own))]

    def _opinion(self, logits: dict[str, Tensor]) -> Row:
        row = {f"d_{name}": values.mean().item() for name, values in logits.items()}
        row["memorised"] = _above(logits["train"], logits["held_out"])
        if "negative" in logits:
            for name in ("fake", "negative"):
                row[f"{name}_pull"] = _slope(logits[name], self.setting.loss)
        return row


def run(
    setting: Setting, arm: Arm, seeds: Sequence[int], split: Split, judge: Judge
) -> tuple[dict[int, list[Row]], Tensor]:
    """Train one arm on some seeds.

    Returns:
        For each seed a row per measurement, and what the generators make in the end, ``(seeds, count, C, 16, 16)``.
    """
    runs = Runs(setting, arm, seeds, split)
    rows: dict[int, list[Row]] = {seed: [] for seed in seeds}
    seconds, samples = 0.0, runs.samples()
    while runs.step < setting.steps:
        began = time.process_time()
        runs.train(setting.every)
        seconds += time.process_time() - began
        samples = runs.samples()
        opinions = runs.judged(samples, split.held_out)
        for lane, seed in enumerate(seeds):
            row = {"step": runs.step, "cpu": seconds / len(seeds), "fake_weight": runs.fake_weights[lane]}
            rows[seed].append(row | judge.score(samples[lane], runs.images[lane]) | opinions[lane])
            if runs.learned:
                mixture = runs.learned[lane]
                words = [f"share_{member.word}" for member in mixture.members]
                rows[seed][-1] |= dict(zip(words, mixture.probabilities, strict=True))
    return rows, samples


def _negatives(policy: str, learned: str | None) -> nda.Mixture:
    mixture = nda.from_policy(policy)
    if learned is None:
        return mixture
    return nda.LearnedMixture(mixture.members, target=-2.0 if learned == "target" else None)


def _networks(channels: int, seed: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    with seeded(seed):
        return networks.generator(channels), networks.discriminator(channels)


def _above(first: Tensor, second: Tensor) -> float:
    """How often a value of the first set is above one of the second, ties counted half."""
    difference = first.unsqueeze(1) - second
    return ((difference > 0).double() + 0.5 * (difference == 0).double()).mean().item()


def _slope(logits: Tensor, loss: str) -> float:
    """Mean slope of the discriminator's penalty on fakes."""
    return (logits.sigmoid() if loss == "softplus" else (logits > -1).double()).mean().item()
