"""What one of two ranks does in the tests of ``gather_distributed``; imports little, since each rank starts afresh."""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from nda_augment.losses import dcl, dense_info_nce, info_nce, nt_xent, repulsion, sup_con

WORLD_SIZE = 2
IMAGES = 6

Batch = dict[str, Tensor]


def make_batch() -> Batch:
    """Views and negatives before the encoder, and what does not pass through it, of the joined batch."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "x0": normal(IMAGES, 5),
        "x1": normal(IMAGES, 5),
        "negatives": normal(IMAGES, 5),
        "many": normal(IMAGES, 3, 5),
        "queue": normal(7, 4),
        # Which negatives and which other images count; rows are those of a rank, columns those of all.
        "own_mask": torch.rand(IMAGES, 3, generator=generator) < 0.6,
        "shared_mask": torch.rand(IMAGES, IMAGES * 3, generator=generator) < 0.6,
        "candidate_mask": torch.rand(IMAGES, IMAGES, generator=generator) < 0.6,
        "labels": torch.tensor([0, 1, 2, 0, 1, 0]),  # class 2 has one image, and the ranks' classes overlap
    }


def shard(batch: Batch, rank: int) -> Batch:
    """The rows of a rank; the queue is the same everywhere."""
    rows = slice(rank * IMAGES // WORLD_SIZE, (rank + 1) * IMAGES // WORLD_SIZE)
    return {name: value if name == "queue" else value[rows] for name, value in batch.items()}


def make_encoder() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    encoder = nn.Linear(5, 4, dtype=torch.float64)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return encoder


def forms(gather: bool) -> dict[str, Callable[[Batch], Tensor]]:
    """Each loss in each of its forms, by name, as a function of an embedded batch."""

    def supervised(batch: Batch, **settings: Any) -> Tensor:
        return sup_con(batch["x0"], batch["labels"], **settings)

    def two_views(batch: Batch, **settings: Any) -> Tensor:
        return sup_con(torch.stack([batch["x0"], batch["x1"]], 1), batch["labels"], **settings)

    def with_queue(batch: Batch, **settings: Any) -> Tensor:
        return info_nce(batch["x0"], batch["x1"], queue=batch["queue"], **settings)

    def pairs(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda batch, **settings: loss(batch["x0"], batch["x1"], **settings)

    def apply(loss: Callable[..., Tensor], negatives: str, settings: dict[str, Any], batch: Batch) -> Tensor:
        return loss(batch, negatives=batch[negatives], **settings)

    losses = {
        "info_nce": pairs(info_nce),
        "info_nce with a queue": with_queue,
        "nt_xent": pairs(nt_xent),
        "dcl": pairs(dcl),
        "sup_con": supervised,
        "sup_con of two views": two_views,
    }
    found: dict[str, Callable[[Batch], Tensor]] = {}
    for name, loss in losses.items():
        found[name] = partial(loss, gather_distributed=gather)
        for scope, negatives, gradient in product(("own", "batch"), ("negatives", "many"), (True, False)):
            settings = {"scope": scope, "negative_gradient": gradient, "gather_distributed": gather}
            found[f"{name}, {negatives}, {scope}, gradient {gradient}"] = partial(apply, loss, negatives, settings)
    for name, loss in losses.items():
        if name == "info_nce with a queue":
            continue
        found[f"{name}, masks"] = partial(apply_masked, loss, gather)
        hard = {"negative_weight": 0.5, "concentration": 1.0, "feature_modification": 0.1}
        settings = {**hard, "gather_distributed": gather, "scope": "batch"}
        found[f"{name}, concentration"] = partial(apply, loss, "many", settings)
    found["info_nce, in the batch and a queue"] = partial(with_queue, in_batch=True, gather_distributed=gather)
    found["info_nce, decoupled"] = partial(pairs(info_nce), decoupled=True, gather_distributed=gather)
    found["nt_xent of three views"] = partial(three_views, gather_distributed=gather)
    found["dense_info_nce"] = partial(dense, gather_distributed=gather)
    found["dense_info_nce, negatives"] = partial(dense, negatives="negatives", scope="batch", gather_distributed=gather)
    for scope, mask in (("own", "own_mask"), ("batch", "shared_mask")):
        found[f"repulsion, {scope}"] = partial(repelled, mask, scope=scope, gather_distributed=gather)
    return found


def dense(batch: Batch, negatives: str = "", **settings: Any) -> Tensor:
    features = batch["many"][:, :, None]
    given = batch[negatives][:, None, None] if negatives else None
    return dense_info_nce(features.flip(1), features, negatives=given, **settings)


def apply_masked(loss: Callable[..., Tensor], gather: bool, batch: Batch) -> Tensor:
    return loss(
        batch,
        negatives=batch["many"],
        negative_mask=batch["shared_mask"],
        candidate_mask=batch["candidate_mask"],
        scope="batch",
        gather_distributed=gather,
    )


def three_views(batch: Batch, **settings: Any) -> Tensor:
    return nt_xent([batch["x0"], batch["x1"], batch["negatives"]], **settings)


def repelled(mask: str, batch: Batch, **settings: Any) -> Tensor:
    return repulsion(batch["x0"], batch["many"], negative_mask=batch[mask], negative_gradient=True, **settings)


def embed(encoder: nn.Module, batch: Batch) -> Batch:
    """Pass views and negatives through the encoder."""
    names = ("x0", "x1", "negatives", "many")
    return {**batch, **{name: encoder(batch[name]) for name in names}}


def average(value: Tensor) -> Tensor:
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= WORLD_SIZE
    return value


def measure(encoder: nn.Module, batch: Batch, gather: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """Value and gradient of each loss, both averaged over the ranks if there are any.

    For gradients that is what DistributedDataParallel does; the class itself takes seconds to import what it needs.
    """
    measured = {}
    for name, loss in forms(gather).items():
        encoder.zero_grad()
        value = loss(embed(encoder, batch))
        value.backward()
        gradient = torch.cat([p.grad.flatten() for p in encoder.parameters()])
        measured[name] = (average(value.detach()), average(gradient))
    return measured


def run(rank: int, folder: Path) -> None:
    """Measure this rank's share and leave the result in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=WORLD_SIZE)
    torch.save(measure(make_encoder(), shard(make_batch(), rank), gather=True), folder / f"{rank}.pt")
    leave()


def run_unequal(rank: int, folder: Path) -> None:
    """Leave what a rank says when the other holds fewer rows."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=WORLD_SIZE)
    rows = torch.ones(3 - rank, 4)
    try:
        info_nce(rows, rows, gather_distributed=True)
    except ValueError as error:
        (folder / f"{rank}.txt").write_text(str(error))
    leave()


def leave() -> None:
    """End the process group."""
    # With torch 2.5 it waits, the interpreter locked, for threads that may yet need it to let go of the last tensors.
    dist.barrier()
    dist.destroy_process_group()
