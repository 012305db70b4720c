import pytest
import torch
from PIL import Image

from examples.common import pictures


def test_a_grid_is_the_images_in_reading_order():
    images = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    grid = pictures.grid(images, columns=3, scale=1)
    # Rows and columns of two pixels, lines between them, an empty place at the end.
    assert grid.shape == (1, 5, 8)
    assert grid[0, 0].tolist() == [0, 0, 255, 64, 64, 255, 128, 128]
    assert grid[0, 3].tolist() == [191, 191, 255, 255, 255, 255, 255, 255]
    assert pictures.grid(images, columns=5, scale=3).shape == (1, 6, 5 * 7 - 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_png(tmp_path, channels):
    picture = torch.randint(0, 256, (channels, 4, 6), dtype=torch.uint8)
    pictures.save_png(picture, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.size == (6, 4)
        assert image.getpixel((5, 1)) == tuple(picture.expand(3, -1, -1)[:, 1, 5].tolist())
