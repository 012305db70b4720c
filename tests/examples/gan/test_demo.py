import json
import os

import pytest
from PIL import Image

from examples.gan import demo
from examples.gan.generation import CHECKPOINT
from nda_augment._files import load_checkpoint

BUDGET = [
    "OPTIMIZATION.total_steps=2",
    "RUN.accelerator=cpu",
    "RUN.print_freq=1",
    "MODEL.g_conv_dim=4",
    "MODEL.d_conv_dim=4",
]


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    with demo.console.capture() as capture:
        demo.demo(folder, BUDGET, classifier_epochs=1)
    return folder, capture.get()


@pytest.fixture
def states(tour):
    return [load_checkpoint(tour[0] / arm / CHECKPOINT, {}) for arm in ("plain", "nda")]


def test_pictures(tour):
    for name in ("gallery.png", "comparison.png"):
        with Image.open(tour[0] / name) as picture:
            assert min(picture.size) > 400


def test_numbers(tour):
    folder, output = tour
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["rows"])[-2:] == ["plain", "jigsaw, λ = 0.75"]
    assert (metrics["n"], metrics["feature_dim"], metrics["nearest_k"]) == (898, 64, 5)
    for scores in metrics["rows"].values():
        assert {"frechet", "precision", "recall", "density", "coverage", "forbidden"} <= set(scores)
        assert scores["frechet"] is None or f"{scores['frechet']:.3f}" in output


def test_the_terminal_names_the_files(tour):
    assert all(str(tour[0] / name) in tour[1] for name in ("gallery.png", "comparison.png", "metrics.json"))


def test_arms_differ_in_the_negatives_only(states):
    plain, nda = (state["config"] for state in states)
    assert (plain["AUG"].pop("apply_nda"), nda["AUG"].pop("apply_nda")) == (False, True)
    assert plain["RUN"].pop("save_dir") != nda["RUN"].pop("save_dir")
    assert plain == nda


def test_arms_start_from_the_same_weights_and_see_the_same_images(states):
    plain, nda = (state["history"][0] for state in states)
    assert (plain["real"], plain["fake"]) == (nda["real"], nda["fake"])


def test_a_trained_arm_is_kept_unless_its_settings_changed(tour):
    folder = tour[0] / "plain"
    before = os.stat(folder / CHECKPOINT).st_mtime_ns
    demo._train_arm(folder, [*BUDGET, "AUG.apply_nda=false"])
    assert os.stat(folder / CHECKPOINT).st_mtime_ns == before
    demo._train_arm(folder, [*BUDGET, "AUG.apply_nda=false", "OPTIMIZATION.total_steps=1", "RUN.seed=1"])
    assert load_checkpoint(folder / CHECKPOINT, {})["step"] == 1
