"""Images from a trained denoiser, out of the folder of its run, guided away from negatives or from a snapshot."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from examples.common.randomness import generator
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT
from examples.diffusion import config
from examples.diffusion.config import Sampling
from examples.diffusion.denoiser import Denoiser, build_denoiser
from examples.diffusion.processes import Process, build_process
from nda_augment._files import load_checkpoint, restoring
from nda_augment.guidance import Guided, guide

SNAPSHOT = "snapshot.pt"
# What of a checkpoint, or of a snapshot, makes a denoiser.
NETWORK = {"channels": int, "classes": int, "average": dict}
Predict = Callable[..., Tensor]


def load_denoiser(folder: Path, file: str = CHECKPOINT, device: torch.device | str = "cpu") -> Denoiser:
    """Return the averaged denoiser of a run, as it is in its checkpoint or was in its snapshot, in eval mode.

    Raises:
        ConfigError: If the folder has no such file.
    """
    if not (folder / file).exists():
        raise ConfigError(f"{folder} has no {file}; RUN.snapshot_step lets a run keep a snapshot")
    settings = config.load(folder / "config.yaml")
    state = load_checkpoint(folder / file, NETWORK)
    shape = settings.DATA.img_size, state["channels"], state["classes"]
    denoiser = build_denoiser(settings.MODEL, build_process(settings.LOSS), *shape)
    with restoring(folder / file):
        denoiser.load_state_dict(state["average"])
    return denoiser.to(device).eval().requires_grad_(False)


def guided(denoiser: Denoiser, settings: Sampling, snapshot: Denoiser | None = None) -> Predict:
    """Return a denoiser without kinds, ``(noisy, level, **labels) -> prediction``, guided as the settings say.

    Args:
        denoiser: Which.
        settings: ``scale`` and ``interval`` of the guidance.
        snapshot: An earlier state of the denoiser to move away from, autoguidance; else it moves away from negatives.

    Source: autoguidance after Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself", NeurIPS 2024.
    """
    interval = (settings.interval[0], settings.interval[1]) if settings.interval else None
    if snapshot is None:
        return Guided(denoiser, settings.scale, interval)
    strong, weak = Guided(denoiser, 0.0), Guided(snapshot, 0.0)

    def predict(noisy: Tensor, level: float, **labels: Tensor) -> Tensor:
        predictions = strong(noisy, level, **labels), weak(noisy, level, **labels)
        return guide(*predictions, settings.scale, interval, level)

    return predict


@torch.no_grad()
def follow(predict: Predict, process: Process, noise: Tensor, steps: int, **labels: Tensor) -> Tensor:
    """Follow the probability flow from noise to images by Heun's method.

    Args:
        predict: ``(noisy, level, **labels)`` to a prediction.
        process: What is predicted.
        noise: Standard normal, ``(B, ...)``.
        steps: How many.
        **labels: Classes ``(B,)`` if the denoiser has some.
    """
    images = process.begin(noise)
    for level, following in pairwise(process.levels(steps)):
        slope = process.slope(predict(images, level, **labels), images, level)
        if following > 0:
            ahead = images + (following - level) * slope
            slope = (slope + process.slope(predict(ahead, following, **labels), ahead, following)) / 2
        images = images + (following - level) * slope
    return images


def sample(
    denoiser: Denoiser, settings: Sampling, count: int, seed: int, purpose: str, snapshot: Denoiser | None = None
) -> Tensor:
    """Images of a denoiser in eval mode, a function of seed and purpose: ``(count, C, H, W)`` in [-1, 1].

    With classes the images go through them in turn.
    """
    device = next(denoiser.parameters()).device
    noise = torch.randn(count, *denoiser.shape, generator=generator(seed, purpose, device=device), device=device)
    labels = {"labels": torch.arange(count, device=device) % denoiser.classes} if denoiser.classes else {}
    predict = guided(denoiser, settings, snapshot)
    images = [
        follow(predict, denoiser.process, noise[part], settings.steps, **{k: v[part] for k, v in labels.items()})
        for part in torch.split(torch.arange(count, device=device), 256)
    ]
    return torch.cat(images).clamp(-1, 1)


def sample_run(folder: Path, settings: Sampling, count: int, purpose: str) -> Tensor:
    """Images of the averaged denoiser of a run, with its own seed: see :func:`sample`."""
    snapshot = None
    if settings.away_from == "snapshot" and settings.scale:
        snapshot = load_denoiser(folder, SNAPSHOT)
    seed = config.load(folder / "config.yaml").RUN.seed
    return sample(load_denoiser(folder), settings, count, seed, purpose, snapshot)
