import numpy as np
import pytest
import torch
from PIL import Image

from examples.common.photographs import load_photographs
from examples.translation import config, data


def source(*words):
    return config.load(None, ["DATA.img_size=16", *words]).DATA


def test_shipped_photographs_are_cropped_and_no_pixel_is_in_both_parts():
    training, held_out = data.load(source())
    assert training.photographs.shape == (4 * 13 * 9, 3, 16, 16)
    assert held_out.edges.shape == (4 * 13 * 1, 1, 16, 16)
    photographs, names = load_photographs(64)
    astronaut = photographs[names.index("astronaut")] * 2 - 1
    torch.testing.assert_close(training.photographs[0], astronaut[:, :16, :16])
    torch.testing.assert_close(training.photographs[9 + 8], astronaut[:, 4:20, 32:48])
    torch.testing.assert_close(held_out.photographs[12], astronaut[:, 48:, 48:])
    seen = {column.numpy().tobytes() for column in training.photographs.permute(0, 3, 1, 2).flatten(0, 1)}
    assert not any(column.numpy().tobytes() in seen for column in held_out.photographs[:13].permute(0, 3, 1, 2)[:, -1])


def test_edges_are_where_the_image_changes():
    image = torch.full((1, 3, 16, 16), -1.0)
    image[..., 8:] = 1.0
    edges = data.find_edges(image, source())
    assert edges.shape == (1, 1, 16, 16)
    assert set(edges.unique().tolist()) == {-1.0, 1.0}
    columns = (edges[0, 0, 4:12] > 0).any(dim=0).nonzero().flatten().tolist()
    assert columns
    assert set(columns) <= {7, 8}


def test_flat_images_have_no_edges_and_thresholds_count():
    assert (data.find_edges(torch.zeros(2, 3, 8, 8), source()) == -1).all()
    faint = torch.zeros(1, 3, 16, 16)
    faint[..., 8:] = 0.1
    lenient = source("DATA.low_threshold=0.001", "DATA.high_threshold=0.002")
    assert (data.find_edges(faint, source()) == -1).all()
    assert (data.find_edges(faint, lenient) == 1).any()


def test_a_folder_becomes_pairs(tmp_path):
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    training, held_out = data.load(source("DATA.name=folder", f"DATA.path={tmp_path}"))
    assert (len(training), len(held_out)) == (6, 2)
    assert training.photographs.shape == (6, 3, 16, 16)
    assert training.photographs.min() >= -1
    assert training.photographs.max() <= 1
    torch.testing.assert_close(training.edges, data.find_edges(training.photographs, source()))


def test_indexing_keeps_pairs_together():
    training, _ = data.load(source())
    chosen = training[torch.tensor([5, 3])]
    assert len(chosen) == 2
    assert torch.equal(chosen.edges[1], training.edges[3])
    assert torch.equal(chosen.photographs[1], training.photographs[3])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("DATA.name=photos", "DATA.name must be one of photographs, folder, got 'photos'"),
        ("DATA.name=folder", "DATA.name=folder needs DATA.path"),
        ("DATA.img_size=48", "must be one of 16, 32, 64, 128, 256, got 48"),
        ("DATA.low_threshold=0.3", "in order, .* got 0.3 and 0.2"),
        ("DATA.sise=3", "unknown key 'DATA.sise'; the nearest known one is 'DATA.img_size'"),
        ("LOSS.nda_fake_weight=0", r"LOSS.nda_fake_weight must be in \(0, 1\], got 0"),
        ("LOSS.l1_lambda=-1", "LOSS.l1_lambda must be at least 0"),
        ("AUG.nda_policy=jigsow", "AUG.nda_policy: .*jigsow"),
        ("AUG.nda_policy=frameshuffle", "works on clips"),
        ("RUN.precision=fp8", "RUN.precision must be one of"),
        ("OPTIMIZATION.batch_size=0", "must be at least 1"),
    ],
)
def test_bad_settings_are_refused(word, message):
    with pytest.raises(config.ConfigError, match=message):
        source(word)
