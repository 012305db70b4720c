"""Positive augmentation of what the discriminator sees: real, generated and negative images alike, after the negatives.

A positive says "still an image of this kind", where a negative says "none". Both at once make sense as long as no
positive makes a real image look like a negative, or turns a negative back; :func:`undone_negatives` knows which do.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from kornia.geometry import hflip
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from nda_augment import sampling
from nda_augment.transforms import Mixture, NegativeTransform

Params = dict[str, Tensor]
_SHIFT = 1 / 8  # largest translation, of the image's side
_HOLE = 1 / 2  # side of the cut-out square, of the image's


class Family(NamedTuple):
    """One word of a policy.

    Attributes:
        size: How many numbers say what is done to an image.
        draw: Draws them, ``(B, size)`` in [0, 1], for a batch of a shape.
        apply: Does it to a batch ``(B, C, H, W)``.
    """

    size: int
    draw: Callable[..., Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


class DiffAugment(nn.Module):
    """Differentiable augmentation: every image is changed by every family of the policy, each by a draw of its own.

    Families: ``color`` (brightness by ±0.5, saturation about the mean of the channels by a factor of 0 to 2, contrast
    about the image's mean by 0.5 to 1.5), ``translation`` (by whole pixels, up to 1/8 of the side, zeros come in),
    ``cutout`` (a square of half the side is set to zero, its centre anywhere), ``flip`` (left and right) and
    ``rotate90`` (by quarter turns; by half turns where images are not square). All of them have second derivatives, so
    gradient penalties go through.

    A draw is a dict from family to ``(B, size)`` in [0, 1], which says exactly what was done: ``_params`` holds the
    last one, and ``params=`` repeats one.

    Args:
        policy: Words with commas between them, applied in this order.

    Raises:
        ValueError: If a word is unknown or said twice, or there is none.

    Example:
        >>> positives = DiffAugment("color,translation,cutout")
        >>> images = torch.rand(4, 3, 32, 32) * 2 - 1
        >>> augmented = positives(images, generator=torch.Generator().manual_seed(0))
        >>> {family: tuple(draw.shape) for family, draw in positives._params.items()}
        {'color': (4, 3), 'translation': (4, 2), 'cutout': (4, 2)}
        >>> torch.equal(positives(images, params=positives._params), augmented)
        True

    Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020; flips and turns
    from Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020.
    """

    def __init__(self, policy: str = "color,translation,cutout") -> None:
        super().__init__()
        self.words = _parse(policy)
        self._params: Params = {}

    @property
    def sizes(self) -> dict[str, int]:
        """How many numbers each family of the policy draws per image."""
        return {word: FAMILIES[word].size for word in self.words}

    def sample(
        self, shape: tuple[int, ...], *, generator: torch.Generator | None = None, device: sampling.Device = None
    ) -> Params:
        """Draw for a batch of ``shape`` ``(B, C, H, W)``."""
        return {word: FAMILIES[word].draw(shape, generator=generator, device=device) for word in self.words}

    def forward(
        self, images: Tensor, params: Params | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Augment a batch.

        Args:
            images: ``(B, C, H, W)`` floating point, zero being the middle of their range.
            params: A draw to repeat.
            generator: Source of the draw; ``None`` is torch's global one.

        Raises:
            TypeError: If the images are not floating point.
            ValueError: If they are not ``(B, C, H, W)``, or a draw is not of this policy or batch, or is given
                together with a generator.
        """
        if images.ndim != 4:
            raise ValueError(f"images must be (B, C, H, W), got shape {tuple(images.shape)}")
        if not images.is_floating_point():
            raise TypeError(f"images must be floating point, got {images.dtype}: bring them to [-1, 1]")
        if params is None:
            params = self.sample(images.shape, generator=generator, device=images.device)
        elif generator is not None:
            raise ValueError("params repeat a draw; pass them without a generator")
        self._check(params, len(images))
        self._params = params
        return self._augment(images, params)

    def extra_repr(self) -> str:
        """The policy."""
        return repr(",".join(self.words))

    def _augment(self, images: Tensor, params: Params) -> Tensor:
        for word in self.words:
            images = FAMILIES[word].apply(images, params[word])
        return images

    def _shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        return {word: (batch, FAMILIES[word].size) for word in self.words}

    def _check(self, params: Params, batch: int) -> None:
        expected, given = self._shapes(batch), {name: tuple(value.shape) for name, value in params.items()}
        if given != expected:
            raise ValueError(f"params must be a draw for this policy and batch, {expected}, got {given}")


class AdaptiveAugment(DiffAugment):
    """Augmentation that sets in as the discriminator overfits: each family changes each image with probability ``p``.

    A discriminator that knows its training images by heart calls nearly all of them real. So ``p`` rises while
    ``r = E[sign(D(real))]`` is above a target, and falls while it is below; it starts at 0.

    Signs are added up on their device; every ``interval``-th update reads their mean back, which waits for the device
    once, as does ``state_dict``. With several processes give each the logits of all, or their ``p`` drift apart.

    Args:
        policy: As in :class:`DiffAugment`.
        target: The r to hold, in (−1, 1).
        interval: Updates between two moves of ``p``.
        images: How many real images it takes for ``p`` to go from 0 to 1, or back.

    Attributes:
        p: The probability, in [0, 1].

    Raises:
        ValueError: If an argument is out of bounds.

    Example:
        >>> positives = AdaptiveAugment("flip,color", interval=1, images=1000)
        >>> positives.update(torch.ones(50))  # all real images are called real: overfitting
        0.05

    Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020; there the target
    is 0.6, the interval 4 and the passage 500,000 images.
    """

    def __init__(
        self,
        policy: str = "flip,rotate90,translation,color",
        target: float = 0.6,
        interval: int = 4,
        images: int = 500_000,
    ) -> None:
        super().__init__(policy)
        if not -1 < target < 1:
            raise ValueError(f"target must be in (-1, 1), the range of a mean sign, got {target}")
        if interval < 1 or images < 1:
            raise ValueError(f"interval and images must be at least 1, got interval={interval}, images={images}")
        self.target = target
        self.interval = interval
        self.images = images
        self.p = 0.0
        self._signs: Tensor | float = 0.0
        self._updates = self._seen = 0

    def sample(
        self, shape: tuple[int, ...], *, generator: torch.Generator | None = None, device: sampling.Device = None
    ) -> Params:
        """Draw for a batch of ``shape``; under ``"applied"``, ``(B, families)``, which families change which image."""
        params = super().sample(shape, generator=generator, device=device)
        coins = sampling.uniform(shape[0], len(self.words), generator=generator, device=device)
        return params | {"applied": coins < self.p}

    def update(self, real_logits: Tensor) -> float:
        """Take note of the logits of a batch of real images, and move ``p`` if it is time to. Returns ``p``.

        Raises:
            ValueError: If there are no logits, or those since the last move are not finite.
        """
        if real_logits.numel() == 0:
            raise ValueError("real_logits is empty")
        logits = real_logits.detach().float()
        self._signs = self._signs + (logits.sign() + 0 * logits).mean()  # alone the sign of NaN would be 0
        self._seen += len(real_logits)
        self._updates += 1
        if self._updates == self.interval:
            r = float(self._signs) / self.interval
            if r != r:
                raise ValueError("the logits of real images are not finite: training diverged")
            step = self._seen / self.images
            self.p = min(max(self.p + (step if r > self.target else -step), 0.0), 1.0)
            self._signs, self._updates, self._seen = 0.0, 0, 0
        return self.p

    def get_extra_state(self) -> dict[str, float]:
        """Return what ``state_dict`` keeps: ``p`` and the signs noted since it last moved."""
        return {"p": self.p, "signs": float(self._signs), "updates": self._updates, "seen": self._seen}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` kept."""
        if not 0 <= state["p"] <= 1 or not 0 <= state["updates"] < self.interval:
            raise ValueError(f"this state is not of an augmentation with interval={self.interval}: {dict(state)}")
        self.p, self._signs = state["p"], state["signs"]
        self._updates, self._seen = int(state["updates"]), int(state["seen"])

    def extra_repr(self) -> str:
        """The settings, and where ``p`` is."""
        settings = f"target={self.target}, interval={self.interval}, images={self.images}"
        return f"{super().extra_repr()}, {settings}; p={self.p:g}"

    def _augment(self, images: Tensor, params: Params) -> Tensor:
        for number, word in enumerate(self.words):
            changed = FAMILIES[word].apply(images, params[word])
            images = torch.where(params["applied"][:, number].view(-1, 1, 1, 1), changed, images)
        return images

    def _shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        return super()._shapes(batch) | {"applied": (batch, len(self.words))}


def undone_negatives(negatives: NegativeTransform, positives: DiffAugment) -> list[str]:
    """Name the negatives that a positive imitates or undoes, each with the positives that do.

    Where a positive can do to a real image what made the negative, the discriminator is told of one image that it is
    real and that it is not.

    Args:
        negatives: The negatives of a run.
        positives: Its positives.

    Returns:
        A line for each such negative; none if the two go together.

    Example:
        >>> undone_negatives(nda.from_policy("jigsaw,cutout"), DiffAugment("color,cutout"))
        ['cutout is imitated by the positive cutout']
    """
    found = []
    for negative in _members(negatives):
        needed = _undone_by(negative)
        if needed and set(needed) <= set(positives.words):
            plural = "positives" if len(needed) > 1 else "positive"
            found.append(f"{negative} is imitated by the {plural} {' and '.join(needed)}")
    return found


def _undone_by(negative: NegativeTransform) -> tuple[str, ...]:
    """The positives that together make this negative, or nearly; none if none do."""
    if isinstance(negative, nda.Flip):
        # Top and bottom change places under half a turn and a reflection of left and right.
        return ("flip",) if negative.direction == "horizontal" else ("flip", "rotate90")
    pairs = {nda.Cutout: "cutout", nda.Roll: "translation", nda.Rotate90: "rotate90"}
    return (pairs[type(negative)],) if type(negative) in pairs else ()


def _members(negatives: NegativeTransform) -> list[NegativeTransform]:
    if not isinstance(negatives, Mixture):
        return [negatives]
    return [found for member in negatives.members for found in _members(member)]


def _parse(policy: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in policy.split(","))
    for word in words:
        if word not in FAMILIES:
            nearest = max(FAMILIES, key=lambda known: difflib.SequenceMatcher(None, word, known).ratio())
            raise ValueError(
                f"a policy is made of {', '.join(FAMILIES)}, got {word!r} in {policy!r}; did you mean {nearest!r}?"
            )
    if len(set(words)) < len(words):
        raise ValueError(f"policy {policy!r} names a family twice")
    return words


def _draw_color(shape: tuple[int, ...], **source: Any) -> Tensor:
    return sampling.uniform(shape[0], 3, **source)


def _color(images: Tensor, amounts: Tensor) -> Tensor:
    # kornia's adjustments clip to [0, 1] and weigh channels by luminance, of which there must be three.
    brightness, saturation, contrast = amounts.to(images.dtype).view(-1, 3, 1, 1, 1).unbind(dim=1)
    images = images + brightness - 0.5
    images = torch.lerp(images.mean(dim=1, keepdim=True), images, 2 * saturation)
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, contrast + 0.5)


def _draw_translation(shape: tuple[int, ...], **source: Any) -> Tensor:
    """Across and down, 0.5 being none, in steps of a pixel."""
    most = _most_shift(shape)
    drawn = [sampling.integers(0, 2 * m + 1, shape[0], **source) / max(2 * m, 1) for m in most]
    return torch.stack(drawn, dim=1)


def _translation(images: Tensor, amounts: Tensor) -> Tensor:
    # kornia's translate goes through grid_sample, which has no second derivative, and gradient penalties need one.
    most = _most_shift(images.shape)
    shifts = torch.stack([(2 * m * w).round().long() - m for m, w in zip(most, amounts.unbind(dim=1), strict=True)], 1)
    across, down = most
    padded = nda.functional.roll(F.pad(images, (across, across, down, down)), shifts)
    return padded[..., down : down + images.shape[-2], across : across + images.shape[-1]]


def _most_shift(shape: tuple[int, ...]) -> tuple[int, int]:
    """Largest translation across and down, in pixels."""
    return round(shape[-1] * _SHIFT), round(shape[-2] * _SHIFT)


def _draw_cutout(shape: tuple[int, ...], **source: Any) -> Tensor:
    """The square's centre, across and down, in steps of a pixel."""
    drawn = [sampling.integers(0, n, shape[0], **source) / max(n - 1, 1) for n in _centres(shape)]
    return torch.stack(drawn, dim=1)


def _cutout(images: Tensor, amounts: Tensor) -> Tensor:
    corners = []
    for length, n, place in zip(images.shape[:1:-1], _centres(images.shape), amounts.unbind(dim=1), strict=True):
        hole = _hole(length)
        low = (place * (n - 1)).round().long() - hole // 2
        corners.append((low.clamp(0, length - 1), (low + hole).clamp(1, length)))
    (x0, x1), (y0, y1) = corners
    return nda.functional.cutout(images, torch.stack([x0, y0, x1, y1], dim=1), fill="zero")


def _hole(length: int) -> int:
    return max(round(length * _HOLE), 1)


def _centres(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many places the square's centre has, across and down; an even square is centred between pixels."""
    return tuple(length + 1 - _hole(length) % 2 for length in shape[:1:-1])


def _draw_flip(shape: tuple[int, ...], **source: Any) -> Tensor:
    return sampling.integers(0, 2, shape[0], 1, **source).float()


def _flip(images: Tensor, amounts: Tensor) -> Tensor:
    return torch.where(amounts.view(-1, 1, 1, 1) > 0.5, hflip(images), images)


def _draw_rotate90(shape: tuple[int, ...], **source: Any) -> Tensor:
    square = shape[-1] == shape[-2]
    turns = sampling.integers(0, 4 if square else 2, shape[0], 1, **source)
    return turns / 3 if square else turns * (2 / 3)


def _rotate90(images: Tensor, amounts: Tensor) -> Tensor:
    return nda.functional.rotate90(images, (3 * amounts).round().long().squeeze(1))


FAMILIES: dict[str, Family] = {
    "color": Family(3, _draw_color, _color),
    "translation": Family(2, _draw_translation, _translation),
    "cutout": Family(2, _draw_cutout, _cutout),
    "flip": Family(1, _draw_flip, _flip),
    "rotate90": Family(1, _draw_rotate90, _rotate90),
}
