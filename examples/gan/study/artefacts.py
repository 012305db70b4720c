"""What generators make that they were forbidden: ``python -m examples.gan.study.artefacts FOLDER --data PATH``.

For each kind of negative a small classifier learns to tell real images from it. It looks at what the generators of each
arm made in the end, with a threshold that takes one held-out image in twenty for a negative.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from examples.gan.study import data, report
from examples.gan.study.measures import Classifier
from examples.gan.study.settings import SETTINGS
from nda_augment._seeding import seeded

KINDS = ("mixup", "cutmix", "jigsaw", "stitch")
_STEPS = 400
_FALSE = 0.05


def detector(images: Tensor, policy: str) -> nn.Module:
    """A classifier whose logits are high on negatives of a policy and low on real images."""
    draws = torch.Generator().manual_seed(0)
    negatives = nda.from_policy(policy)
    with seeded(0):
        network = Classifier(images.shape[1], classes=1)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(_STEPS):
        real = images[torch.randint(len(images), (64,), generator=draws)]
        logits = network(torch.cat([real, negatives(real, generator=draws)])).squeeze(1)
        wanted = torch.cat([torch.zeros(64), torch.ones(64)])
        optimizer.zero_grad()
        torch.autograd.backward(F.binary_cross_entropy_with_logits(logits, wanted))
        optimizer.step()
    return network.eval()


@torch.no_grad()
def shares(folder: Path, setting: str, split: data.Split) -> dict[str, dict[str, list[float]]]:
    """Per arm and kind of negative, the share of each seed's images that are taken for one; and of real negatives."""
    made = {path.name.split(".")[1]: torch.load(path) / 127.5 - 1 for path in sorted(folder.glob(f"{setting}.*.pt"))}
    found: dict[str, dict[str, list[float]]] = {arm: {} for arm in [*made, "negatives"]}
    for kind in KINDS:
        with torch.enable_grad():
            network = detector(split.images, kind)
        threshold = network(split.held_out).quantile(1 - _FALSE)
        drawn = nda.from_policy(kind)(split.held_out, generator=torch.Generator().manual_seed(1))
        for arm, runs in {**made, "negatives": drawn.unsqueeze(0)}.items():
            found[arm][kind] = [(network(images) > threshold).double().mean().item() for images in runs]
    return found


def main(
    folder: Annotated[Path, typer.Argument(help="Where the runs are")],
    path: Annotated[Path, typer.Option("--data", help="Folder with mnist/ and cifar10/")],
    setting: Annotated[str, typer.Option(help="Which of them")] = "many",
) -> None:
    """Print, for each arm, how much of what it makes is taken for each kind of negative, in percent."""
    print(f"| arm | {' | '.join(KINDS)} |\n|{' --- |' * (len(KINDS) + 1)}")
    for arm, kinds in shares(folder, setting, data.load(SETTINGS[setting].data, path)).items():
        print(f"| {arm} | {' | '.join(report.spread([100 * one for one in kinds[kind]], 1) for kind in KINDS)} |")


if __name__ == "__main__":
    typer.run(main)
