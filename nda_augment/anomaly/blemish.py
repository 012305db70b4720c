"""Synthetic damage of many shapes and materials: what a segmenting detector learns from."""

import math
from typing import Unpack

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from nda_augment import sampling
from nda_augment.functional import fields, masks
from nda_augment.functional._precision import to_dtype, working_dtype
from nda_augment.sampling import Source
from nda_augment.transforms.base import Params
from nda_augment.transforms.partners import PairCommon, PairTransform

SHAPES = ("strip", "island", "vein")
MATERIALS = ("tone", "moved", "foreign", "texture")

_COARSE, _FINE = 2, 4
_VISIBLE = (0.7, 4.0)
_LEAST_SIDE = 4


class Blemish(PairTransform):
    """Damage every image in one place: a strip, an island or a vein of another tone, place, image or texture.

    Shapes, sizes and materials are mixed on purpose, so that a network which learns to outline them learns what damage
    has in common. Lengths and widths are spread evenly over their logarithms, from a pixel to most of the image:

    - *strip*: a turned rectangle, from a scratch to a patch (CutPaste at all scales, and its scar);
    - *island*: where Perlin noise is high (DRAEM's masks), inside an ellipse;
    - *vein*: a level line of two octaves of Perlin noise, inside an ellipse: cracks, hairs, threads.

    Inside is, in half of the images, their own *tone* with another contrast and brightness; in a sixth each, a copy
    *moved* from elsewhere in the image, a *foreign* copy out of another one of the batch or of ``pool=``, or a
    generated *texture*, nine tenths of which change contrast and brightness too. The border is feathered inwards.

    Args:
        feather: Largest standard deviation of the border's blur, as a share of the image's shorter side.
        opacity: Least opacity of the damage, in (0, 1]; it is drawn between it and 1.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`~nda_augment.transforms.PairTransform`.

    Raises:
        ValueError: If an argument is out of bounds, a side has fewer than 4 pixels, or a single image comes without a
            pool.

    Shape:
        ``(B, C, H, W)`` to the same. Parameters, one entry per image: ``shape`` and ``material``, int64, indices into
        ``SHAPES`` and ``MATERIALS``; ``centres``, ``extents`` (length, width), ``angles`` and ``radii`` in pixels and
        radians; the lattices of the noise; ``thickness``, ``shifts``, ``contrast``, ``brightness`` (in standard
        deviations of the image), ``opacity``, ``feather``, ``partners``.

    Example:
        >>> images = torch.rand(8, 3, 32, 32)
        >>> damaged, where = Blemish()(images, return_mask=True)
        >>> bool(torch.equal(torch.where(where, images, damaged), images))
        True

    Source: after Li et al., CutPaste, CVPR 2021, and Zavrtanik et al., DRAEM, ICCV 2021; veins are of this package.
    """

    changes_region = True

    def __init__(self, feather: float = 1 / 16, opacity: float = 0.6, **common: Unpack[PairCommon]) -> None:
        super().__init__(**common)
        if not 0 <= feather <= 0.1:
            raise ValueError(f"feather must be a share of the image in [0, 0.1], got {feather}")
        if not 0 < opacity <= 1:
            raise ValueError(f"opacity must be in (0, 1], got {opacity}")
        self.feather, self.opacity = float(feather), float(opacity)

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw shape, place and material of the damage."""
        batch, (height, width) = shape[0], shape[-2:]
        side = min(height, width)
        if side < _LEAST_SIDE:
            raise ValueError(f"images must have {_LEAST_SIDE} px a side at least, got {height}x{width}")
        length = _log_uniform(batch, 0.1 * side, 0.7 * side, source)
        radius = _log_uniform(batch, 0.15 * side, 0.8 * side, source)
        # Half of the damage is of another tone, a sixth of each of the other materials.
        material = (sampling.integers(0, 6, batch, **source) - 2).clamp(min=0)
        sign = 1 - 2 * sampling.integers(0, 2, batch, **source)
        # A tone that does not change is no damage; copies and textures may come as they are.
        toned = (material == 0) | sampling.bernoulli(batch, 0.9, **source)
        places = [sampling.integers(0, length, batch, **source) for length in (width, height) * 2]
        lattices = [2 * 2**finest + 1 for finest in (_COARSE, _FINE)]
        return {
            "shape": sampling.integers(0, len(SHAPES), batch, **source),
            "material": material,
            "centres": torch.stack(places[:2], dim=1),
            "extents": torch.stack([length, length ** sampling.uniform(batch, **source)], dim=1).clamp(min=1),
            "angles": sampling.uniform(batch, high=math.pi, **source),
            "radii": torch.stack([radius, radius * sampling.uniform(batch, low=0.3, **source)], dim=1),
            "coarse_angles": sampling.uniform(batch, lattices[0], lattices[0], high=2 * math.pi, **source),
            "coarse_frequencies": 2 ** sampling.integers(0, _COARSE + 1, batch, 2, **source),
            "fine_angles": sampling.uniform(batch, lattices[1], lattices[1], high=2 * math.pi, **source),
            "fine_frequencies": 2 ** sampling.integers(_FINE - 1, _FINE + 1, batch, 2, **source),
            "rotations": sampling.uniform(batch, low=-math.pi / 2, high=math.pi / 2, **source),
            "roughness": sampling.uniform(batch, high=0.6, **source),
            "thickness": _log_uniform(batch, 0.5, max(0.05 * side, 0.6), source),
            "shifts": torch.stack(places[2:], dim=1) * (material > 0).unsqueeze(1),
            "contrast": torch.where(toned, sampling.uniform(batch, low=-1.0, high=0.5, **source).exp(), 1.0),
            "brightness": torch.where(toned, sign * _log_uniform(batch, *_VISIBLE, source), 0.0),
            "opacity": sampling.uniform(batch, low=self.opacity, high=1.0, **source),
            "feather": self.feather * side * sampling.uniform(batch, **source),
            "grain": sampling.normal(batch, 1, height, width, **source),
        }

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Blend the material in."""
        values = images.to(working_dtype(images))
        size = (values.shape[-2], values.shape[-1])
        mask = self.region(values.shape, params)
        material = _toned(_material(values, size, params), values, mask, params)
        weight = _feathered(mask.to(values.dtype), params["feather"], self.feather * min(size))
        return to_dtype(values + weight * _each(params["opacity"]) * (material - values), images.dtype)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the damaged places."""
        size = (shape[-2], shape[-1])
        strip = masks.strip(params["centres"], params["extents"], params["angles"], size)
        ellipse = _ellipse(params, size)
        coarse, fine = (_noise(params, name, size) for name in ("coarse", "fine"))
        island = (coarse > 0.2) & ellipse
        vein = _level_line(coarse + _each(params["roughness"]) * fine, params) & ellipse
        kind = _each(params["shape"])
        drawn = torch.where(kind == 0, strip, torch.where(kind == 1, island, vein))
        return torch.where(drawn.flatten(1).any(dim=1).view(-1, 1, 1, 1), drawn, strip)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _log_uniform(batch: int, low: float, high: float, source: Source) -> Tensor:
    return sampling.uniform(batch, low=math.log(low), high=math.log(high), **source).exp()


def _noise(params: Params, name: str, size: tuple[int, int]) -> Tensor:
    angles, frequencies = params[f"{name}_angles"], params[f"{name}_frequencies"]
    return fields.perlin_noise(angles, frequencies, params["rotations"], size).unsqueeze(1)


def _ellipse(params: Params, size: tuple[int, int]) -> Tensor:
    along, across = masks.strip_coordinates(params["centres"], params["angles"], size)
    long, short = params["radii"].view(-1, 2, 1, 1).unbind(dim=1)
    return ((along / long).square() + (across / short).square() < 1).unsqueeze(1)


def _level_line(field: Tensor, params: Params) -> Tensor:
    """Where a field is within ``thickness`` pixels of the height that it has in the middle of the damage."""
    column, row = params["centres"].unbind(dim=1)
    middle = field[torch.arange(len(field), device=field.device), :, row, column].view(-1, 1, 1, 1)
    down, across = torch.gradient(field, dim=(2, 3))
    distance = (field - middle).abs() / (down.square() + across.square()).sqrt().clamp(min=1e-4)
    return distance < _each(params["thickness"])


def _material(images: Tensor, size: tuple[int, int], params: Params) -> Tensor:
    """What the damage is made of, all over the image."""
    material = _each(params["material"])
    pool = params.get("pool", images)
    own = torch.arange(len(images), device=images.device)
    source = torch.where(material == 2, pool.to(images)[params["partners"]], images)
    row = (torch.arange(size[0], device=images.device) - params["shifts"][:, 1:]) % size[0]
    column = (torch.arange(size[1], device=images.device) - params["shifts"][:, :1]) % size[1]
    moved = source[own.view(-1, 1, 1), :, row.unsqueeze(2), column.unsqueeze(1)].movedim(-1, 1)
    mean, deviation = _moments(images)
    texture = mean + deviation * (2 * _noise(params, "fine", size) + _each(params["roughness"]) * params["grain"])
    return torch.where(material == 3, texture, moved)


def _toned(material: Tensor, images: Tensor, mask: Tensor, params: Params) -> Tensor:
    """Change the contrast of the material about its mean inside the mask, and its brightness."""
    middle = (material * mask).sum(dim=(2, 3), keepdim=True) / mask.sum(dim=(2, 3), keepdim=True)
    brightness = _each(params["brightness"]) * _moments(images)[1]
    return middle + _each(params["contrast"]) * (material - middle) + brightness


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(images, dim=(2, 3), keepdim=True)
    return mean, deviation


def _feathered(mask: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Blur a mask inwards, so that it is 0 outside as before and 1 where it is highest."""
    side = 2 * math.ceil(3 * largest) + 1
    side = min(side, 2 * (min(mask.shape[-2:]) - 1) + 1)
    if side < 3:
        return mask
    sigma = sigma.to(mask.dtype).clamp(min=0.05).unsqueeze(1).expand(-1, 2)
    inside = gaussian_blur2d(mask, (side, side), sigma) * mask
    return inside / inside.amax(dim=(2, 3), keepdim=True)
