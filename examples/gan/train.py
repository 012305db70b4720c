"""Train a GAN, with negatives or without: ``python -m examples.gan.train --config FILE [SECTION.key=value ...]``.

A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.pt``, ``samples/`` and TensorBoard logs. Started
again it goes on from its checkpoint, and on one machine ends with the same weights, bit for bit, as if it had never
stopped (on a GPU, as far as its kernels are deterministic).
"""

import copy
import itertools
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
import typer
from lightning.fabric.utilities import rank_zero_only
from lightning.fabric.wrappers import _FabricModule
from torch import Tensor, nn

import nda_augment as nda
from examples.common import data, training
from examples.common.data import Images
from examples.common.randomness import batch_indices, generator, seeded
from examples.common.regularizers import LeCam, consistency, gradient_penalty, r1_penalty
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT, STATE, Row, console, update_average
from examples.gan import augself, config
from examples.gan.conditioning import Batch, Judgement, Told, class_loss
from examples.gan.config import DIGITS, Config
from examples.gan.generation import NETWORK, sample
from examples.gan.instances import Instances, density_of, read_instances, write_instances
from examples.gan.models import build_discriminator, build_generator
from examples.gan.negatives import Kinds, Mixed, Negatives
from examples.gan.objective import SINGLE, Verdict, objective_of
from examples.gan.positives import AdaptiveAugment, DiffAugment, undone_negatives
from nda_augment._files import State, load_checkpoint, restoring
from nda_augment._networks import evaluating
from nda_augment.losses import GapWatch
from nda_augment.losses.kinds import FAKE


def train(settings: Config, images: Images | None = None) -> Path:
    """Train to ``OPTIMIZATION.total_steps``, from the run's checkpoint if it has one.

    Args:
        settings: A checked config, see :func:`examples.gan.config.load`.
        images: The training images that ``DATA`` names, where they are at hand already.

    Returns:
        The run's folder.

    Raises:
        ConfigError: If the folder holds a run with other settings, or one that is already further.
        ValueError: If the data cannot be read, do not fill one batch, or lack labels that the run needs.
    """
    return training.train(Training(settings, data.load(settings.DATA)[0] if images is None else images))


@dataclass
class Player:
    """A network and its optimizer."""

    network: _FabricModule
    optimizer: torch.optim.Optimizer

    def judge(self, images: Tensor, told: Told, plain: Tensor | None = None) -> Judgement:
        """What a discriminator says of images."""
        judgement: Judgement = self.network(images, told.labels, plain, told.features)
        return judgement


class Training(training.Training):
    """The state of a run and the steps that change it.

    Args:
        settings: Of the run.
        images: The images it is trained on.
    """

    free = ("OPTIMIZATION.total_steps", "DATA.path", "AUG.nda_path", "RUN.")
    bound: ClassVar[Sequence[str]] = ("RUN.seed", "RUN.precision", "RUN.init_from")

    def __init__(self, settings: Config, images: Images) -> None:
        _check_images(settings, images)
        super().__init__(settings)
        if 0 < settings.LOSS.nda_start_step < 1:
            self.bound = [*self.bound, "OPTIMIZATION.total_steps"]  # type: ignore[misc]  # the start is a share of it
        if settings.RUN.synchronized_bn and self.device.type != "cuda":
            raise ConfigError(f"RUN.synchronized_bn needs GPUs, this run is on {self.device.type}")
        self.images = images

        size, channels, classes = settings.DATA.img_size, images.images.shape[1], images.classes
        self.channels, self.classes = channels, classes if settings.conditional else 0
        self.objective = objective_of(settings)
        self.negatives = Negatives(settings, channels, self.share)
        self.fingerprint = _fingerprint(images, self.negatives.undesired)
        self.weight_schedule = config.weight_schedule(settings.LOSS)
        self.adaptive_weight = config.adaptive_weight(settings.LOSS) if settings.LOSS.nda_adaptive else None
        self.gap_watches: defaultdict[str, GapWatch] = defaultdict(GapWatch)
        self.parallel = DiffAugment(settings.AUG.cr_aug_type)
        self.lecam = LeCam(settings.LOSS.lecam_ema_decay).to(self.device) if settings.LOSS.apply_lecam else None
        self.positives = _positives(settings, self.negatives)

        described = self._described() if settings.MODEL.instance_cond or settings.scored_by_density else None
        self.instances = described if settings.MODEL.instance_cond else None
        features = self.instances.features.shape[1] if self.instances else 0
        told = self.positives.sizes if settings.LOSS.apply_augself and self.positives else None
        with seeded(settings.RUN.seed, "weights"):
            generative = build_generator(settings.MODEL, size, channels, classes, features)
            discriminative = build_discriminator(settings.MODEL, size, channels, classes, told, features)
        self.average = copy.deepcopy(generative).to(self.device).eval().requires_grad_(False)
        self.generator = self._player(generative, settings.OPTIMIZATION.g_lr)
        self.discriminator = self._player(discriminative, settings.OPTIMIZATION.d_lr)
        self.past = self._past() if config.HISTORY in settings.LOSS.nda_weights else None
        badness = density_of(described) if described and settings.scored_by_density else self._badness
        self.kinds = Kinds(settings, self.classes, self.share, self.past, badness)

    @property
    def fake_weight(self) -> float:
        """λ at this step: 1 without negatives."""
        if not self.settings.AUG.apply_nda or self.step < self.settings.start_step:
            return 1.0
        if self.kinds.names:
            return float(self.settings.fake_weight)
        return self.weight_schedule(self.step) if self.adaptive_weight is None else self.adaptive_weight.fake_weight

    def advance(self) -> dict[str, Tensor]:
        """Take a step of each player; returns what the last batch's losses are made of."""
        self.verdict = self.discriminator_steps()
        return self.verdict.terms | {"generator": self.generator_step()}

    def discriminator_steps(self) -> Verdict:
        """Update the discriminator ``d_updates_per_step`` times; returns the verdict of the last batch."""
        optimization = self.settings.OPTIMIZATION
        updates, parts = optimization.d_updates_per_step, optimization.acml_steps
        self.negatives.set_strength(self.step)
        self.set_learning_rates()
        for update in range(self.step * updates, (self.step + 1) * updates):
            self.discriminator.optimizer.zero_grad()
            for number in range(update * parts, (update + 1) * parts):
                with self.fabric.no_backward_sync(self.discriminator.network, enabled=(number + 1) % parts != 0):
                    loss, verdict = self.discriminator_loss(number)
                    self.fabric.backward(loss / parts)
            self.discriminator.optimizer.step()
            for kind, gap in verdict.gaps.items():
                self.gap_watches[kind].update(gap)
            if self.adaptive_weight is not None and SINGLE in verdict.gaps:
                self.adaptive_weight.update(self.mean(verdict.gaps[SINGLE]))
        return verdict

    def discriminator_loss(self, number: int) -> tuple[Tensor, Verdict]:
        """Tell real images from generated ones and, at λ < 1, from negatives."""
        settings, loss, weight = self.settings, self.settings.LOSS, self.fake_weight
        batch = self._batch(number)
        real, told = self.share.of(batch.images), batch.told.map(self.share.of)
        with torch.no_grad():
            fake, fake_told = self._generate("D", number)
        mixes = weight < 1 and loss.nda_mode != "separate"
        mixed = self._mixed(fake, fake_told, batch, number) if mixes else None

        real_shown, real_draw = self._show(real, "real", number)
        real_shown.requires_grad_(loss.apply_r1_reg)
        fake_shown, fake_draw = self._show(mixed.images if mixed else fake, "fake", number)
        tell = loss.apply_augself
        on_real = self.discriminator.judge(real_shown, told, real if tell else None)
        on_fake = self.discriminator.judge(fake_shown, mixed.told if mixed else fake_told, fake if tell else None)
        separate = settings.rumi or (weight < 1 and not mixes)
        on_negatives = self._judge_negatives(batch, number) if separate else {}

        weights = loss.nda_weights or {FAKE: weight, SINGLE: 1 - weight}
        weights = weights if on_negatives else {FAKE: 1.0}
        verdict = self.objective.discriminator(on_real, on_fake, on_negatives, told.labels, weights)
        gap = mixed.gap(on_real.realness, on_fake.realness) if mixed else None
        if gap is not None:
            verdict = verdict._replace(gaps={SINGLE: gap})
        if isinstance(self.positives, AdaptiveAugment):
            self.positives.update(self.joined(on_real.realness))

        more = {"class": self._class_loss(on_real, told.labels)}
        if loss.apply_r1_reg:
            more["r1"] = loss.r1_lambda * r1_penalty(on_real.realness, real_shown)
        if loss.apply_gp:
            more["gp"] = loss.gp_lambda * self._gradient_penalty(real_shown, fake, told, number)
        if loss.apply_cr:
            more["cr"] = loss.cr_lambda * self._inconsistency(real, on_real, told, number)
        if self.lecam is not None:
            self.lecam.update(*(self.mean(each.realness.detach().mean()) for each in (on_real, on_fake)))
            if self.step >= loss.lecam_ema_start_iter:
                more["lecam"] = loss.lecam_lambda * self.lecam(on_real.realness, on_fake.realness)
        if on_real.told is not None and on_fake.told is not None:
            draws = augself.discriminator_loss(on_real.told, on_fake.told, real_draw, fake_draw)
            more["augself"] = loss.augself_lambda * draws
        present = {name: term for name, term in more.items() if term is not None}
        terms = verdict.terms | {name: term.detach() for name, term in present.items()}
        return sum(present.values(), start=verdict.total), verdict._replace(terms=terms, fake_weight=weight)

    def _mixed(self, fake: Tensor, told: Told, batch: Batch, number: int) -> Mixed:
        """Generated images, with negatives in the place of some, or in some."""
        loss, stay = self.settings.LOSS, self.fake_weight
        if loss.nda_blend_ada and isinstance(self.positives, AdaptiveAugment):
            stay = self.positives.p
        blend = loss.nda_blend if loss.nda_mode == "blend" else None
        return self.negatives.mix(fake, told, batch, number, stay, blend)

    def _judge_negatives(self, batch: Batch, number: int) -> dict[str, Judgement | None]:
        """What the discriminator says of the negatives of each kind; ``None`` where there are none so far."""
        told = batch.told.map(self.share.of)
        if not self.kinds.names:
            shown, _ = self._show(self.negatives.of(batch, number), "negative", number)
            judgement = self.discriminator.judge(shown, told)
            self.negatives.learn(judgement.realness)
            return {SINGLE: judgement}
        judged: dict[str, Judgement | None] = {}
        for kind in self.kinds.names:
            made = self.kinds.of(kind, batch, number)
            if made is not None:
                shown, _ = self._show(made[0], f"negative, {kind}", number)
            judged[kind] = None if made is None else self.discriminator.judge(shown, told._replace(labels=made[1]))
        return judged

    def generator_step(self) -> Tensor:
        """Look real to the discriminator; negatives play no part."""
        parts = self.settings.OPTIMIZATION.acml_steps
        self.discriminator.network.requires_grad_(False)
        self.generator.optimizer.zero_grad()
        for number in range(self.step * parts, (self.step + 1) * parts):
            with self.fabric.no_backward_sync(self.generator.network, enabled=(number + 1) % parts != 0):
                loss = self.generator_loss(number)
                self.fabric.backward(loss / parts)
        self.generator.optimizer.step()
        self.discriminator.network.requires_grad_(True)
        if self.past is not None:
            self.past.update()

        model = self.settings.MODEL
        decay = model.g_ema_decay if model.apply_g_ema and self.step >= model.g_ema_start else 0.0
        update_average(self.average, self.generator.network, decay)
        return loss.detach()

    def generator_loss(self, number: int) -> Tensor:
        """The generator's adversarial loss, that of its classes, and that of how its images were augmented."""
        fake, told = self._generate("G", number)
        shown, draw = self._show(fake, "G fake", number)
        judgement = self.discriminator.judge(shown, told, fake if self.settings.LOSS.apply_augself else None)
        loss = self.objective.generator(judgement, told.labels)
        of_classes = self._class_loss(judgement, told.labels)
        if of_classes is not None:
            loss = loss + of_classes
        if judgement.told is not None:
            loss = loss + self.settings.LOSS.augself_lambda * augself.generator_loss(judgement.told, draw)
        return loss

    def log(self, terms: Mapping[str, Tensor]) -> Row:
        """Add a row to the history: the terms of the last batch, and the gap between real and negative logits."""
        gaps = self.verdict.gaps or {SINGLE: self._measure_gap()}
        named = {"gap" if kind == SINGLE else f"gap {kind}": gap for kind, gap in gaps.items()}
        row = super().log({**terms, **named})
        if self.adaptive_weight is not None or self.settings.LOSS.scheduled:
            row["fake_weight"] = self.verdict.fake_weight
        if isinstance(self.positives, AdaptiveAugment):
            row["augment_p"] = self.positives.p
        return row

    def samples(self, count: int) -> Tensor:
        """Images of the averaged generator, always from the same latents: ``(count, C, H, W)`` in [-1, 1]."""
        return sample(self.average, count, self.settings.RUN.seed, "samples", self.instances)

    def go_on_from(self, folder: Path) -> None:
        """Go on from the checkpoint in a folder, or else begin, with the players of another run if so asked."""
        if self.settings.RUN.init_from:
            self.begin_with(Path(self.settings.RUN.init_from) / CHECKPOINT)
        super().go_on_from(folder)

    def begin_with(self, path: Path) -> None:
        """Take over the players of another run, and what their optimizers know; learning rates are this run's."""
        if not path.exists():
            raise ConfigError(f"RUN.init_from={path.parent} has no {path.name}")
        state = load_checkpoint(path, STATE | NETWORK)
        with restoring(path):
            self.average.load_state_dict(state["average"])
            for name, player in (("generator", self.generator), ("discriminator", self.discriminator)):
                player.network.load_state_dict(state[name])
                mine = [{key: group[key] for key in ("lr", "betas")} for group in player.optimizer.param_groups]
                player.optimizer.load_state_dict(state[f"{name}_optimizer"])
                for group, own in zip(player.optimizer.param_groups, mine, strict=True):
                    group.update(own)

    def set_learning_rates(self) -> None:
        """Let both learning rates be what they are at this step."""
        optimization = self.settings.OPTIMIZATION
        if optimization.lr_decay_steps:
            left = 1 - (self.step - optimization.lr_decay_start) / optimization.lr_decay_steps
            share = min(max(left, 0.0), 1.0)
            for player, rate in ((self.generator, optimization.g_lr), (self.discriminator, optimization.d_lr)):
                for group in player.optimizer.param_groups:
                    group["lr"] = share * rate

    def facts(self) -> State:
        """What the run is about."""
        return {"images": self.fingerprint, "channels": self.channels, "classes": self.classes}

    def stateful(self) -> dict[str, Any]:
        """The players and what steers them."""
        parts = {
            "average": self.average,
            "generator": self.generator.network,
            "generator_optimizer": self.generator.optimizer,
            "discriminator": self.discriminator.network,
            "discriminator_optimizer": self.discriminator.optimizer,
            "scaler": self.scaler,
            "adaptive_weight": self.adaptive_weight,
            "positives": self.positives,
            "lecam": self.lecam,
            "negatives": self.negatives.transform if self.settings.AUG.nda_learned else None,
            "past": self.past,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _described(self) -> Instances:
        """What the first process has written into the folder, or finds there."""
        if self.fabric.is_global_zero:
            write_instances(self.settings, self.images)
        self.fabric.barrier()
        return read_instances(self.folder, self.settings, self.images)

    def _past(self) -> nda.GeneratorHistory:
        augmentation = self.settings.AUG
        generative = self.generator.network.module
        return nda.GeneratorHistory(generative, augmentation.nda_history_every, augmentation.nda_history_capacity)

    def _badness(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """How little the discriminator thinks of images as they are, ``(B,)``; leaves no trace in it."""
        with evaluating(self.discriminator.network):  # spectral norms hold still
            return -self.discriminator.judge(images, Told(labels)).realness

    def _player(self, network: nn.Module, learning_rate: float) -> Player:
        if self.settings.RUN.channels_last:
            network = network.to(memory_format=torch.channels_last)  # a quarter faster, on CPUs as well
        if self.settings.RUN.synchronized_bn:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        betas = (self.settings.OPTIMIZATION.beta1, self.settings.OPTIMIZATION.beta2)
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)
        return Player(*self.fabric.setup(network, optimizer))

    def _batch(self, number: int) -> Batch:
        """The real images of all processes, in [-1, 1]; they have labels if somebody asks for them."""
        seed, features = self.settings.RUN.seed, None
        indices = batch_indices(len(self.images), self.settings.OPTIMIZATION.batch_size, seed, number)
        if self.instances:
            features = self.instances.features[indices].to(self.device, non_blocking=True)
            indices = self.instances.near(indices, seed, "neighbours", number)
        chosen = self.images[indices]
        asked = chosen.labels is not None and (self.settings.conditional or self.negatives.transform.needs_labels)
        labels = chosen.labels.to(self.device, non_blocking=True) if asked and chosen.labels is not None else None
        images = data.normalize(chosen.images.to(self.device, non_blocking=True))
        return Batch(images, labels, features=features)

    def _generate(self, player: str, number: int) -> tuple[Tensor, Told]:
        """Generated images for a step of ``player``, and what was asked for."""
        seed, count = self.settings.RUN.seed, self.settings.OPTIMIZATION.batch_size
        source = generator(seed, f"{player} latent", number, device=self.device)
        latents = torch.randn(count, self.settings.MODEL.z_dim, generator=source, device=self.device)
        told = Told()
        if self.instances:
            which = self.instances.draw(count, seed, f"{player} instances", number)
            told = self.instances.told(which, seed, f"{player} labels", number).map(lambda each: each.to(self.device))
        elif self.classes:
            source = generator(seed, f"{player} labels", number, device=self.device)
            told = Told(torch.randint(self.classes, (count,), generator=source, device=self.device))
        told = told.map(self.share.of)
        return self.generator.network(self.share.of(latents), *told), told

    def _show(self, images: Tensor, purpose: str, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Images as the discriminator sees them, and the draw by which they were augmented."""
        return self._augment(self.positives, images, purpose, number) if self.positives else (images, {})

    def _augment(
        self, positives: DiffAugment, images: Tensor, purpose: str, number: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        source = generator(self.settings.RUN.seed, f"positives, {purpose}", number, device=self.device)
        shape = (self.settings.OPTIMIZATION.batch_size, *images.shape[1:])
        drawn = positives.sample(shape, generator=source, device=self.device)
        own = {name: self.share.of(draw) for name, draw in drawn.items()}
        augmented: Tensor = positives(images, own)
        return augmented, own

    def _class_loss(self, judgement: Judgement, labels: Tensor | None) -> Tensor | None:
        loss = self.settings.LOSS
        term = class_loss(
            judgement, labels, method=self.settings.MODEL.d_cond_mtd, temperature=loss.temperature, margin=loss.m_p
        )
        return None if term is None else loss.cond_lambda * term

    def _gradient_penalty(self, real: Tensor, fake: Tensor, told: Told, number: int) -> Tensor:
        """Between real and generated images as they are shown; in replacement mode still without negatives."""
        shown, _ = self._show(fake, "fake", number)
        source = generator(self.settings.RUN.seed, "gradient penalty", number, self.share.process, device=self.device)
        return gradient_penalty(
            lambda images: self.discriminator.judge(images, told).realness, real, shown, generator=source
        )

    def _inconsistency(self, real: Tensor, judged: Judgement, told: Told, number: int) -> Tensor:
        other, _ = self._augment(self.parallel, real, "consistency", number)
        return consistency(judged.logits, self.discriminator.judge(other, told).logits)

    @torch.no_grad()
    def _measure_gap(self) -> Tensor:
        """The gap of a batch that was judged without negatives, measured so that it leaves no trace in the run."""
        number = self.step * self.settings.OPTIMIZATION.d_updates_per_step * self.settings.OPTIMIZATION.acml_steps - 1
        batch = self._batch(number)
        told = batch.told.map(self.share.of)
        network = self.discriminator.network.eval()  # spectral norms hold still
        on_real = self.discriminator.judge(self.share.of(batch.images), told)
        on_negative = self.discriminator.judge(self.negatives.of(batch, number), told)
        network.train()
        return on_real.realness.mean() - on_negative.realness.mean()


def _check_images(settings: Config, images: Images) -> None:
    data.check_batch(images, settings.OPTIMIZATION.batch_size)
    if settings.conditional and images.labels is None:
        raise ConfigError(
            f"MODEL.d_cond_mtd={settings.MODEL.d_cond_mtd} needs labels: sub-folders named after the classes, or an "
            "array 'labels' in the .npz"
        )


def _positives(settings: Config, negatives: Negatives) -> DiffAugment | None:
    augmentation = settings.AUG
    if augmentation.apply_diffaug:
        positives: DiffAugment = DiffAugment(augmentation.diffaug_type)
    elif augmentation.apply_ada:
        positives = config.adaptive_augment(augmentation)
    else:
        return None
    if augmentation.apply_nda and negatives.undesired is None:
        kinds = settings.LOSS.nda_weights.keys() - {FAKE, config.HISTORY, config.WRONG_LABEL}
        transforms = [nda.from_policy(kind) for kind in sorted(kinds)] or [negatives.transform]
        for undone in itertools.chain(*(undone_negatives(transform, positives) for transform in transforms)):
            warnings.warn(
                f"{undone}: the discriminator is told of such images that they are real and that they are "
                "not. Leave one of the two out",
                stacklevel=3,
            )
    return positives


def _fingerprint(images: Images, undesired: Images | None) -> str:
    return images.fingerprint() + ("" if undesired is None else f" {undesired.fingerprint()}")


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
) -> None:
    """Train a GAN, or go on with a run that was stopped."""
    folder = train(config.load(path, overrides or ()))
    rank_zero_only(console.print)(f"Samples, logs and checkpoint are in {folder}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
