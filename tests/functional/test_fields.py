"""Random fields and what they bend, against formulas evaluated pixel by pixel."""

import math
import re

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nda_augment import functional
from nda_augment.functional.fields import gaussian_field, gaussian_field_nodes, perlin_noise
from tests.cases import DTYPES, distinct, generator


class TestGaussianField:
    @pytest.mark.parametrize("correlation", [0.05, 0.15, 0.5, 2.0])
    @pytest.mark.parametrize("size", [(16, 16), (9, 20)], ids=str)
    def test_has_the_covariance_it_says(self, correlation: float, size: tuple[int, int]) -> None:
        # A field is linear in its noise: one unit of noise at a time gives the whole covariance, without sampling.
        nodes = gaussian_field_nodes(correlation)
        units = torch.eye(nodes * nodes, dtype=torch.float64).view(-1, 1, nodes, nodes)
        responses = gaussian_field(units, correlation, size).flatten(1)
        covariance = responses.T @ responses
        y = ((torch.arange(size[0]) + 0.5) / size[0]).view(-1, 1).expand(size).flatten().double()
        x = ((torch.arange(size[1]) + 0.5) / size[1]).view(1, -1).expand(size).flatten().double()
        squared = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
        assert_close(covariance, torch.exp(-squared / (2 * correlation**2)), rtol=0, atol=5e-3)
        assert_close(covariance.diagonal(), torch.ones(size[0] * size[1], dtype=torch.float64))

    def test_agrees_with_a_sum_over_the_nodes(self) -> None:
        correlation, size = 0.4, (3, 5)
        nodes = gaussian_field_nodes(correlation)
        assert nodes == 16  # from -1 to 2 in steps of a fifth
        noise = torch.randn(1, 1, nodes, nodes, generator=generator(0), dtype=torch.float64)

        def weights(length: int, pixel: int) -> list[float]:
            place = (pixel + 0.5) / length
            raw = [math.exp(-(((place + 1 - node / 5) / correlation) ** 2)) for node in range(nodes)]
            return [weight / math.sqrt(sum(w * w for w in raw)) for weight in raw]

        field = gaussian_field(noise, correlation, size)[0, 0]
        for y in range(size[0]):
            for x in range(size[1]):
                rows, cols = weights(size[0], y), weights(size[1], x)
                value = sum(rows[i] * cols[j] * float(noise[0, 0, i, j]) for i in range(nodes) for j in range(nodes))
                assert float(field[y, x]) == pytest.approx(value, abs=1e-9)

    def test_autocast_costs_no_precision(self) -> None:
        noise = torch.randn(1, 1, *(gaussian_field_nodes(0.3),) * 2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            field = gaussian_field(noise, 0.3, (8, 8))
        assert torch.equal(field, gaussian_field(noise, 0.3, (8, 8)))

    def test_fields_are_apart(self) -> None:
        nodes = gaussian_field_nodes(0.3)
        noise = torch.randn(3, 4, nodes, nodes, generator=generator(0))
        together = gaussian_field(noise, 0.3, (8, 6))
        for b in range(3):
            for f in range(4):
                assert_close(together[b, f], gaussian_field(noise[b : b + 1, f : f + 1], 0.3, (8, 6))[0, 0])

    def test_scaled_noise_gives_scaled_fields(self) -> None:
        noise = torch.randn(1, 1, *(gaussian_field_nodes(0.3),) * 2)
        assert_close(gaussian_field(3 * noise, 0.3, (8, 8)), 3 * gaussian_field(noise, 0.3, (8, 8)))

    @pytest.mark.parametrize("shape", [(1, 6, 5, 5), (6, 21, 21)], ids=str)
    def test_too_few_nodes(self, shape: tuple[int, ...]) -> None:
        nodes = gaussian_field_nodes(0.2)
        with pytest.raises(ValueError, match=re.escape(f"noise must be (B, F, {nodes}, {nodes}) for correlation=0.2")):
            gaussian_field(torch.zeros(shape), 0.2, (8, 8))


def perlin_by_hand(angles: Tensor, frequencies: list[int], rotation: float, size: tuple[int, int]) -> Tensor:
    """One noise, pixel by pixel, after the article."""
    result = torch.empty(size, dtype=torch.float64)
    fade = lambda t: 6 * t**5 - 15 * t**4 + 10 * t**3  # noqa: E731
    for i in range(size[0]):
        for j in range(size[1]):
            u, v = (j + 0.5) / size[1] - 0.5, (i + 0.5) / size[0] - 0.5
            x = (math.cos(rotation) * u - math.sin(rotation) * v + 1) * frequencies[0]
            y = (math.sin(rotation) * u + math.cos(rotation) * v + 1) * frequencies[1]
            left, top = math.floor(x), math.floor(y)
            value = 0.0
            for down in (0, 1):
                for right in (0, 1):
                    angle = float(angles[top + down, left + right])
                    slope = math.cos(angle) * (x - left - right) + math.sin(angle) * (y - top - down)
                    near_x = fade(x - left) if right else 1 - fade(x - left)
                    near_y = fade(y - top) if down else 1 - fade(y - top)
                    value += near_x * near_y * slope
            result[i, j] = math.sqrt(2) * value
    return result


class TestPerlinNoise:
    @pytest.mark.parametrize("frequencies", [(1, 1), (2, 4), (4, 1)], ids=str)
    def test_agrees_with_a_loop(self, frequencies: tuple[int, int]) -> None:
        angles = torch.rand(2, 9, 9, generator=generator(0), dtype=torch.float64) * 2 * math.pi
        rotations = torch.tensor([0.0, 1.0], dtype=torch.float64)
        noise = perlin_noise(angles, torch.tensor([frequencies] * 2), rotations, (7, 10))
        for b in range(2):
            expected = perlin_by_hand(angles[b], list(frequencies), float(rotations[b]), (7, 10))
            assert_close(noise[b].double(), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "shape"), [("angles", (2, 5, 4)), ("angles", (2, 4, 5)), ("frequencies", (2, 3)), ("rotations", (3,))]
    )
    def test_a_parameter_of_another_shape_is_named(self, name: str, shape: tuple[int, ...]) -> None:
        params = {"angles": torch.zeros(2, 5, 5), "frequencies": torch.full((2, 2), 2), "rotations": torch.zeros(2)}
        with pytest.raises(ValueError, match=f"^{name} must "):
            perlin_noise(**params | {name: torch.ones(shape)}, size=(4, 4))

    def test_is_smooth_and_has_no_bias(self) -> None:
        angles = torch.rand(64, 9, 9, generator=generator(0)) * 2 * math.pi
        noise = perlin_noise(angles, torch.full((64, 2), 4), torch.zeros(64), (64, 64))
        assert noise.mean().abs() < 0.02
        assert noise.abs().max() <= 1.0 + 1e-5
        assert (noise[:, 1:] - noise[:, :-1]).abs().max() < 0.25


def warp_by_hand(image: Tensor, fields: Tensor) -> Tensor:
    """Each pixel shows what lies at its place after the map, between four pixels, mirrored at the borders."""
    height, width = image.shape[-2:]
    result = torch.empty_like(image)

    def mirrored(place: float, length: int) -> float:
        place = abs(place + 0.5) % (2 * length)  # from the border, in a cycle of the image and its mirror image
        return min(max(min(place, 2 * length - place) - 0.5, 0.0), length - 1.0)

    for i in range(height):
        for j in range(width):
            turn, log_x, log_y, shear, shift_x, shift_y = fields[:, i, j].tolist()
            x, y = (2 * j + 1) / width - 1, (2 * i + 1) / height - 1
            x, y = math.exp(log_x) * (x + shear * y), math.exp(log_y) * y
            x, y = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
            x, y = x + 2 * shift_x, y + 2 * shift_y
            col = mirrored(((x + 1) * width - 1) / 2, width)
            row = mirrored(((y + 1) * height - 1) / 2, height)
            top, left = min(int(row), height - 2), min(int(col), width - 2)
            down, right = row - top, col - left
            upper = (1 - right) * image[:, top, left] + right * image[:, top, left + 1]
            lower = (1 - right) * image[:, top + 1, left] + right * image[:, top + 1, left + 1]
            result[:, i, j] = (1 - down) * upper + down * lower
    return result


def colour_by_hand(image: Tensor, fields: Tensor) -> Tensor:
    """Rodrigues' rotation about the grey axis, then both stretches, pixel by pixel."""
    axis = torch.ones(3, dtype=torch.float64) / math.sqrt(3)
    result, middle = torch.empty_like(image), image.mean()
    for i in range(image.shape[-2]):
        for j in range(image.shape[-1]):
            hue, saturation, contrast = fields[:, i, j].tolist()
            colour = image[:, i, j]
            grey = colour.mean()
            chroma = colour - grey
            turned = (
                chroma * math.cos(hue)
                + torch.linalg.cross(axis, chroma) * math.sin(hue)
                + axis * (axis @ chroma) * (1 - math.cos(hue))
            )
            result[:, i, j] = turned * math.exp(saturation) + middle + (grey - middle) * math.exp(contrast)
    return result


KERNELS = {
    "warp": (functional.field_warp, warp_by_hand, 6),
    "colour": (functional.field_color, colour_by_hand, 3),
}
each_kernel = pytest.mark.parametrize(("kernel", "by_hand", "number"), KERNELS.values(), ids=KERNELS)


@each_kernel
class TestBending:
    CORRELATION = 0.4

    def noise(self, number: int, batch: int = 3, scale: float = 0.4) -> Tensor:
        shape = (batch, number, *(gaussian_field_nodes(self.CORRELATION),) * 2)
        return scale * torch.randn(shape, generator=generator(0), dtype=torch.float64)

    @pytest.mark.parametrize("layout", ["planes", "pixels", "clips"])
    def test_agrees_with_a_loop(self, kernel, by_hand, number: int, layout: str) -> None:
        images = distinct((3, 2, 3, 6, 9) if layout == "clips" else (3, 3, 6, 9), dtype=torch.float64)
        if layout == "pixels":
            images = images.contiguous(memory_format=torch.channels_last)
        noise = self.noise(number)
        fields = gaussian_field(noise, self.CORRELATION, (6, 9))
        result = kernel(images, noise, self.CORRELATION)
        assert result.stride() == images.stride()
        for b in range(3):
            for image, expected in zip(result[b].reshape(-1, 3, 6, 9), images[b].reshape(-1, 3, 6, 9), strict=True):
                assert_close(image, by_hand(expected, fields[b]))

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_nothing_drawn_is_nothing_done(self, kernel, by_hand, number: int, dtype: torch.dtype) -> None:
        images = distinct((3, 3, 6, 9), dtype=dtype)
        assert_close(kernel(images, 0 * self.noise(number).float(), self.CORRELATION), images, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8], ids=str)
    def test_low_precision_is_the_rounded_high(self, kernel, by_hand, number: int, dtype: torch.dtype) -> None:
        images = distinct((3, 3, 6, 9), dtype=dtype)
        exact = kernel(images.double(), self.noise(number), self.CORRELATION)
        if dtype == torch.uint8:
            result = kernel(images, self.noise(number).float(), self.CORRELATION)
            assert (result.double() - exact.clamp(0, 255)).abs().max() <= 0.5 + 1e-2
        else:
            assert_close(kernel(images, self.noise(number).float(), self.CORRELATION), exact.to(dtype))

    def test_derivatives_are_right(self, kernel, by_hand, number: int) -> None:
        images = distinct((2, 3, 3, 3), dtype=torch.float64).requires_grad_()
        noise = self.noise(number, 2)
        assert torch.autograd.gradcheck(lambda x: kernel(x, noise, self.CORRELATION), (images,), fast_mode=True)

    def test_errors(self, kernel, by_hand, number: int) -> None:
        images = torch.rand(3, 3, 6, 9)
        noise = self.noise(number).float()
        with pytest.raises(ValueError, match="noise must"):
            kernel(images, noise[..., :-1], self.CORRELATION)
        with pytest.raises(ValueError, match="noise must"):
            kernel(images, noise[:1], self.CORRELATION)
        with pytest.raises(ValueError, match="noise must"):
            kernel(images, noise[:, :2], self.CORRELATION)
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)"):
            kernel(images[0], noise, self.CORRELATION)
        with pytest.raises(TypeError, match="floating point or uint8"):
            kernel(images.long(), noise, self.CORRELATION)


def test_colour_needs_three_channels() -> None:
    noise = torch.zeros(2, 3, *(gaussian_field_nodes(0.4),) * 2)
    with pytest.raises(ValueError, match=r"3 channels, got images of shape \(2, 4, 6, 6\)"):
        functional.field_color(torch.rand(2, 4, 6, 6), noise, 0.4)


def test_colour_leaves_grey_images_grey() -> None:
    grey = distinct((2, 1, 6, 6)).expand(2, 3, 6, 6)
    noise = torch.randn(2, 3, *(gaussian_field_nodes(0.4),) * 2)
    coloured = functional.field_color(grey, noise, 0.4)
    assert_close(coloured, coloured[:, :1].expand(-1, 3, -1, -1))
