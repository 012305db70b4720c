"""A shortcut in contrastive learning, and what makes a negative count: ``python -m examples.theory.shortcut``.

Every image is a digit on a texture of its own. Two views of it share both, so an encoder may tell images apart by their
textures alone and learn nothing of digits. A negative that keeps the texture and breaks the digit takes this shortcut
away, if it weighs enough among the other candidates and cannot be told by its seams. Measured on five seeds: how well a
linear classifier reads the digit from what the encoder has learned. ``swap`` is the negative that one would wish for,
the same texture under the digit of another image, which needs to know what an image is made of; the others are made of
the image alone.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from examples.theory.report import console
from examples.theory.runs import spread
from nda_augment._seeding import seeded

SIZE = 16
SEEDS = (0, 1, 2, 3, 4)
TEXTURES = 8  # directions that the texture's label tells apart
_BATCH = 64
_TRAINING = 1400


@dataclass(frozen=True)
class Arm:
    """Which negatives an image gets.

    Attributes:
        policy: A policy, ``"swap"``, or ``None`` for no negatives.
        count: Negatives per image.
        weight: How many candidates each of them counts as.
        scale: ``negative_scale`` of the loss.
    """

    policy: str | None = None
    count: int = 1
    weight: float = 1.0
    scale: float = 1.0


_JIGSAW, _SOFT = "jigsaw(grid=4x4)", "jigsaw(grid=4x4,offset=random,feather=0.5)"
ARMS = {
    "plain": Arm(),
    "swap": Arm("swap"),
    "swap, weight 16": Arm("swap", weight=16),
    "swap, 4 of weight 4": Arm("swap", count=4, weight=4),
    "swap, scale 2": Arm("swap", scale=2.0),
    "jigsaw": Arm(_JIGSAW),
    "jigsaw, weight 16": Arm(_JIGSAW, weight=16),
    "jigsaw, 4 of weight 4": Arm(_JIGSAW, count=4, weight=4),
    "jigsaw, scale 2": Arm(_JIGSAW, scale=2.0),
    "soft jigsaw": Arm(_SOFT),
    "soft jigsaw, weight 16": Arm(_SOFT, weight=16),
    "soft jigsaw, scale 2": Arm(_SOFT, scale=2.0),
    "patch tile, scale 2": Arm("patchtile", scale=2.0),
}


class Images:
    """Digits on textures.

    Attributes:
        textures: ``(N, 1, 16, 16)``.
        digits: ``(N, 1, 16, 16)``, to be added to them.
        labels: What is to be read from an image: ``digit`` and ``texture``, each ``(N,)``.
    """

    def __init__(self, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        digits = load_digits()
        pixels = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
        self.digits = F.interpolate(pixels, SIZE, mode="bilinear")
        angle, phase, cycles = torch.rand(3, len(pixels), 1, 1, generator=draws)
        y, x = torch.meshgrid(*[torch.arange(SIZE) / SIZE] * 2, indexing="ij")
        along = x * (math.pi * angle).cos() + y * (math.pi * angle).sin()
        self.textures = (2 * math.pi * ((2 + 3 * cycles) * along + phase)).sin().unsqueeze(1)
        self.labels = {
            "digit": torch.from_numpy(digits.target),
            "texture": (angle.flatten() * TEXTURES).long(),
        }

    def view(self, chosen: Tensor, draws: torch.Generator, *, swapped: bool = False) -> Tensor:
        """Return views of images: shifted, brighter or darker, with noise; with ``swapped`` under another's digit."""
        digits = self.digits[chosen.roll(1) if swapped else chosen]
        images: Tensor = self.textures[chosen] + digits
        shifts = torch.randint(-2, 3, (len(chosen), 2), generator=draws)
        gain, lift = torch.rand(2, len(chosen), 1, 1, 1, generator=draws)
        noise = 0.1 * torch.randn(images.shape, generator=draws)
        view: Tensor = nda.functional.roll(images, shifts) * (0.6 + 0.8 * gain) + 0.4 * (lift - 0.5) + noise
        return view


class Encoder(nn.Sequential):
    """Images to features ``(B, 64)``."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(64 * 4, 64), nn.ReLU())


def run(arm: Arm, seed: int, steps: int) -> dict[str, float]:
    """Train an encoder and return the share of held-out images whose digit, and whose texture, a linear model reads.

    ``similarity`` is how near the encoder holds an image and its negatives at the end, from -1 to 1.
    """
    draws = torch.Generator().manual_seed(seed)
    images = Images(seed)
    order = torch.randperm(len(images.digits), generator=draws)
    training, held_out = order[:_TRAINING], order[_TRAINING:]
    with seeded(seed):
        encoder, head = Encoder(), nn.Linear(64, 32)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 2e-3)
    negatives = _negatives(arm, images)
    last: dict[str, float] = {}
    for step in range(steps):
        # Draws of their own, so that an arm with negatives sees the views of the plain one.
        views, others = (torch.Generator().manual_seed(2 * (seed * steps + step) + which) for which in (0, 1))
        chosen = training[torch.randint(len(training), (_BATCH,), generator=views)]
        pair = [images.view(chosen, views) for _ in range(2)]
        made = negatives(chosen, pair[0], others)
        z0, z1, *rest = head(encoder(torch.cat([*pair, *made]))).split(_BATCH)
        z = torch.stack(rest, dim=1) if rest else None
        loss = nda.losses.nt_xent(
            z0, z1, negatives=z, temperature=0.2, negative_weight=arm.weight, negative_scale=arm.scale
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if z is not None and step == steps - 1:
            last["similarity"] = F.cosine_similarity(z0.unsqueeze(1), z, dim=-1).mean().item()
    return last | _read(encoder.eval(), images, training, held_out)


def _negatives(arm: Arm, images: Images) -> Callable[[Tensor, Tensor, torch.Generator], list[Tensor]]:
    """Return what makes an arm's negatives of the images numbered, given a view of each."""
    if arm.policy is None:
        return lambda chosen, view, draws: []
    if arm.policy == "swap":
        return lambda chosen, view, draws: [images.view(chosen, draws, swapped=True) for _ in range(arm.count)]
    transform = nda.from_policy(arm.policy)
    return lambda chosen, view, draws: [transform(view, generator=draws) for _ in range(arm.count)]


@torch.no_grad()
def _read(encoder: nn.Module, images: Images, training: Tensor, held_out: Tensor) -> dict[str, float]:
    features = encoder(images.textures + images.digits)
    scores = {}
    for name, labels in images.labels.items():
        model = LogisticRegression(max_iter=300).fit(features[training], labels[training])
        scores[name] = float(model.score(features[held_out], labels[held_out]))
    return scores


def table(results: Mapping[str, list[dict[str, float]]]) -> Table:
    """Mean and spread of each arm's results, and of the digit's differences from the plain arm, seed by seed."""
    shown = Table(
        "arm", "digit %", "− plain", "texture %", "similarity", title=f"Digits on textures, {len(SEEDS)} seeds"
    )
    plain = [100 * one["digit"] for one in results["plain"]]
    for arm, runs in results.items():
        digit, texture = ([100 * one[name] for one in runs] for name in ("digit", "texture"))
        differences = [own - other for own, other in zip(digit, plain, strict=True)]
        alike = [one["similarity"] for one in runs if "similarity" in one]
        cells = [spread(digit, 1), spread(differences, 1), spread(texture, 1), spread(alike, 2) if alike else ""]
        shown.add_row(arm, *cells)
    return shown


def main(
    steps: Annotated[int, typer.Option(help="Of training")] = 300,
    output: Annotated[Path, typer.Option(help="Folder to write to")] = Path("runs/theory/shortcut"),
) -> None:
    """Whether negatives make a contrastive encoder learn digits that textures outshine."""
    output.mkdir(parents=True, exist_ok=True)
    results = {arm: [run(settings, seed, steps) for seed in SEEDS] for arm, settings in ARMS.items()}
    report = {arm: {"settings": asdict(ARMS[arm]), "runs": runs} for arm, runs in results.items()}
    (output / "shortcut.json").write_text(json.dumps({"steps": steps, "arms": report}, indent=2))
    console.print(table(results))


if __name__ == "__main__":
    typer.run(main)
