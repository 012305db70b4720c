import torch
from PIL import Image

from examples.gan import comparison


def test_a_comparison_of_runs_with_and_without_a_negative_term(tmp_path):
    rows = [{"step": i, "real": 1.0, "fake": 0.5, "generator": 0.2, "gap": 0.1} for i in (1, 2)]
    images = torch.zeros(20, 1, 8, 8)
    path = tmp_path / "a.png"
    comparison.save_comparison(
        path, images, {"a": images, "b": images}, {"a": rows, "b": [{**row, "negative": 0.3} for row in rows]}, "title"
    )
    with Image.open(path) as picture:
        assert picture.size[0] > 1000
