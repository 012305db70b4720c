"""How detectors learn: a loop on Lightning Fabric that resumes exactly, and says what was learned."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from nda_augment._checks import as_positive, check_word
from nda_augment._files import CheckpointError, load_checkpoint, lock, restoring, save_checkpoint
from nda_augment.anomaly._loading import fingerprint, hold_out, read, seeded

Report = Callable[[int, Mapping[str, float]], None]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

STEPS = 800
"""Steps of a training that says neither ``steps`` nor ``epochs``."""

_VALIDATIONS = 10
_SETTINGS = ("epochs", "steps", "weight_decay", "seed", "precision", "holdout", "patience")


@dataclass(frozen=True)
class Training:
    """How a detector is trained.

    Every random draw of an epoch follows from ``seed`` and the epoch's number: the order of a ``DataLoader`` that
    shuffles, views, negatives. With a checkpoint, a fit that was stopped goes on after the last whole epoch and ends as
    one that was not stopped (on a GPU, as far as its kernels are deterministic).

    A share of the normal images is held out. Ten times in a training it is measured how well the detector tells them
    from fresh negatives of them; if that is not better than chance at the end, a warning says so with numbers. There is
    no such measure with fewer than 8 held-out images, or of a loader that does not say what it holds; see ``holdout``.
    A batch of a single image, such as is left over at the end of an epoch, is passed over.

    Attributes:
        epochs: Number of passes over the images, instead of ``steps``; 1 or more.
        lr: Learning rate at the start; it falls to zero along half a cosine, step by step, or epoch by epoch if
            ``epochs`` is given.
        weight_decay: Weight decay of AdamW.
        seed: Seed of all draws. Weights are initialised when the networks are built, before a fit.
        accelerator: Device as Fabric names it, such as ``"auto"``, ``"cpu"``, ``"cuda"``.
        precision: Precision of the forward passes as Fabric names it: ``"32-true"``, ``"bf16-mixed"`` or
            ``"16-mixed"``. Weights stay in float32.
        checkpoint: File that the state is written to after every epoch, atomically; missing folders are made. If it
            is there already, the fit goes on from it, provided that data, negatives and settings are the same.
        report: Function called after every epoch with its number, from 1 on, and the mean losses by name; where there
            was a validation, with its measure too.
        steps: Number of batches to learn from, 1 or more; 800 if neither it nor ``epochs`` is given.
        holdout: Share of the images held out, in [0, 1): of a ``DataLoader`` of a dataset that is indexed, or of a list
            of five batches or more. 0 holds out none.
        patience: Number of validations in a row without a better one after which the training ends early; ``None`` is
            never.
        progress: Whether to show a bar with losses and that measure; ``None`` shows it on a terminal.

    Raises:
        ValueError: If both ``epochs`` and ``steps`` are given, one of them or ``patience`` is below 1, ``lr`` is not a
            finite number above 0, ``weight_decay`` is negative, ``holdout`` is out of bounds, or ``precision`` is
            another word.

    Example:
        >>> Training(steps=500).lr
        0.001
    """

    epochs: int | None = None
    lr: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    accelerator: str = "auto"
    precision: Precision = "32-true"
    checkpoint: Path | None = None
    report: Report | None = None
    steps: int | None = None
    holdout: float = 0.1
    patience: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"a training is given by epochs or by steps, got both: {self.epochs} and {self.steps}")
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "steps", STEPS)
        for name in ("epochs", "steps", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        as_positive(self.lr, "lr")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be a finite number of 0 or more, got {self.weight_decay}")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must be a share in [0, 1), got {self.holdout}")
        check_word(self.precision, "precision", get_args(Precision))
        if self.checkpoint is not None:
            object.__setattr__(self, "checkpoint", Path(self.checkpoint))


class Validation(NamedTuple):
    """How well held-out normal images and fresh negatives of them are told apart.

    Attributes:
        name: Name of what is measured.
        value: The measure, in [0, 1]; higher is better.
        chance: Its value where nothing was learned.
        error: Standard deviation that it would have by chance.
    """

    name: str
    value: float
    chance: float
    error: float


Validate = Callable[[Tensor], Validation]


@dataclass(frozen=True)
class Objective:
    """A loss, by the name of the module's method that computes it from images, and the optimizer that lowers it."""

    method: str
    optimizer: torch.optim.Optimizer


@dataclass
class Progress:
    """How far a training is."""

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    waited: int = 0

    def done(self, settings: Training) -> bool:
        """Whether it is over."""
        if settings.patience is not None and self.waited >= settings.patience:
            return True
        return self.epoch >= settings.epochs if settings.epochs else self.step >= (settings.steps or 0)

    def heed(self, value: float) -> None:
        """Note the measure of a validation."""
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(self.best, value)

    def share(self, settings: Training) -> float:
        """Share of the budget that is used."""
        return self.epoch / settings.epochs if settings.epochs else self.step / (settings.steps or 1)


def adamw(parameters: Iterable[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
    """The optimizer of the detectors that are no GAN."""
    return torch.optim.AdamW(parameters, settings.lr, weight_decay=settings.weight_decay)


def train(
    module: nn.Module,
    loader: Iterable[Any],
    objectives: Sequence[Objective],
    settings: Training,
    *,
    validate: Validate | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Validation | None:
    """Lower every objective once per batch, in their order.

    Args:
        module: Module to train, in place; left on the device that it was trained on, in eval mode.
        loader: Iterable of batches, see :func:`images_of`, that can be iterated more than once.
        objectives: Losses of ``module``.
        settings: Settings of the training.
        validate: Measures the module, in eval mode, on held-out images; ``None`` holds out none.
        identity: Values that a checkpoint must agree with apart from the settings, such as the negatives.

    Returns:
        The last validation, if there was one.

    Raises:
        ImportError: If Lightning is missing.
        ValueError: If the loader yields nothing, or the checkpoint is from other settings, images or negatives.
        FloatingPointError: If a loss is not finite.
    """
    split = hold_out(loader, settings.holdout if validate is not None else 0.0, settings.seed)
    learning = _Learning(module, objectives, settings)
    checkpoint = _Checkpoint(learning, settings, loader, identity or {})
    validation = None
    with checkpoint.held() as progress, _bar(settings, progress) as bar:
        learning.set_up()
        while not progress.done(settings):
            share = progress.share(settings)
            measures = learning.epoch(split.training, progress, bar)
            if validate is not None and split.held_out is not None and _is_due(share, progress.share(settings)):
                validation = _validated(module, validate, split.held_out, settings)
                progress.heed(validation.value)
                measures[validation.name] = validation.value
            checkpoint.save(progress)
            bar.set_postfix({name: f"{value:.3f}" for name, value in measures.items()})
            if settings.report is not None:
                settings.report(progress.epoch, measures)
    module.eval()
    if validation is not None and validation.value <= validation.chance + 2 * validation.error:
        warnings.warn(_at_chance(module, progress.step, validation), stacklevel=3)
    return validation


class _Learning:
    """A module, what lowers its losses, and where."""

    def __init__(self, module: nn.Module, objectives: Sequence[Objective], settings: Training) -> None:
        self.module, self.settings = module, settings
        self.names = [objective.method for objective in objectives]
        self.optimizers = [objective.optimizer for objective in objectives]
        horizon = settings.epochs or settings.steps or 1
        self.schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(each, horizon) for each in self.optimizers]
        self.fabric = _fabric(settings)
        self.fabric.to_device(module)  # before the state is read: what optimizers have saved goes where the weights are

    @property
    def parts(self) -> list[Any]:
        """All that has a state."""
        scaler = self.fabric.strategy.precision  # the scale of float16 gradients
        return [self.module, *self.optimizers, *self.schedules, scaler]

    def set_up(self) -> None:
        """Wrap module and optimizers for the device and the precision."""
        self.network, *self.players = self.fabric.setup(self.module, *self.optimizers)
        for name in self.names:
            self.network.mark_forward_method(name)

    def epoch(self, loader: Iterable[Any], progress: Progress, bar: Any) -> dict[str, float]:
        """Learn from all batches, or from as many as there are steps left; return the mean losses by name."""
        self.module.train()
        sums, before = torch.zeros(len(self.names), device=self.fabric.device), progress.step
        by_step = self.settings.steps is not None
        with seeded(self.settings.seed, progress.epoch, self.fabric.device):
            for images in read(loader):
                if len(images) == 1:  # what was left over: nobody to borrow from, and no statistics
                    continue
                sums += self._step(images.to(self.fabric.device, non_blocking=True))
                progress.step += 1
                if by_step:
                    self._advance(bar)
                    if progress.done(self.settings):
                        break
        if progress.step == before:
            raise ValueError("all batches are of one image, which has nobody to borrow from; make batch_size 2 or more")
        progress.epoch += 1
        if not by_step:
            self._advance(bar)
        losses = dict(zip(self.names, (sums / (progress.step - before)).tolist(), strict=True))
        if not all(map(math.isfinite, losses.values())):
            raise FloatingPointError(
                f"losses of epoch {progress.epoch} are not finite: {losses}; lower the learning rate"
            )
        return losses

    def _step(self, images: Tensor) -> Tensor:
        losses = []
        for name, player in zip(self.names, self.players, strict=True):
            player.zero_grad()
            loss = getattr(self.network, name)(images)
            self.fabric.backward(loss)
            player.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    def _advance(self, bar: Any) -> None:
        for schedule in self.schedules:
            schedule.step()
        bar.update()


class _Checkpoint:
    """Where a training is kept, if it is, and what it must be a training of."""

    def __init__(
        self, learning: _Learning, settings: Training, loader: Iterable[Any], identity: Mapping[str, Any]
    ) -> None:
        self.path, self.parts = settings.checkpoint, learning.parts
        if self.path is None:
            return
        # Learning rates as the optimizers have them, since a detector may have its own.
        rates = [group["initial_lr"] for optimizer in learning.optimizers for group in optimizer.param_groups]
        self.identity = {
            "lr": rates,
            **{name: getattr(settings, name) for name in _SETTINGS},
            **identity,
            "images": fingerprint(loader),
        }

    @contextmanager
    def held(self) -> Iterator[Progress]:
        """Keep the file from other processes, and yield how far the training is."""
        if self.path is None:
            yield Progress()
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with lock(self.path):
            yield self._resumed(self.path) if self.path.exists() else Progress()

    def save(self, progress: Progress) -> None:
        """Write the state."""
        if self.path is not None:
            parts = [part.state_dict() for part in self.parts]
            save_checkpoint({"progress": asdict(progress), "identity": self.identity, "parts": parts}, self.path)

    def _resumed(self, path: Path) -> Progress:
        state = load_checkpoint(path, {"progress": dict, "identity": dict, "parts": list})
        found, now = state["identity"], self.identity
        other = {name: (found.get(name), value) for name, value in now.items() if found.get(name) != value}
        if other:
            changes = "; ".join(f"{name}: {then!r}, now {value!r}" for name, (then, value) in other.items())
            raise CheckpointError(
                f"{path} is of another training ({changes}); choose another checkpoint, or remove that file"
            )
        with restoring(path):
            for part, saved in zip(self.parts, state["parts"], strict=True):
                part.load_state_dict(saved)
            return Progress(**state["progress"])


def _is_due(before: float, after: float) -> bool:
    return int(before * _VALIDATIONS) < int(after * _VALIDATIONS)


def _validated(module: nn.Module, validate: Validate, images: Tensor, settings: Training) -> Validation:
    module.eval()
    device = next(module.parameters()).device
    with torch.no_grad(), seeded(settings.seed, -2, device):  # the same draws every time
        return validate(images.to(device))


def _at_chance(module: nn.Module, steps: int, validation: Validation) -> str:
    return (
        f"after {steps} steps {type(module).__name__} tells negatives from held-out normal images with "
        f"{validation.name} {validation.value:.2f}, where chance is {validation.chance:.2f} ± {validation.error:.2f}: "
        "it has learned nothing that can be told from chance. Give it more steps or another learning rate, or "
        "negatives that can be seen"
    )


def _bar(settings: Training, progress: Progress) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]  # Lightning brings it

    disable = None if settings.progress is None else not settings.progress
    done = progress.epoch if settings.epochs else progress.step
    unit = "epoch" if settings.epochs else "step"
    return tqdm(total=settings.epochs or settings.steps, initial=done, unit=unit, disable=disable)


def _fabric(settings: Training) -> Any:
    try:
        from lightning.fabric import Fabric
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            f"training a detector needs Lightning, which could not be imported ({error}). "
            'Install it with: pip install "nda-augment[anomaly]"'
        ) from error
    return Fabric(accelerator=settings.accelerator, devices=1, precision=settings.precision)
