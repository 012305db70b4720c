"""Every random draw of the package, one set of parameters per image.

The functions here know batch sizes, image sizes and generators, and return small parameter tensors; they never see
a pixel. What makes a negative a negative is guaranteed here, by construction: permutations are never the identity,
partners are never oneself, boxes are never empty.

Each function takes ``generator`` (draws come from it; ``None`` is the global generator of ``device``) and ``device``
(where the result lives; ``None`` is the generator's device, or the CPU). No function loops over the batch or reads a
value back from the device.
"""

import itertools
import math
from itertools import accumulate
from typing import Any, TypedDict

import torch
from torch import Tensor

from nda_augment._constants import kept
from nda_augment._tracing import is_plain
from nda_augment.functional._kernels import fused

Device = torch.device | str | None


class Source(TypedDict):
    """Where draws come from and where they go, as keywords of the functions here."""

    generator: torch.Generator | None
    device: Device


# Ranks are drawn as 64 random bits modulo n!, which favours low ones by n! / 2**64: by one in a million at 16!.
_LARGEST_RANKED = 16

# Small grids are the common ones; looking a permutation up takes two operations where decoding takes dozens.
_PERMUTATIONS = {n: torch.tensor(list(itertools.permutations(range(n)))) for n in range(2, 7)}


def uniform(
    *shape: int, low: float = 0.0, high: float = 1.0, generator: torch.Generator | None = None, device: Device = None
) -> Tensor:
    """Draw floats uniformly from ``[low, high)``.

    Args:
        *shape: Shape of the result.
        low: Smallest value.
        high: Bound that is not reached.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        float32 tensor of ``shape``.

    Example:
        >>> uniform(2, 3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    draws = torch.rand(shape, **_drawn_by(generator, device))
    return _to(draws if (low, high) == (0.0, 1.0) else low + (high - low) * draws, device)


def normal(*shape: int, generator: torch.Generator | None = None, device: Device = None) -> Tensor:
    """Draw floats from the standard normal distribution.

    Args:
        *shape: Shape of the result.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        float32 tensor of ``shape``.

    Example:
        >>> normal(4, generator=torch.Generator().manual_seed(0)).dtype
        torch.float32
    """
    return _to(torch.randn(shape, **_drawn_by(generator, device)), device)


def integers(
    low: int, high: int | Tensor, *shape: int, generator: torch.Generator | None = None, device: Device = None
) -> Tensor:
    """Draw integers uniformly from ``low`` to ``high - 1``.

    Args:
        low: Smallest integer.
        high: Bound that is not reached; a tensor gives one bound per element and broadcasts with ``shape``.
        *shape: Shape of the result.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor of ``shape``.

    Example:
        >>> integers(3, 5, 4, generator=torch.Generator().manual_seed(0)).unique().tolist()
        [3, 4]
    """
    if isinstance(high, int):
        draws = torch.randint(low, high, shape, **_drawn_by(generator, device))
        return _to(draws, device)
    span = high - low if low else high
    scaled = (uniform(*shape, generator=generator, device=high.device) * span).long()
    # A float32 product may round up to the bound itself.
    draws = torch.minimum(scaled, span - 1)
    return _to(low + draws if low else draws, device)


def bernoulli(batch: int, p: float, *, generator: torch.Generator | None = None, device: Device = None) -> Tensor:
    """Draw one coin per image.

    Args:
        batch: Number of images.
        p: Probability of True, in [0, 1].
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        bool tensor ``(batch,)``.

    Example:
        >>> bernoulli(3, 1.0).tolist()
        [True, True, True]
    """
    return uniform(batch, generator=generator, device=device) < p


def permutations(batch: int, n: int, *, generator: torch.Generator | None = None, device: Device = None) -> Tensor:
    """Draw one permutation of ``n`` elements per image, uniform over all but the identity.

    Up to 16 elements the rank of the permutation in the factorial number system is drawn from 1 to n! - 1. Beyond, n!
    comes so near to 64 bits that ranks would not be equally likely, and the identity has a probability below 3e-15: a
    random order is drawn, and the one that happened to be the identity gets its first two elements swapped.

    Args:
        batch: Number of images.
        n: Number of elements, at least 2.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, n)``; row ``b`` is a permutation of ``0..n-1``.

    Raises:
        ValueError: If ``n < 2``: one element has no other order.

    Example:
        >>> permutations(3, 2).tolist()
        [[1, 0], [1, 0], [1, 0]]
    """
    if n < 2:
        raise ValueError(f"a permutation other than the identity needs at least 2 elements, got {n}")
    if n <= _LARGEST_RANKED:
        rank = integers(1, math.factorial(n), batch, generator=generator, device=device)
        return _permutation_of_rank(rank, n)
    order = _order(uniform(batch, n, generator=generator, device=device))
    is_identity = (order == torch.arange(n, device=order.device)).all(dim=1, keepdim=True)
    swapped = torch.cat([order[:, 1:2], order[:, 0:1], order[:, 2:]], dim=1)
    return torch.where(is_identity, swapped, order)


def derangement(batch: int, *, generator: torch.Generator | None = None, device: Device = None) -> Tensor:
    """Give every image of a batch a partner that is not itself, each image being the partner of exactly one.

    The batch is put in a random circle and everyone takes the next one: a uniformly random cyclic permutation.

    Args:
        batch: Number of images, at least 2 (0 gives an empty tensor).
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch,)`` without fixed point.

    Raises:
        ValueError: If ``batch`` is 1: an image alone has nobody to borrow from.

    Example:
        >>> derangement(2).tolist()
        [1, 0]
    """
    _check_company(batch)
    circle = uniform(batch, generator=generator, device=device).argsort()
    return torch.empty_like(circle).scatter_(0, circle, circle.roll(-1))


def partners(
    batch: int,
    pool_size: int | None = None,
    *,
    same_on_batch: bool = False,
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw a partner for every image, from the batch itself or from a pool.

    Args:
        batch: Number of images.
        pool_size: Number of images in the pool; ``None`` means the batch is the pool, and nobody gets itself.
        same_on_batch: One draw for the whole batch: the same image of the pool, or the same shift in the batch.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch,)`` of indices into the pool.

    Raises:
        ValueError: If the batch is its own pool and holds one image, or if the pool is empty.

    Example:
        >>> index = partners(64)
        >>> bool((index == torch.arange(64)).any())
        False
    """
    if pool_size is not None:
        _check_pool_size(pool_size)
        draws = integers(0, pool_size, 1 if same_on_batch else batch, generator=generator, device=device)
        return draws.expand(batch)
    if same_on_batch and batch > 1:
        shift = integers(1, batch, 1, generator=generator, device=device)
        return (torch.arange(batch, device=shift.device) + shift) % batch
    return derangement(batch, generator=generator, device=device)


def other_images(
    batch: int,
    parts: int,
    pool_size: int | None = None,
    *,
    same_on_batch: bool = False,
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw one source image for every part of every image, never the image itself.

    Args:
        batch: Number of images.
        parts: Number of parts of an image.
        pool_size: Number of images in the pool; ``None`` means the batch is the pool.
        same_on_batch: One draw for the whole batch: the same images of the pool, or the same shifts in the batch.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, parts)`` of indices into the pool.

    Raises:
        ValueError: If the batch is its own pool and holds one image, or if the pool is empty.

    Example:
        >>> other_images(2, 3).tolist()
        [[1, 1, 1], [0, 0, 0]]
    """
    draws = min(batch, 1) if same_on_batch else batch
    if pool_size is not None:
        _check_pool_size(pool_size)
        return integers(0, pool_size, draws, parts, generator=generator, device=device).expand(batch, parts)
    _check_company(batch)
    shift = integers(1, max(batch, 2), draws, parts, generator=generator, device=device)
    return (torch.arange(batch, device=shift.device).unsqueeze(1) + shift) % max(batch, 1)


def class_partners(
    labels: Tensor,
    pool_labels: Tensor | None = None,
    *,
    same_class: bool,
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw a partner for every image among those of its own class, or among those of the other classes.

    Args:
        labels: int64 ``(B,)``, the classes of the images.
        pool_labels: int64 ``(N,)``, the classes of the pool; ``None`` means the batch is the pool, and nobody gets
            itself.
        same_class: Whether partners share the image's class or have another one.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(B,)`` of indices into the pool, uniform over the candidates.

    Raises:
        ValueError: If an image has no candidate. On a GPU this is an assertion on the device, which nobody waits for.

    Example:
        >>> class_partners(torch.tensor([0, 0, 1]), same_class=False).tolist()[:2]
        [2, 2]
    """
    if len(labels) == 0:
        return _to(labels, device)
    others = labels if pool_labels is None else pool_labels
    candidate = (labels.unsqueeze(1) == others) == same_class
    if pool_labels is None:
        candidate = candidate & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    has_any = candidate.any(dim=1)
    if has_any.device.type != "cpu" or torch.compiler.is_compiling():
        torch._assert_async(has_any.all(), "an image has no candidate for a partner by class")
    elif not has_any.all():
        lonely = sorted(set(labels[~has_any].tolist()))
        kind = "its own" if same_class else "another"
        raise ValueError(f"no image of {kind} class to borrow from for classes {lonely}; pass a pool or a larger batch")
    scores = uniform(*candidate.shape, generator=generator, device=labels.device)
    return _to(scores.masked_fill(~candidate, -1.0).argmax(dim=1), device)


def lengths(
    batch: int,
    length: int,
    fractions: tuple[float, float],
    *,
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw one length per image, uniform over the whole numbers of pixels within a range of fractions.

    Args:
        batch: Number of images.
        length: The side of the image that the fractions refer to.
        fractions: Smallest and largest length as fractions of the side.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch,)`` of pixels, at least 1.

    Raises:
        ValueError: If the side is so short that no whole number of pixels lies in the range.

    Example:
        >>> lengths(3, 32, (0.5, 0.5)).tolist()
        [16, 16, 16]
    """
    return integers(*_from_to(length, fractions), batch, generator=generator, device=device)


def length_bounds(length: int, fractions: tuple[float, float]) -> tuple[int, int]:
    """Return the fewest and the most pixels that lie within a range of fractions of a side.

    A single fraction is rounded to the nearest pixel, to at least one, and if it is below 1 to less than the side.

    Args:
        length: The side of the image that the fractions refer to.
        fractions: Smallest and largest length as fractions of the side.

    Returns:
        Both ends of the range, in pixels.

    Raises:
        ValueError: If the side is so short that no whole number of pixels lies in the range.

    Example:
        >>> length_bounds(224, (0.3, 0.3)), length_bounds(32, (1 / 3, 1 / 2))
        ((67, 67), (11, 16))
    """
    if fractions[0] == fractions[1]:
        most = length if fractions[1] == 1.0 else length - 1
        low = high = min(max(math.floor(fractions[0] * length + 0.5), 1), most)
    else:
        # The tolerance keeps 1/3 of 33 at 11 pixels whatever the last bit of the product says.
        low, high = max(math.ceil(fractions[0] * length - 1e-6), 1), math.floor(fractions[1] * length + 1e-6)
    if not 1 <= low <= high:
        raise ValueError(
            f"no whole number of pixels lies between the fractions {fractions} of an image side of {length} px; "
            "use larger images or a wider range"
        )
    return low, high


def boxes(
    batch: int,
    size: tuple[int, int],
    *,
    side: tuple[float, float],
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw one box per image, its height and its width drawn apart, anywhere inside the image.

    Sides are uniform over the whole numbers of pixels in the range, places uniform over all that keep the box inside,
    those that touch a border included.

    Args:
        batch: Number of images.
        size: Height and width of the images.
        side: Smallest and largest side, as a fraction of the image's height (for heights) and width (for widths).
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open as array slices, never empty.

    Raises:
        ValueError: If the image is so small that no whole number of pixels lies in the range.

    Example:
        >>> boxes(1, (32, 32), side=(1.0, 1.0)).tolist()
        [[0, 0, 32, 32]]
    """
    if size[0] == size[1]:
        sides = integers(*_from_to(size[0], side), batch, 2, generator=generator, device=device)
    else:
        drawn = [lengths(batch, length, side, generator=generator, device=device) for length in reversed(size)]
        sides = torch.stack(drawn, dim=1)
    return _placed(sides, size, generator)


def squares(
    batch: int,
    size: tuple[int, int],
    *,
    side: tuple[float, float],
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw one square per image, anywhere inside the image; as :func:`boxes`, but with one side.

    Args:
        batch: Number of images.
        size: Height and width of the images.
        side: Smallest and largest side, as a fraction of the image's shorter side.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open as array slices, never empty.

    Raises:
        ValueError: If the image is so small that no whole number of pixels lies in the range.

    Example:
        >>> squares(1, (32, 32), side=(1.0, 1.0)).tolist()
        [[0, 0, 32, 32]]
    """
    extent = lengths(batch, min(size), side, generator=generator, device=device)
    return _placed(extent.unsqueeze(1).expand(-1, 2), size, generator)


def area_boxes(
    batch: int,
    size: tuple[int, int],
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw one box per image by its area and its aspect, anywhere inside the image.

    Args:
        batch: Number of images.
        size: Height and width of the images.
        area: Smallest and largest area as fractions of the image's; drawn uniformly.
        aspect: Smallest and largest ratio of height to width; its logarithm is drawn uniformly.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open as array slices; sides are rounded
        down, are at least one pixel and at most the image's, and one of them is shorter than the image's, if it has
        more than one pixel.

    Example:
        >>> area_boxes(1, (10, 10), area=(0.25, 0.25), aspect=(1.0, 1.0)).diff(dim=1).shape
        torch.Size([1, 3])

    Source: Zhong et al., Random Erasing, AAAI 2020.
    """
    options: Source = {"generator": generator, "device": device}
    pixels = uniform(batch, low=area[0], high=area[1], **options) * (size[0] * size[1])
    ratio = uniform(batch, low=math.log(aspect[0]), high=math.log(aspect[1]), **options).exp()
    height = (pixels * ratio).sqrt().long().clamp(1, size[0])
    width = (pixels / ratio).sqrt().long().clamp(1, size[1])
    if size[0] > size[1]:
        height = torch.where(width == size[1], height.clamp(max=size[0] - 1), height)
    elif size[1] > 1:
        width = torch.where(height == size[0], width.clamp(max=size[1] - 1), width)
    return _placed(torch.stack([width, height], dim=1), size, generator)


def scaled_boxes(
    batch: int,
    size: tuple[int, int],
    *,
    side: tuple[float, float],
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Draw one box per image, of the image's own aspect, anywhere inside it.

    Args:
        batch: Number of images.
        size: Height and width of the images.
        side: Smallest and largest height and width as a fraction of the image's, drawn uniformly, once for both.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open as array slices; sides are rounded
        to the nearest pixel, at least one, and below 1 to less than the image's.

    Example:
        >>> scaled_boxes(1, (8, 4), side=(1.0, 1.0)).tolist()
        [[0, 0, 4, 8]]
    """
    fraction = uniform(batch, low=side[0], high=side[1], generator=generator, device=device)
    sides = [
        (fraction * length).round().long().clamp(1, length if side[1] == 1.0 else max(length - 1, 1))
        for length in reversed(size)
    ]
    return _placed(torch.stack(sides, dim=1), size, generator)


def other_places(boxes: Tensor, size: tuple[int, int], *, generator: torch.Generator | None = None) -> Tensor:
    """Draw for every box another place inside the image, uniform over all places but its own.

    Args:
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``, none of them as large as the image.
        size: Height and width of the images.
        generator: Source of randomness.

    Returns:
        int64 tensor ``(B, 2)``: how far right and down the box lies from that place, ``(x, y)`` pixels, never (0, 0).

    Example:
        >>> other_places(torch.tensor([[1, 0, 2, 1]]), (1, 2)).tolist()
        [[1, 0]]
    """
    x0, y0, x1, y1 = boxes.unbind(1)
    across, down = size[1] + 1 - (x1 - x0), size[0] + 1 - (y1 - y0)
    own = y0 * across + x0
    rank = integers(0, across * down - 1, len(boxes), generator=generator)
    rank = rank + (rank >= own)
    return torch.stack([x0 - rank % across, y0 - rank // across], dim=1)


def window_corners(
    side: Tensor, size: tuple[int, int], *tiles: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw for every image the places of square windows, none of them the upper left corner.

    A tiling whose first tile shows another place than its own differs from the image it is made of.

    Args:
        side: int64 ``(B,)``, the side of the windows in pixels, smaller than one of the image's sides.
        size: Height and width of the images.
        *tiles: Shape of the array of windows.
        generator: Source of randomness.

    Returns:
        int64 tensor ``(B, *tiles, 2)`` of upper left corners ``(x, y)``.

    Example:
        >>> window_corners(torch.tensor([1]), (1, 2), 1, 3)[..., 0].tolist()
        [[[1, 1, 1]]]
    """
    batch = len(side)
    across, down = ((length + 1 - side).view(batch, *(1,) * len(tiles)) for length in reversed(size))
    rank = integers(1, across * down, batch, *tiles, generator=generator)
    row = rank // across
    return torch.stack([rank - row * across, row], dim=-1)


def clipped_boxes(
    batch: int, size: tuple[int, int], *, generator: torch.Generator | None = None, device: Device = None
) -> Tensor:
    """Draw one box per image as CutMix did first: uniform area, centred anywhere, clipped at the border.

    Args:
        batch: Number of images.
        size: Height and width of the images.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open; at least one pixel wide and high.

    Example:
        >>> clipped_boxes(3, (32, 32)).shape
        torch.Size([3, 4])

    Source: Yun et al., CutMix, ICCV 2019.
    """
    fraction = uniform(batch, generator=generator, device=device).sqrt()
    lows, highs = [], []
    for length in reversed(size):
        centre = integers(0, length, batch, generator=generator, device=device)
        half = (fraction * length).long() // 2
        lows.append((centre - half).clamp(min=0))
        highs.append((centre + half.clamp(min=1)).clamp(max=length))
    return torch.stack([*lows, *highs], dim=1)


def symmetric_beta(
    batch: int, alpha: float, *, generator: torch.Generator | None = None, device: Device = None
) -> Tensor:
    """Draw one weight per image from Beta(α, α), kept 0.001 away from 0 and 1.

    The bound keeps the guarantee that both images take part; for α of 1 and more it moves less than one draw in 500.

    Args:
        batch: Number of images.
        alpha: The parameter α > 0; large values put the weights near 1/2.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        float32 tensor ``(batch,)`` in [0.001, 0.999].

    Example:
        >>> weights = symmetric_beta(1000, 25.0, generator=torch.Generator().manual_seed(0))
        >>> bool((weights.mean() - 0.5).abs() < 0.01)
        True
    """
    source = _drawn_by(generator, device)
    concentration = torch.full((2, batch), float(alpha), device=source.pop("device"))
    # torch.distributions takes no generator; this is the sampler beneath it.
    first, second = torch._standard_gamma(concentration, **source)
    return _to((first / (first + second)).clamp(1e-3, 1 - 1e-3), device)


def stratified_choice(
    batch: int,
    probabilities: tuple[float, ...],
    *,
    generator: torch.Generator | None = None,
    device: Device = None,
) -> Tensor:
    """Give every image one of several options, each with exactly its probability, evenly spread over the batch.

    Systematic sampling: the images take random, equally spaced places on [0, 1), which is cut into one piece per
    option. Every single image gets option ``k`` with probability ``probabilities[k]``; the number of images with
    option ``k`` differs from ``batch * probabilities[k]`` by less than one, so that a group's size is bounded before
    the draw and no device has to be asked for it.

    Args:
        batch: Number of images.
        probabilities: One probability per option, summing to 1.
        generator: Source of randomness.
        device: Device of the result.

    Returns:
        int64 tensor ``(batch,)`` of option numbers.

    Example:
        >>> stratified_choice(8, (0.25, 0.75)).bincount().tolist()
        [2, 6]
    """
    if len(probabilities) == 1:
        where = generator.device if generator is not None and device is None else device
        return torch.zeros(batch, dtype=torch.long, device=where)
    drawn = uniform(batch + 1, generator=generator, device=device)
    points = (drawn[1:].argsort() + drawn[:1]) / max(batch, 1)
    # A point may round up to 1: nothing lies behind the last option that can be drawn.
    totals = enumerate(accumulate(probabilities[:-1]), start=1)
    borders = [total if any(probabilities[after:]) else math.inf for after, total in totals]
    return torch.bucketize(points, kept(_as_tensor, tuple(borders), device=points.device), right=True)


def _order(keys: Tensor) -> Tensor:
    """Return the places of keys ``(B, n)`` in ascending order."""
    if keys.shape[1] <= _FEW and (kernel := fused("order", keys)):
        order: Tensor = kernel(keys)
        return order
    return keys.argsort(dim=1)


_FEW = 1024  # as many are compared with each other sooner than sorted


def _check_company(batch: int) -> None:
    if batch == 1:
        raise ValueError(
            "a batch of one image has no partner in it; pass `pool=` (a tensor of other images), or a larger batch: "
            "the last one of a DataLoader goes with drop_last=True"
        )


def _check_pool_size(pool_size: int) -> None:
    if pool_size < 1:
        raise ValueError("the pool is empty; pass a pool of at least one image")


def _drawn_by(generator: torch.Generator | None, device: Device) -> dict[str, Any]:
    """Return what torch's samplers take: a compiler that meets a symbolic size refuses ``generator=None``."""
    return {"device": device} if generator is None else {"device": generator.device, "generator": generator}


def _to(draws: Tensor, device: Device) -> Tensor:
    return draws if device is None else draws.to(device, non_blocking=True)


def _as_tensor(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values).to(device, non_blocking=True)


def _all_permutations(n: int, device: torch.device) -> Tensor:
    return _PERMUTATIONS[n].to(device, non_blocking=True)


def _factorials(n: int, device: torch.device) -> Tensor:
    """Return the values of the digits in the factorial number system, highest first, and how many each can be."""
    numbers = range(n, 0, -1)
    return torch.tensor([[math.factorial(k - 1) for k in numbers], [*numbers]]).to(device, non_blocking=True)


def _permutation_of_rank(rank: Tensor, n: int) -> Tensor:
    """Decode ranks ``(B,)`` in 0..n!-1 into permutations ``(B, n)``, in lexicographic order; rank 0 is the identity."""
    if n in _PERMUTATIONS:
        return kept(_all_permutations, n, device=rank.device).index_select(0, rank)
    if rank.device.type == "cpu" and is_plain(rank):
        return torch.tensor([_decoded(one, n) for one in rank.tolist()], dtype=torch.long).view(-1, n)
    units, radices = kept(_factorials, n, device=rank.device).unbind()
    order: Tensor = rank.unsqueeze(1) // units % radices
    # From the back, each digit pushes up the later entries that are not below it.
    for place in reversed(range(n - 1)):
        later = order[:, place + 1 :]
        later += later >= order[:, place : place + 1]
    return order


def _decoded(rank: int, n: int) -> list[int]:
    """Decode a single rank, which Python does faster than the many small operations that many at once take."""
    left, order = list(range(n)), []
    for place in reversed(range(n)):
        digit, rank = divmod(rank, math.factorial(place))
        order.append(left.pop(digit))
    return order


def _from_to(length: int, fractions: tuple[float, float]) -> tuple[int, int]:
    """Return the fewest pixels within a range of fractions, and the first number that is too many."""
    low, high = length_bounds(length, fractions)
    return low, high + 1


def _placed(sides: Tensor, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """Put boxes of given widths and heights ``(B, 2)`` anywhere inside the image."""
    whole = size[0] if size[0] == size[1] else kept(_width_and_height, size, device=sides.device)
    # Of whole numbers below 2**24 a product with a float32 below 1 never rounds up to the number itself.
    corners = (uniform(*sides.shape, generator=generator, device=sides.device) * (whole + 1 - sides)).long()
    steps = kept(_none_and_one, device=sides.device)
    return torch.addcmul(corners.unsqueeze(1), sides.unsqueeze(1), steps).flatten(1)


def _none_and_one(device: torch.device) -> Tensor:
    return torch.arange(2, device=device).unsqueeze(1)


def _width_and_height(size: tuple[int, int], device: torch.device) -> Tensor:
    return torch.stack([torch.full((), length, dtype=torch.long, device=device) for length in reversed(size)])
