"""What all negative transforms share: one draw per image, a kernel, and kornia's calling conventions."""

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from kornia.augmentation._2d.base import _input_metadata_only
from torch import Tensor

from nda_augment import sampling
from nda_augment._words import format_value, word_of
from nda_augment.functional._checks import check_dtype, check_pool

Params = dict[str, Tensor]


class NegativeTransform(IntensityAugmentationBase2D):
    """Base of all negatives: draws one set of parameters per image and hands them to a kernel.

    A subclass says how to draw (``sample``) and how to apply (``negate``), and stores every constructor argument
    under its own name; the representation and the policy string are read from there.

    Args:
        p: Probability that an image becomes its negative; the others come back as they are.
        same_on_batch: One draw shared by the whole batch.
        keepdim: Return the shape that was given; ``False`` returns a batch also for a single image.

    Convention:
        - images are ``(B, C, H, W)``, ``(C, H, W)`` or ``(H, W)``, clips ``(B, T, C, H, W)``; floating point or
          uint8, any range. Shape, dtype, device and memory format come back as they were; nothing is clamped and the
          input is never written to.
        - ``module(images)`` draws anew, ``module(images, generator=g)`` draws from ``g`` alone, and
          ``module(images, params=module._params)`` repeats a draw exactly. ``_params`` holds the last draw: one entry
          per image in every tensor, and the pool if one was given.
        - a clip has one draw, the same on all of its frames.
        - transforms that need a second image take it from the batch, never from the image itself, or from
          ``pool=``, a batch of other images. A single image needs a pool.
        - masks, boxes, keypoints and class labels pass through kornia's containers untouched: a negative is no
          longer a picture of what they describe.
        - draws are made on the generator's device, or else on that of the images, and reach the images without
          waiting for the device. Inside kornia's containers they are made where ``.to(device)`` put the module.
    """

    uses_partners = False

    def __init__(self, p: float = 1.0, same_on_batch: bool = False, keepdim: bool = True) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p must be a probability in [0, 1], got {p}")
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)

    @abstractmethod
    def sample(
        self, batch: int, size: tuple[int, int], *, generator: torch.Generator | None, device: sampling.Device
    ) -> Params:
        """Draw the parameters of ``batch`` images of ``size`` (height, width), partners excepted."""

    @abstractmethod
    def negate(self, images: Tensor, params: Params) -> Tensor:
        """Apply the kernel to images ``(B, ..., C, H, W)`` with the parameters on their device."""

    def forward(  # type: ignore[override]  # kornia drops unknown keywords in silence; here they are errors
        self,
        input: Tensor,
        params: Params | None = None,
        *,
        generator: torch.Generator | None = None,
        pool: Tensor | None = None,
        data_keys: Any = None,
    ) -> Tensor:
        """Return the negatives of a batch.

        Args:
            input: Images, see the convention of the class.
            params: A draw to repeat, as recorded in ``_params``.
            generator: Source of the draw; ``None`` is torch's global one.
            pool: ``(N, C, H, W)`` images to borrow from, for transforms that need a partner.
            data_keys: Passed by kornia's containers; not used.

        Returns:
            Tensor like ``input``.

        Raises:
            ValueError: If the input has a wrong rank, a grid does not divide it, a batch of one has no pool, or
                ``params`` come together with a generator or a pool, which would be ignored.
            TypeError: If the input is neither floating point nor uint8.
        """
        if params is None:
            images = self.transform_tensor(input)
            params = self.draw(
                images.shape, generator=generator, device=images.device, pool=self._own_pool(pool, images)
            )
        elif generator is not None or pool is not None:
            raise ValueError("params repeat a draw, pool included; pass them without a generator and without a pool")
        negatives: Tensor = super().forward(input, params=params)
        return negatives

    def draw(
        self,
        batch_shape: tuple[int, ...],
        *,
        generator: torch.Generator | None = None,
        device: sampling.Device = None,
        pool: Tensor | None = None,
        same_on_batch: bool | None = None,
    ) -> Params:
        """Draw the parameters of a batch of ``batch_shape`` without applying them.

        Args:
            batch_shape: ``(B, C, H, W)`` or ``(B, T, C, H, W)``.
            generator: Source of the draw; ``None`` is torch's global one.
            device: Device of the parameters.
            pool: ``(N, C, H, W)`` images to borrow from.
            same_on_batch: One draw for the whole batch; ``None`` is the module's own setting.

        Returns:
            The parameters by name, one entry per image in each, as ``forward`` takes them.
        """
        same_on_batch = self.same_on_batch if same_on_batch is None else same_on_batch
        options: dict[str, Any] = {"generator": generator, "device": device}
        params = self._draw_own(batch_shape, pool, same_on_batch, options)
        params["batch_prob"] = self._draw_gate(batch_shape[0], same_on_batch, options)
        params["forward_input_shape"] = torch.tensor(batch_shape, dtype=torch.long)
        return params

    def forward_parameters(self, batch_shape: tuple[int, ...]) -> Params:
        """Draw for kornia's containers, on the module's own device."""
        return self.draw(batch_shape, device=self.device)

    def apply_transform(
        self,
        input: Tensor,
        params: Params,
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Tensor:
        """Apply the kernel with the parameters brought to the images' device."""
        return self.negate(input, {name: value.to(input.device, non_blocking=True) for name, value in params.items()})

    @_input_metadata_only
    def transform_tensor(
        self,
        input: Tensor,
        *,
        shape: Tensor | None = None,
        match_channel: bool = True,
    ) -> Tensor:
        """View the input as a batch; unlike kornia's own transforms, uint8 images and clips are welcome."""
        if not isinstance(input, Tensor):
            raise TypeError(f"images must be a torch.Tensor, got {type(input).__name__}")
        check_dtype(input)
        if not 2 <= input.ndim <= 5:
            raise ValueError(
                "images must be (H, W), (C, H, W), (B, C, H, W) or clips (B, T, C, H, W), "
                f"got shape {tuple(input.shape)}"
            )
        return input.reshape((1,) * (4 - input.ndim) + input.shape)

    def validate_tensor(self, input: Tensor) -> None:
        """Accept what ``transform_tensor`` let through."""

    def transform_masks(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Pass masks through untouched, whatever their dtype."""
        return input

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, as this module holds them."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __str__(self) -> str:
        """Return the policy string of this transform: its word, and the arguments that are not the default."""
        parameters = inspect.signature(type(self)).parameters
        changed = {name: value for name, value in self.arguments().items() if value != parameters[name].default}
        inside = ",".join(f"{name}={format_value(value)}" for name, value in changed.items())
        return word_of(type(self)) + (f"({inside})" if inside else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments().items())})"

    def _own_pool(self, pool: Tensor | None, images: Tensor) -> Tensor | None:
        if pool is None:
            return None
        if not self.uses_partners:
            raise ValueError(f"{type(self).__name__} borrows from no other image; call it without a pool")
        return check_pool(pool, images)

    def _draw_own(
        self, batch_shape: tuple[int, ...], pool: Tensor | None, same_on_batch: bool, options: dict[str, Any]
    ) -> Params:
        batch, size = batch_shape[0], (batch_shape[-2], batch_shape[-1])
        drawn = self.sample(min(batch, 1) if same_on_batch else batch, size, **options)
        params = {name: value.expand(batch, *value.shape[1:]) for name, value in drawn.items()}
        if self.uses_partners:
            pool_size = None if pool is None else len(pool)
            params["partners"] = sampling.partners(batch, pool_size, same_on_batch=same_on_batch, **options)
            if pool is not None:
                params["pool"] = pool
        return params

    def _draw_gate(self, batch: int, same_on_batch: bool, options: dict[str, Any]) -> Tensor:
        """Draw which images are transformed, as kornia's base does but from the generator."""
        if self.p == 1.0:
            return torch.ones(batch, dtype=torch.bool, device=options["device"])
        return sampling.bernoulli(min(batch, 1) if same_on_batch else batch, self.p, **options).expand(batch)


def select(params: Mapping[str, Tensor], index: Tensor) -> Params:
    """Return the parameters of the images numbered ``index``; a pool is shared by all."""
    shared = ("pool", "forward_input_shape")
    return {
        name: value if name.rsplit(".", 1)[-1] in shared else value.index_select(0, index)
        for name, value in params.items()
    }


def as_range(value: tuple[float, float] | float, name: str) -> tuple[float, float]:
    """Return a range of fractions, checked; a single number is a range of one value."""
    low, high = (value, value) if isinstance(value, (int, float)) else value
    if not 0.0 < low <= high <= 1.0:
        raise ValueError(f"{name} must be a fraction or a range of fractions 0 < low <= high <= 1, got {value}")
    return float(low), float(high)


def as_grid(value: tuple[int, int] | int) -> tuple[int, int]:
    """Return (rows, columns), checked; a single number is a square grid."""
    rows, cols = (value, value) if isinstance(value, int) else value
    if rows < 1 or cols < 1 or rows * cols < 2:
        raise ValueError(f"grid must be (rows, columns) with at least two cells, got {value}")
    return int(rows), int(cols)


def one_of(value: Any, known: tuple[Any, ...], name: str) -> Any:
    """Return a value that must be one of a few."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value
