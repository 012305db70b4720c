"""Runs shipped configurations of a real StudioGAN checkout for a step on the CPU, plain and with negatives.

``python -m tests.adapters.studiogan_real CHECKOUT NAME ...`` prints one line of JSON per configuration. It is a process
of its own since the names of StudioGAN's modules (config, utils, models) are anybody's. Nothing of the checkout is
changed; what keeps it from running on a CPU is set from outside, in ``make_worker``.
"""

import json
import sys
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace as Section
from typing import Any

import torch
from torch import Tensor

from nda_augment.adapters.studiogan import attach, detach
from nda_augment.losses import discriminator_loss

BATCH, REPEATS = 4, 2
KINDS = {"logistic": "softplus", "vanilla": "softplus", "least_square": "least_squares"}
RUN = {
    "train": True,
    "mixed_precision": False,
    "distributed_data_parallel": False,
    "synchronized_bn": False,
    "batch_statistics": False,
    "langevin_sampling": False,
    "freezeD": -1,
    "empty_cache": False,
    "truncation_cutoff": None,
}


def read_configuration(path: Path) -> Any:
    cfgs = import_module("config").Configurations(str(path))
    cfgs.update_cfgs(RUN, super="RUN")
    cfgs.OPTIMIZATION.batch_size = BATCH
    cfgs.OPTIMIZATION.acml_steps = min(cfgs.OPTIMIZATION.acml_steps, REPEATS)
    cfgs.OPTIMIZATION.d_updates_per_step = min(cfgs.OPTIMIZATION.d_updates_per_step, REPEATS)
    cfgs.OPTIMIZATION.world_size = 1
    # Adam no longer takes the whole number 0 that some files have here.
    cfgs.OPTIMIZATION.beta1 = float(cfgs.OPTIMIZATION.beta1)
    return cfgs


def baskets(cfgs: Any) -> list[tuple[Tensor, Tensor]]:
    data, optimisation = cfgs.DATA, cfgs.OPTIMIZATION
    generator = torch.Generator().manual_seed(3)
    count = optimisation.batch_size * optimisation.acml_steps * optimisation.d_updates_per_step
    shape = (count, data.img_channels, data.img_size, data.img_size)
    images = torch.rand(shape, generator=generator) * 2 - 1
    return [(images, torch.arange(count) % data.num_classes)] * 4


def make_worker(path: Path) -> Any:
    torch.manual_seed(0)
    cfgs = read_configuration(path)
    networks = import_module("models.model").load_generator_discriminator(
        DATA=cfgs.DATA,
        OPTIMIZATION=cfgs.OPTIMIZATION,
        MODEL=cfgs.MODEL,
        STYLEGAN=cfgs.STYLEGAN,
        MODULES=cfgs.MODULES,
        RUN=cfgs.RUN,
        device="cpu",
        logger=None,
    )
    names = ("Gen", "Gen_mapping", "Gen_synthesis", "Dis", "Gen_ema", "Gen_ema_mapping", "Gen_ema_synthesis", "ema")
    built = dict(zip(names, networks, strict=True))
    cfgs.define_optimizer(built["Gen"], built["Dis"])
    starts = (cfgs.AUG.ada_initial_augment_p, cfgs.AUG.apa_initial_augment_p)
    absent = ("eval_model", "eval_dataloader", "mu", "sigma", "real_feats", "logger", "best_fid", "best_ckpt_path")
    worker = import_module("worker").WORKER(
        cfgs=cfgs,
        run_name="test",
        **built,
        train_dataloader=baskets(cfgs),
        # Rank 0 is the one that logs to the network.
        global_rank=1,
        local_rank="cpu",
        aa_p=next((start for start in starts if start != "N/A"), "N/A"),
        best_step=0,
        lecam_emas=None,
        num_eval={},
        loss_list_dict={},
        metric_dict_during_train={},
        **dict.fromkeys(absent),
    )
    for name in ("cond_loss", "cond_loss_mi"):
        if hasattr(getattr(worker, name, None), "master_rank"):
            getattr(worker, name).master_rank = "cpu"
    worker.training, worker.topk = True, BATCH
    worker.prepare_train_iter(epoch_counter=0)
    return worker


def step(worker: Any) -> Section:
    """Train both players once and return all that it leaves behind."""
    torch.manual_seed(1)
    passes: list[Tensor] = []
    losses: list[tuple[Tensor, list[Tensor]]] = []
    stock = worker.LOSS.d_loss

    def record(module: Any, args: Any, output: dict[str, Tensor]) -> None:
        passes.append(output["adv_output"].detach())

    def d_loss(*args: Any, **kwargs: Any) -> Tensor:
        before = len(passes)
        loss = stock(*args, **kwargs)
        losses.append((loss.detach().clone(), passes[before - 2 : before] + passes[before:]))
        return loss

    handle = worker.Dis.register_forward_hook(record)
    worker.LOSS.d_loss = d_loss
    worker.train_discriminator(current_step=0)
    worker.train_generator(current_step=0)
    worker.LOSS.d_loss = stock
    handle.remove()
    networks = {"Gen": worker.Gen, "Dis": worker.Dis}
    values = {
        f"{name}.{key}": value.clone() for name, net in networks.items() for key, value in net.state_dict().items()
    }
    return Section(values=values, rng=torch.get_rng_state(), passes=len(passes), losses=losses)


def expected_loss(worker: Any, logits: list[Tensor]) -> Tensor:
    real, fake, negative = logits
    kind = worker.LOSS.adv_loss
    if kind == "MH":
        return 0.25 * worker.LOSS.d_loss(fake, worker.lossy, False) + 0.75 * worker.LOSS.d_loss(
            negative, worker.lossy, False
        )
    return discriminator_loss(real, fake, negative, kind=KINDS.get(kind, kind), fake_weight=0.25)


def same(one: Section, other: Section) -> bool:
    return torch.equal(one.rng, other.rng) and all(
        torch.equal(value, other.values[name]) for name, value in one.values.items()
    )


def check(path: Path) -> dict[str, Any]:
    plain = make_worker(path)
    stock = step(plain)

    switched_off = make_worker(path)
    attach(switched_off, "jigsaw,stitch", fake_weight=1)
    off = step(switched_off)

    worker = make_worker(path)
    attach(worker, "jigsaw,stitch", fake_weight=0.25)
    on = step(worker)
    with_negatives = [(loss, logits) for loss, logits in on.losses if len(logits) == 3]
    errors = [float((loss - expected_loss(plain, logits)).abs()) for loss, logits in with_negatives]
    finite = all(bool(value.isfinite().all()) for value in on.values.values() if value.is_floating_point())
    detach(worker)
    again = step(worker)
    updates = worker.OPTIMIZATION.acml_steps * worker.OPTIMIZATION.d_updates_per_step
    return {
        "stock_at_one": same(stock, off) and stock.passes == off.passes,
        "negatives": len(errors) == updates and on.passes == stock.passes + updates,
        "error": max(errors, default=float("nan")),
        "finite": finite,
        "changes": not same(stock, on),
        "detached": again.passes == stock.passes,
    }


def main(checkout: str, *names: str) -> None:
    sys.path.insert(0, str(Path(checkout) / "src"))
    warnings.simplefilter("ignore")
    for name in names:
        start = time.perf_counter()
        try:
            report = check(Path(checkout) / "src" / "configs" / "CIFAR10" / f"{name}.yaml")
        except Exception as error:
            report = {"exception": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        print(json.dumps({"name": name, "seconds": round(time.perf_counter() - start, 1), **report}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
