"""What negatives cost a discriminator's step of `examples.gan`, in both modes, and how much of that the transforms are.

A step is all that the trainer does in it: draw a batch, generate, make the negatives, judge, go back, update. Plain is
λ = 1. In the separate mode the discriminator judges a third batch; in replacement mode each generated image gives way
to a negative with probability 1 − λ, and it judges two as before.
How far a second plain step is from the first says how much of the other ratios is noise. On a CPU it is processor time
that is counted, which nobody else on the machine can take up.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.timing import interleaved, median_ms, ratio
from examples.common import data
from examples.common.data import Images
from examples.gan import config
from examples.gan.train import Training

NETWORKS = {"DCGAN": "deep_conv", "SNGAN": "resnet", "BigGAN": "big_resnet"}
POLICIES = ("jigsaw", "jigsaw,stitch,cutout,mixup")
SIDE, BATCH = 32, 64
# The papers' widths ask for a GPU; at a quarter the networks, and so the steps, are about a sixteenth.
WIDTH = {"cuda": 64, "cpu": 16}


def rows(device: torch.device, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per network and policy."""
    pixels = torch.randint(0, 256, (4 * BATCH, 3, SIDE, SIDE), dtype=torch.uint8)
    images = Images(pixels, torch.arange(len(pixels)) % 10)
    for network in NETWORKS:
        for policy in POLICIES:
            yield _row(network, policy, images, device, rounds)


def _row(network: str, policy: str, images: Images, device: torch.device, rounds: int) -> dict[str, Any]:
    arms = {"plain": ["AUG.apply_nda=false"], "separate": [], "replacement": ["LOSS.nda_mode=replace"]}
    runs = {arm: _run(network, policy, images, device, words) for arm, words in arms.items()}
    negatives = runs["separate"].negatives
    batch = Images(data.normalize(images.images[:BATCH].to(device)), None)
    functions = {arm: run.discriminator_steps for arm, run in runs.items()}
    functions["plain again"] = functions["plain"]
    clock, name = (time.process_time, "processor") if device.type == "cpu" else (time.perf_counter, "wall")
    seconds = interleaved({**functions, "transforms": lambda: negatives.of(batch, 0)}, rounds, clock=clock)
    return {
        "network": network,
        "negatives": policy,
        "shape": f"{BATCH}x3x{SIDE}x{SIDE}",
        "device": device.type,
        "clock": name,
        "plain step, ms": median_ms(seconds, "plain"),
        "plain again / plain": ratio(seconds, "plain again", "plain"),
        "separate / plain": ratio(seconds, "separate", "plain"),
        "replacement / plain": ratio(seconds, "replacement", "plain"),
        "transforms, ms": median_ms(seconds, "transforms"),
        "transforms / plain, %": 100 * ratio(seconds, "transforms", "plain"),
    }


def _run(network: str, policy: str, images: Images, device: torch.device, words: list[str]) -> Training:
    width = WIDTH[device.type]
    sizes = [f"DATA.img_size={SIDE}", f"MODEL.g_conv_dim={width}", f"MODEL.d_conv_dim={width}"]
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    named = [f"MODEL.backbone={NETWORKS[network]}", f"RUN.accelerator={accelerator}"]
    negatives = ["AUG.apply_nda=true", f"AUG.nda_policy={policy}"]
    settings = config.load(None, [*sizes, *named, *negatives, f"OPTIMIZATION.batch_size={BATCH}", *words])
    return Training(settings, images)
