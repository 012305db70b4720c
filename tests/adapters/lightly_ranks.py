"""What one of two ranks does in the tests of Lightly's losses across ranks."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from nda_augment.adapters.lightly import NDADCLLoss, NDANTXentLoss
from tests.losses.ranks import leave

WORLD_SIZE = 2
IMAGES = 6
BANK = (8, 4)

Measured = dict[str, tuple[Tensor, Tensor, Tensor]]


def criteria(gather: bool) -> dict[str, nn.Module]:
    """Each loss in each of its forms; the bank starts alike everywhere."""
    found: dict[str, nn.Module] = {}
    for scope in ("own", "batch"):
        torch.manual_seed(0)
        found[f"in batch, {scope}"] = NDANTXentLoss(0.5, 0, gather, scope=scope)
        found[f"bank, {scope}"] = NDANTXentLoss(0.5, BANK, gather, scope=scope, negative_gradient=True)
        found[f"decoupled, {scope}"] = NDADCLLoss(0.5, None, gather, scope=scope)
    return found


def make_batch() -> Tensor:
    """Two views and a negative of each image, before the encoder: ``(3, IMAGES, 5)``."""
    return torch.randn(3, IMAGES, 5, generator=torch.Generator().manual_seed(1))


def make_mask(columns: int) -> Tensor:
    """Which candidates count for each image: ``(IMAGES, columns)``."""
    return torch.rand(IMAGES, columns, generator=torch.Generator().manual_seed(3)) < 0.7


def measure(batch: Tensor, gather: bool, rank: int = 0) -> Measured:
    """Value, gradient, both averaged over the ranks, and the bank that each loss leaves; with a mask and without."""
    measured = {}
    for masked in (False, True):
        for name, criterion in criteria(gather).items():
            torch.manual_seed(2)
            encoder = nn.Linear(5, 4)
            out0, out1, negatives = (encoder(views) for views in batch)
            mask = make_mask(BANK[0] if "bank" in name else IMAGES).split(len(out0))[rank]
            loss = criterion(out0, out1, negatives, candidate_mask=mask if masked else None)
            loss.backward()
            gradient = torch.cat([parameter.grad.flatten() for parameter in encoder.parameters()])
            bank = criterion.memory_bank.bank if "bank" in name else torch.empty(0)
            measured[f"{name}, masked: {masked}"] = (average(loss.detach()), average(gradient), bank)
    return measured


def average(value: Tensor) -> Tensor:
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= WORLD_SIZE
    return value


def run(rank: int, folder: Path) -> None:
    """Measure this rank's share and leave the result in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=WORLD_SIZE)
    torch.save(measure(make_batch().chunk(WORLD_SIZE, dim=1)[rank], gather=True, rank=rank), folder / f"{rank}.pt")
    leave()
