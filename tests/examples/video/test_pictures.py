from pathlib import Path

import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from examples.video import pictures
from tests.examples.contrastive.test_train import _app

CLIPS = torch.randint(256, (2, 4, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_each_policy_makes_its_own_negatives() -> None:
    negatives = pictures.negatives_of(CLIPS)
    assert list(negatives) == list(pictures.POLICIES)
    assert torch.equal(negatives["framereverse"], CLIPS.flip(1))
    assert all(made.shape == CLIPS.shape and not torch.equal(made, CLIPS) for made in negatives.values())
    again = pictures.negatives_of(CLIPS, ["jigsaw"])["jigsaw"]
    assert torch.equal(again, negatives["jigsaw"])


def test_the_command_line_draws_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "clips.png"
    result = CliRunner().invoke(_app(pictures.main), [str(path), "--count", "2"])
    assert result.exit_code == 0, result.output
    pixels = np.asarray(Image.open(path).convert("L"))
    assert pixels.std() > 20
    assert path.stat().st_size < 150_000
