import json

import numpy as np
import pytest
from PIL import Image

from examples.gan import config, measure


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Three tiny runs, scored after each of two stages; the third was added to the other two."""
    folder = tmp_path_factory.mktemp("measure")
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images, labels=np.arange(60) % 2)
    words = [
        "DATA.name=npz", f"DATA.path={folder / 'images.npz'}", "DATA.img_size=8", "DATA.holdout=0.5",
        "MODEL.z_dim=4", "MODEL.g_conv_dim=4", "MODEL.d_conv_dim=4", "OPTIMIZATION.total_steps=4",
        "OPTIMIZATION.batch_size=6", "RUN.print_freq=1", f"RUN.save_dir={folder / 'runs'}",
    ]  # fmt: skip
    measure.measure(measure.CONFIG, words, {"plain": 2}, 2, 1)
    arguments = measure.CONFIG, words, {"cutout": 1}, 2, 1
    return measure.measure(*arguments), arguments


def results(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}


def test_a_run_leaves_one_file_with_the_scores_of_its_stages(measured):
    found = results(measured[0])
    assert sorted(found) == ["cutout-0", "plain-0", "plain-1"]
    for result in found.values():
        assert result["n"] == 30
        assert [stage["step"] for stage in result["stages"]] == [2, 4]
        for stage in result["stages"]:
            assert stage["frechet"] > 0
            assert 0 <= stage["coverage"] <= 1
            assert set(stage["forbidden"]) == {"jigsaw", "cutout"}
            assert stage["seconds"]["wall"] > 0
    configs = {name: result["config"] for name, result in found.items()}
    assert configs["plain-0"]["AUG"]["apply_nda"] is False
    assert configs["cutout-0"]["AUG"]["nda_policy"] == "cutout"
    assert {name: each["RUN"]["seed"] for name, each in configs.items()} == {"plain-0": 0, "plain-1": 1, "cutout-0": 0}
    assert config.load(measured[0] / "plain-1" / "config.yaml").OPTIMIZATION.total_steps == 4


def test_the_report_is_made_of_the_results(measured):
    folder, found = measured[0], results(measured[0])
    text = (folder / "report.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in text[2:4]] == ["plain", "cutout"]
    plain = [found[f"plain-{seed}"]["stages"][-1]["frechet"] for seed in (0, 1)]
    assert f"{np.mean(plain):.2f} ± {np.std(plain, ddof=1):.2f}" in text[2]
    cutout = found["cutout-0"]["stages"][-1]
    assert f"| {cutout['frechet']:.2f} |" in text[3]
    of_plain = [100 * found[f"plain-{seed}"]["stages"][-1]["forbidden"]["cutout"] for seed in (0, 1)]
    shares = f"{np.mean(of_plain):.1f} ± {np.std(of_plain, ddof=1):.1f}"
    assert f"| {100 * cutout['forbidden']['cutout']:.1f} | {shares} |" in text[3]
    for name in ("curves.jpg", "samples.jpg"):
        with Image.open(folder / name) as picture:
            assert picture.size[0] > 100


def test_references_stand_beside_the_arms(measured):
    folder, found = measured[0], results(measured[0])
    text = (folder / "report.md").read_text().splitlines()
    real = found["cutout-0"]["references"]["real (held out)"]["forbidden"]
    assert set(real) == {"jigsaw", "cutout"}
    assert text[3].split(" | ")[-3] == f"{100 * real['cutout']:.1f}"
    for line, name in zip(text[4:], ("real (training)", "negatives (held out)"), strict=True):
        row = found["cutout-0"]["references"][name]
        assert line.startswith(
            f"| *{name}* |  | {row['frechet']:.2f} | {row['precision']:.3f} | {row['recall']:.3f} | "
        )


def test_what_is_done_is_not_done_again(measured, monkeypatch):
    folder, arguments = measured
    monkeypatch.setattr(measure.train, "train", None)
    monkeypatch.setattr(measure, "score", None)
    before = results(folder)
    measure.measure(*arguments)
    assert results(folder) == before


def test_a_stopped_measurement_goes_on(measured):
    folder, arguments = measured
    before = results(folder)
    for name in ("images-000004.pt", "result.json"):
        (folder / "plain-1" / name).unlink()
    measure.measure(*arguments[:2], {"plain": 2}, *arguments[3:])
    after = results(folder)
    for result in (*before.values(), *after.values()):
        for stage in result["stages"]:
            del stage["seconds"]
    assert after == before


def test_the_time_of_a_stage_that_was_stopped_is_not_known(measured):
    folder, arguments = measured
    result = folder / "plain-1" / "result.json"
    whole = json.loads(result.read_text())["stages"]
    assert whole[0]["seconds"]["cpu"] > 0
    # Its training was through, so what is left of the stage takes no time at all.
    for path in (folder / "plain-1" / "images-000004.pt", result):
        path.unlink()
    measure.measure(*arguments[:2], {"plain": 2}, *arguments[3:])
    found = json.loads(result.read_text())["stages"]
    assert [stage["seconds"] is None for stage in found] == [False, True]
    line = (folder / "report.md").read_text().splitlines()[2]
    alone = json.loads((folder / "plain-0" / "result.json").read_text())["stages"]
    assert line.endswith(f"| {sum(stage['seconds']['cpu'] for stage in alone):.0f} |")


@pytest.mark.parametrize("arm", measure.ARMS)
def test_every_arm_is_a_valid_config(arm):
    settings = config.load(measure.CONFIG, ["DATA.path=somewhere", *measure.ARMS[arm]])
    assert (settings.fake_weight == 1) == arm.startswith("plain")
