"""How detectors learn: a loop of epochs on Lightning Fabric that resumes exactly."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from nda_augment._checks import as_positive, check_word

Report = Callable[[int, Mapping[str, float]], None]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Training:
    """How a detector is trained.

    Every random draw of an epoch follows from ``seed`` and the epoch's number: the order of a ``DataLoader`` that
    shuffles, views, negatives. With a checkpoint, a fit that was stopped goes on after the last whole epoch and ends as
    one that was not stopped (on a GPU, as far as its kernels are deterministic).

    Attributes:
        epochs: How many; 1 or more.
        lr: Learning rate at the start; it falls to zero along half a cosine, epoch by epoch.
        weight_decay: Of AdamW.
        seed: Of all draws. Weights are initialised when the networks are built, before a fit.
        accelerator: As Fabric takes it, such as ``"auto"``, ``"cpu"``, ``"cuda"``.
        precision: Of the forward passes, as Fabric names it: ``"32-true"``, ``"bf16-mixed"`` or ``"16-mixed"``. Weights
            stay in float32.
        checkpoint: File that the state is written to after every epoch, atomically; missing folders are made. If it
            is there already, the fit goes on from it.
        report: Called after every epoch with its number, from 1 on, and the mean losses by name.

    Raises:
        ValueError: If ``epochs`` is below 1, ``lr`` is not a finite number above 0, ``weight_decay`` is negative, or
            ``precision`` is another word.

    Example:
        >>> Training(epochs=5).lr
        0.001
    """

    epochs: int = 10
    lr: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    accelerator: str = "auto"
    precision: Precision = "32-true"
    checkpoint: Path | None = None
    report: Report | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        as_positive(self.lr, "lr")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be a finite number of 0 or more, got {self.weight_decay}")
        check_word(self.precision, "precision", get_args(Precision))
        if self.checkpoint is not None:
            object.__setattr__(self, "checkpoint", Path(self.checkpoint))


@dataclass(frozen=True)
class Objective:
    """A loss, by the name of the module's method that computes it from images, and the optimizer that lowers it."""

    method: str
    optimizer: torch.optim.Optimizer


def adamw(parameters: Iterable[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
    """The optimizer of the detectors that are no GAN."""
    return torch.optim.AdamW(parameters, settings.lr, weight_decay=settings.weight_decay)


def train(module: nn.Module, loader: Iterable[Any], objectives: Sequence[Objective], settings: Training) -> None:
    """Lower every objective once per batch, in their order.

    Args:
        module: What is trained, in place; left on the device that it was trained on, in eval mode.
        loader: Yields batches, see :func:`images_of`; anew each time it is iterated.
        objectives: Losses of ``module``.
        settings: How.

    Raises:
        ImportError: If Lightning is missing.
        ValueError: If the loader yields nothing, or the checkpoint is from other settings.
        FloatingPointError: If a loss is not finite.
    """
    optimizers = [objective.optimizer for objective in objectives]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(each, settings.epochs) for each in optimizers]
    fabric = _fabric(settings)
    fabric.to_device(module)  # before the state is read: what optimizers have saved goes where the weights are
    scaler = fabric.strategy.precision  # the scale of float16 gradients is part of the state
    parts = (module, *optimizers, *schedules, scaler)
    start = _resume(parts, optimizers, settings)
    network, *players = fabric.setup(module, *optimizers)
    for objective in objectives:
        network.mark_forward_method(objective.method)
    for epoch in range(start, settings.epochs):
        module.train()
        sums, batches = torch.zeros(len(objectives), device=fabric.device), 0
        with seeded(settings.seed, epoch, fabric.device):
            for batch in loader:
                images = images_of(batch).to(fabric.device, non_blocking=True)
                for number, (objective, player) in enumerate(zip(objectives, players, strict=True)):
                    player.zero_grad()
                    loss = getattr(network, objective.method)(images)
                    fabric.backward(loss)
                    player.step()
                    sums[number] += loss.detach()
                batches += 1
        if not batches:
            raise ValueError("the loader yields no batch; with drop_last=True it needs as many images as a batch has")
        means = (sums / batches).tolist()
        losses = {objective.method: mean for objective, mean in zip(objectives, means, strict=True)}
        if not all(map(torch.isfinite, sums)):
            raise FloatingPointError(f"losses of epoch {epoch + 1} are not finite: {losses}; lower the learning rate")
        for schedule in schedules:
            schedule.step()
        if settings.checkpoint is not None:
            _save(_state(parts, optimizers, epoch + 1, settings), settings.checkpoint)
        if settings.report is not None:
            settings.report(epoch + 1, losses)
    module.eval()


def images_of(batch: Any) -> Tensor:
    """Return the images of a batch: the tensor itself, the first entry of a tuple or list, or what is named "image".

    Raises:
        TypeError: If there is no tensor of floating point there.
        ValueError: If it is not ``(B, C, H, W)``, or empty.
    """
    if isinstance(batch, Mapping):
        images = batch.get("image")
    elif isinstance(batch, tuple | list) and batch:
        images = batch[0]
    else:
        images = getattr(batch, "image", batch)  # anomalib's batches are neither
    if not isinstance(images, Tensor):
        raise TypeError(
            f"a batch must be a tensor of images, start with one, or have one as 'image', got {type(batch).__name__}"
        )
    return check_images(images)


def check_images(images: Tensor) -> Tensor:
    """Return images that are floating point ``(B, C, H, W)`` and not empty; others are errors."""
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point, got {images.dtype}; scale them first: images.float() / 255")
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"images must be a batch (B, C, H, W) that is not empty, got shape {tuple(images.shape)}")
    return images


@contextmanager
def seeded(seed: int, counter: int, device: torch.device) -> Iterator[None]:
    """Let torch's global generators start from a seed of ``seed`` and ``counter``, and restore them afterwards."""
    digest = hashlib.sha256(f"{seed}:{counter}".encode()).digest()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(digest[:8]) >> 1)
        yield


def _fabric(settings: Training) -> Any:
    try:
        from lightning.fabric import Fabric
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            f"training a detector needs Lightning, which could not be imported ({error}). "
            'Install it with: pip install "nda-augment[anomaly]"'
        ) from error
    return Fabric(accelerator=settings.accelerator, devices=1, precision=settings.precision)


def _state(parts: Sequence[Any], optimizers: Sequence[Any], epoch: int, settings: Training) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "settings": _settings_that_matter(optimizers, settings),
        "parts": [part.state_dict() for part in parts],
    }


def _resume(parts: Sequence[Any], optimizers: Sequence[Any], settings: Training) -> int:
    """Bring everything to where the checkpoint was; return how many epochs are done."""
    if settings.checkpoint is None or not settings.checkpoint.exists():
        return 0
    state = torch.load(settings.checkpoint, map_location="cpu", weights_only=True)
    settings_now = _settings_that_matter(optimizers, settings)
    if state["settings"] != settings_now:
        raise ValueError(
            f"{settings.checkpoint} was written with {state['settings']}, now it is {settings_now}; choose another "
            "checkpoint, or remove that file"
        )
    for part, saved in zip(parts, state["parts"], strict=True):
        part.load_state_dict(saved)
    epoch: int = state["epoch"]
    return epoch


def _settings_that_matter(optimizers: Sequence[Any], settings: Training) -> dict[str, Any]:
    # Learning rates as the optimizers have them, since a detector may have its own.
    rates = [group["initial_lr"] for optimizer in optimizers for group in optimizer.param_groups]
    return {"lr": rates} | {name: getattr(settings, name) for name in ("epochs", "weight_decay", "seed", "precision")}


def _save(state: dict[str, Any], path: Path) -> None:
    """Write so that ``path`` never holds half of the state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
