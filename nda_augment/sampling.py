"""Every random draw of the package, one set of parameters per image.

The functions here know batch sizes, image sizes and generators, and return small parameter tensors; they never see
a pixel. What makes a negative a negative is guaranteed here, by construction: permutations are never the identity,
partners are never oneself, boxes are never empty.

Each function takes ``generator`` (draws come from it; ``None`` is the global generator of ``device``) and ``device``
(where the result lives; ``None`` is the generator's device, or the CPU). No function loops over the batch or reads a
value back from the device.
"""

import math

import torch
from torch import Tensor

Device = torch.device | str | None

# 20! is the largest factorial below 2**63: up to here a permutation is drawn by its rank.
_LARGEST_RANKED = 20


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
    draws = torch.rand(shape, generator=generator, device=_draw_device(generator, device))
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
    return _to(torch.randn(shape, generator=generator, device=_draw_device(generator, device)), device)


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
        draws = torch.randint(low, high, shape, generator=generator, device=_draw_device(generator, device))
        return _to(draws, device)
    span = high - low
    scaled = (uniform(*shape, generator=generator, device=high.device) * span).long()
    # A float32 product may round up to the bound itself.
    return _to(low + torch.minimum(scaled, span - 1), device)


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

    Up to 20 elements the rank of the permutation in the factorial number system is drawn from 1 to n! - 1, which is
    uniform and exact. Beyond, n! exceeds 64 bits and the identity has a probability below 2e-20: a random order is
    drawn, and the one that happened to be the identity gets its first two elements swapped.

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
    order = uniform(batch, n, generator=generator, device=device).argsort(dim=1)
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
    if batch == 1:
        raise ValueError(
            "a batch of one image has no partner in it; pass `pool=` (a tensor of other images) or a larger batch"
        )
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
        if pool_size < 1:
            raise ValueError("the pool is empty; pass a pool of at least one image")
        draws = integers(0, pool_size, 1 if same_on_batch else batch, generator=generator, device=device)
        return draws.expand(batch)
    if same_on_batch and batch > 1:
        shift = integers(1, batch, 1, generator=generator, device=device)
        return (torch.arange(batch, device=shift.device) + shift) % batch
    return derangement(batch, generator=generator, device=device)


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
    height, width = (
        integers(*_side_in_pixels(side, length), batch, generator=generator, device=device) for length in size
    )
    return _placed(height, width, size, generator)


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
    extent = integers(*_side_in_pixels(side, min(size)), batch, generator=generator, device=device)
    return _placed(extent, extent, size, generator)


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
    concentration = torch.full((2, batch), float(alpha), device=_draw_device(generator, device))
    # torch.distributions takes no generator; this is the sampler beneath it.
    first, second = torch._standard_gamma(concentration, generator=generator)
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
    offset = uniform(1, generator=generator, device=device)
    places = uniform(batch, generator=generator, device=device).argsort()
    points = (places + offset) / max(batch, 1)
    borders = torch.tensor(probabilities[:-1]).cumsum(0).to(points.device, non_blocking=True)
    return torch.bucketize(points, borders, right=True)


def _draw_device(generator: torch.Generator | None, device: Device) -> Device:
    return device if generator is None else generator.device


def _to(draws: Tensor, device: Device) -> Tensor:
    return draws if device is None else draws.to(device, non_blocking=True)


def _permutation_of_rank(rank: Tensor, n: int) -> Tensor:
    """Decode ranks ``(B,)`` in 0..n!-1 into permutations ``(B, n)``; rank 0 is the identity."""
    columns: list[Tensor] = []
    for place in reversed(range(n)):
        digit = rank // math.factorial(n - 1 - place) % (n - place)
        columns = [digit, *(column + (column >= digit) for column in columns)]
    return torch.stack(columns, dim=1)


def _side_in_pixels(side: tuple[float, float], length: int) -> tuple[int, int]:
    """Return the half-open range of whole numbers of pixels that lie in a range of fractions."""
    # The tolerance keeps 1/3 of 33 at 11 pixels whatever the last bit of the product says.
    low, high = max(math.ceil(side[0] * length - 1e-6), 1), math.floor(side[1] * length + 1e-6)
    if low > high:
        raise ValueError(
            f"no whole number of pixels lies in side={side} of an image side of {length} px; "
            "use larger images or a wider range"
        )
    return low, high + 1


def _placed(height: Tensor, width: Tensor, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """Put boxes of given sides anywhere inside the image."""
    y0, x0 = (
        integers(0, length + 1 - extent, *extent.shape, generator=generator)
        for length, extent in zip(size, (height, width), strict=True)
    )
    return torch.stack([x0, y0, x0 + width, y0 + height], dim=1)
