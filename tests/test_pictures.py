import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from nda_augment.pictures import image_files, read_image, read_images

RAMP = np.linspace(0, 65535, 256).reshape(16, 16)


def corners():
    """Four squares of a colour each: red, green / blue, black."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4, 0] = pixels[:4, 4:, 1] = pixels[4:, :4, 2] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, suffix, order):
    Image.fromarray(RAMP.astype(np.uint16).astype(order)).save(tmp_path / f"a{suffix}")
    found = read_image(tmp_path / f"a{suffix}")
    assert torch.equal(
        found, torch.from_numpy((RAMP.astype(np.uint16) / 257).round().astype(np.uint8)).expand(3, -1, -1)
    )


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_known_range_are_refused_with_what_would_do(tmp_path, dtype):
    Image.fromarray(RAMP.astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="no known range; bring them to 0 to 255 and save them as 8 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_read_as_it_was_seen(tmp_path, orientation):
    """The tag says how the picture on the sensor has to be turned; undone by Pillow's own table."""
    upright = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    turned = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])
    stored = upright
    for step in turned:
        stored = stored.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "a.png"), torch.from_numpy(np.array(upright)).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_hidden_colours_stay_hidden(tmp_path, mode):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((90, 90, 90, 0), (0, 0, 8, 4))
    if mode == "P":
        image = image.convert("RGB").quantize(4)
        image.save(tmp_path / "a.png", transparency=image.getpixel((0, 0)))
    else:
        image.convert(mode).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert (found[:, :4] == 255).all()
    assert (found[:, 4:] == 0).all()


@pytest.mark.parametrize("suffix", [".jfif", ".jp2", ".ppm", ".tga", ".PNG", ".webp", ".bmp", ".gif"])
def test_these_are_read(tmp_path, suffix):
    form = {".jfif": "JPEG"}.get(suffix)
    Image.new("RGB", (9, 8), (255, 255, 255)).save(tmp_path / f"a{suffix}", format=form)
    assert image_files(tmp_path) == [tmp_path / f"a{suffix}"]
    assert (read_image(tmp_path / f"a{suffix}", 4) == 255).all()


@pytest.mark.parametrize("name", ["a.eps", "a.png"])
def test_no_other_program_is_started_whatever_a_file_is_called(tmp_path, monkeypatch, name):
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.eps")
    (tmp_path / "picture.eps").rename(tmp_path / name)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    (unreadable,) = read_images(image_files(tmp_path), 8)
    assert "not a readable image (none of BMP" in str(unreadable)


@pytest.mark.parametrize("limit", [60, 100], ids=["error", "warning"])
def test_too_many_pixels_are_refused(tmp_path, monkeypatch, limit):
    Image.new("L", (16, 9)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    warnings.simplefilter("ignore")  # as outside of tests, where nothing turns warnings into errors
    with pytest.raises(ValueError, match=f"more than the {limit} pixels"):
        read_image(tmp_path / "a.png")


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cat" / "round").symlink_to(tmp_path / "set")
    assert [file.name for file in image_files(tmp_path / "set")] == ["a.png"]


def test_large_photographs_are_decoded_at_the_size_that_is_needed(tmp_path, monkeypatch):
    corners().resize((1600, 1200), Image.Resampling.NEAREST).save(tmp_path / "a.jpg", quality=95)
    sizes = []
    fit = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, *a, **k: sizes.append(self.size) or fit(self, *a, **k))
    found = read_image(tmp_path / "a.jpg", 32)
    assert sizes == [(200, 150)]
    assert found[:, 4, 4].tolist() == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89PNG\r\n\x1a\n cut"], ids=["empty", "text", "cut"])
def test_what_is_no_image_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    (unreadable,) = read_images([tmp_path / "a.png"], 8)
    assert str(unreadable).startswith(f"{tmp_path / 'a.png'}: not a readable image")
