"""What one of two ranks does in the tests of Lightly's losses across ranks."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from nda_augment.adapters.lightly import NDADCLLoss, NDANTXentLoss

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


def measure(batch: Tensor, gather: bool) -> Measured:
    """Value, gradient, both averaged over the ranks, and the bank that each loss leaves."""
    measured = {}
    for name, criterion in criteria(gather).items():
        torch.manual_seed(2)
        encoder = nn.Linear(5, 4)
        out0, out1, negatives = (encoder(views) for views in batch)
        loss = criterion(out0, out1, negatives)
        loss.backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in encoder.parameters()])
        bank = criterion.memory_bank.bank if "bank" in name else torch.empty(0)
        measured[name] = (average(loss.detach()), average(gradient), bank)
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
    torch.save(measure(make_batch().chunk(WORLD_SIZE, dim=1)[rank], gather=True), folder / f"{rank}.pt")
    dist.destroy_process_group()
