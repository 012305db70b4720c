"""What all negative transforms share: one draw per image, a kernel, and kornia's calling conventions."""

import inspect
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, Unpack

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from nda_augment import sampling
from nda_augment._checks import as_flag, as_pool, as_share, check_dtype, check_parameter
from nda_augment._policy_syntax import format_value
from nda_augment.functional._kernels import fused
from nda_augment.functional._layout import Chosen, as_images, as_planes
from nda_augment.functional.patches import Cells, chosen_cells, copy_chosen, cross_patch_shuffle, put_chosen
from nda_augment.sampling import Source
from nda_augment.transforms.card import Card

__all__ = ["LayoutWarning", "NegativeTransform"]

Params = dict[str, Tensor]

# Torch moves few unsigned integers; the signed ones of their size have the same bits.
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}

# Before torch 2.7 nothing tells an export; a compilation that dynamo does not make is one.
is_exporting = getattr(
    torch.compiler,
    "is_exporting",
    lambda: torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling(),
)

# What kornia's VideoSequential adds to the parameters of the modules that it calls.
_FROM_VIDEO = "video_batch_size"


# A last or a second axis no longer than this, beside two long ones, is rather that of the channels.
_MOST_CHANNELS = 4
_LEAST_SIDE = 16
# A line so many times as long as there are lines is rather an image of a batch that was flattened.
_FLATTENED = 3


class LayoutWarning(UserWarning):
    """Images look as if their axes were in another order than ``(B, C, H, W)`` or ``(B, T, C, H, W)``."""


class Common(TypedDict, total=False):
    """The constructor arguments that every transform takes."""

    p: float
    same_on_batch: bool
    keepdim: bool


@dataclass
class DrawContext:
    """What a draw is asked for, and what it may use."""

    shape: tuple[int, ...]
    generator: torch.Generator | None = None
    device: sampling.Device = None
    pool: Tensor | None = None
    labels: Tensor | None = None
    pool_labels: Tensor | None = None
    same_on_batch: bool = False

    @property
    def batch(self) -> int:
        """Number of images."""
        return self.shape[0]

    @property
    def draws(self) -> int:
        """Number of draws: one per image, or one for all."""
        return min(self.batch, 1) if self.same_on_batch else self.batch

    @property
    def source(self) -> Source:
        """Where the randomness comes from and goes to, as samplers take it."""
        return {"generator": self.generator, "device": self.device}


class NegativeTransform(IntensityAugmentationBase2D):
    """Base of all negatives: draws one set of parameters per image and hands them to a kernel.

    A subclass says how to draw (``make_params``) and how to apply (``transform``), and stores every constructor
    argument under its own name; the representation and the policy string are read from there.

    Args:
        p: Probability that an image becomes its negative; the others come back as they are.
        same_on_batch: One draw shared by the whole batch.
        keepdim: Whether to return the shape that was given; ``False`` returns a batch also for a single image.

    Convention:
        - images are ``(B, C, H, W)``, ``(C, H, W)`` or ``(H, W)``, clips ``(B, T, C, H, W)``; floating point or
          uint8, any range. Shape, dtype, device and memory format come back as they were; nothing is clamped and the
          input is never written to.
        - ``module(images)`` draws again, ``module(images, generator=g)`` draws from ``g`` alone, and
          ``module(images, params=module._params)`` repeats a draw exactly. ``_params`` holds the last draw: one entry
          per image in every tensor, and the pool if one was given: detached, its memory is kept until the next call.
        - a clip has one draw, the same on all of its frames. Clips go to the transform directly: of kornia's
          VideoSequential, transforms that borrow are an error.
        - transforms that need a second image take it from the batch, never from the image itself, or from
          ``pool=``, a batch of other images. A single image needs a pool.
        - masks, boxes, keypoints and class labels pass through kornia's containers untouched, since they
          describe a scene that a negative does not show any more. ``return_mask=True`` gives the changed region
          instead, for transforms that change one.
        - draws are made on the generator's device, or else on that of the images, and reach the images without
          waiting for the device. Inside kornia's containers they are made where ``.to(device)`` put the module.

    Attributes:
        card: Card with what the negative says of itself; a class with a card of its own is one of the registry.
        word: Name in a policy string.
        uses_partners: Whether it borrows from other images.
        needs_labels: Whether it must be called with ``labels=``.
        changes_region: Whether it changes a region and can return it as a mask.
        keeps_share: Whether it keeps a share of the image and can return that as a weight.
        moves_values: Whether it only puts values elsewhere, so that images of any dtype will do.
        needs_clips: Whether it works on clips only.
        channels: The number of channels that it needs, if it does.
    """

    card: ClassVar[Card]
    word: ClassVar[str]
    uses_partners = False
    needs_labels = False
    changes_region = False
    keeps_share = False
    moves_values = False
    needs_clips = False
    channels: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.word = cls.__name__.lower()
        if "transform" in vars(cls):
            # What its parents move and write is not what a class with a kernel of its own does.
            for name in {"cells", "change", "write"} - vars(cls).keys():
                setattr(cls, name, getattr(NegativeTransform, name))

    def __init__(self, p: float = 1.0, same_on_batch: bool = False, keepdim: bool = True) -> None:
        super().__init__(
            p=as_share(p, "p", "a probability in [0, 1]"),
            same_on_batch=as_flag(same_on_batch, "same_on_batch"),
            keepdim=as_flag(keepdim, "keepdim"),
        )
        self._last_batch: tuple[int, torch.dtype, torch.device] | None = None

    @abstractmethod
    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the parameters of a batch of ``shape`` ``(B, ..., C, H, W)``, partners excepted."""

    @abstractmethod
    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply the kernel to images ``(B, ..., C, H, W)`` with the parameters on their device."""

    def cells(self, shape: tuple[int, ...], params: Params) -> Cells | None:
        """Return what this transform makes of images of the batch, if it only puts cells of them elsewhere.

        Then those that it leaves alone, and those of other such transforms in a mixture, are moved together.
        """
        return None

    def change(self, copies: Sequence[Tensor], donors: Tensor, params: Params) -> bool:
        """Make negatives of copies of some images where they lie, and tell whether that is done.

        Args:
            copies: Planes ``(P, H, W, S)`` of each image on the CPU.
            donors: Planes ``(N, P, H, W, S)`` of the images that partners are taken from.
            params: The parameters of these images.
        """
        return False

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Write the negatives of chosen images with a fused kernel, and tell whether that is done.

        Here it is, if the transform only puts cells elsewhere.

        Args:
            target: Planes ``(B, P, H, W, S)`` that are written, of the chosen images alone.
            images: All images, contiguous or channels_last.
            params: The parameters of all images, with the pool if there is one.
            chosen: Choice of this transform.
        """
        cells = self.cells(tuple(images.shape), params)
        return cells is not None and put_chosen(target, as_planes(images), cells, chosen)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the changed region of a batch of ``shape`` as bool ``(B, 1, H, W)``."""
        raise ValueError(f"{type(self).__name__} changes no region of the image; call it without return_mask")

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the share of each image of a batch of ``shape`` that is its own, float32 ``(B,)``."""
        if not self.keeps_share:
            raise ValueError(f"{type(self).__name__} keeps no share of the image; call it without return_weight")
        return 1.0 - self.region(shape, params).float().mean(dim=(1, 2, 3))

    def forward(  # type: ignore[override]  # kornia drops unknown keywords in silence; here they are errors
        self,
        input: Tensor,
        params: Params | None = None,
        *,
        generator: torch.Generator | None = None,
        pool: Tensor | None = None,
        labels: Tensor | None = None,
        pool_labels: Tensor | None = None,
        return_mask: bool = False,
        return_weight: bool = False,
        data_keys: Any = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Return the negatives of a batch.

        Args:
            input: Images, see the convention of the class.
            params: A draw to repeat, as recorded in ``_params``; its values are checked on the CPU alone.
            generator: Source of the draw; ``None`` is torch's global one.
            pool: Images ``(N, C, H, W)`` to borrow from, for transforms that need a partner.
            labels: int64 ``(B,)`` classes of the images, for transforms that choose partners by class.
            pool_labels: int64 ``(N,)`` classes of the pool, likewise.
            return_mask: Whether to return the changed region as well, bool ``(B, 1, H, W)``, for transforms that change
                one.
            return_weight: Whether to return the share of each image that is its own as well, float32 ``(B,)`` in
                [0, 1], for transforms that keep one; the rest is the partner's, if there is one, ``partners`` of
                ``_params``. Of a single image it is a scalar.
            data_keys: Passed by kornia's containers; not used.

        Returns:
            Tensor like ``input``; with ``return_mask`` or ``return_weight`` a tuple of it, the mask and the weight.

        Raises:
            ValueError: If the input has a wrong rank, a grid does not divide it, a batch of one has no pool, or an
                argument is given that this transform or this call has no use for.
            TypeError: If the input is neither floating point nor uint8, or ``params`` or ``generator`` is neither of
                the two.
        """
        images = self.transform_tensor(input)
        if params is None:
            self._check_options(images, generator, pool, labels, pool_labels)
            params = drawn = self.draw(
                images.shape,
                generator=generator,
                device=images.device,
                pool=None if pool is None else _signed(pool),
                labels=labels,
                pool_labels=pool_labels,
            )
        else:
            check_replay(params, (generator, pool, labels, pool_labels))
            drawn = _on_device(params, images.device)
        values = _signed(images)
        negatives = self._negatives(values, drawn)
        if not is_exporting():
            # Past the checks of nn.Module, which take longer than many a kernel.
            object.__setattr__(self, "_params", detached(params))
            object.__setattr__(self, "_last_batch", (len(images), images.dtype, images.device))
        negatives = negatives if values is images else negatives.view(images.dtype)
        unbatched = self.keepdim and images is not input
        negatives = negatives.reshape(input.shape) if unbatched else negatives
        if not (return_mask or return_weight):
            return negatives
        told = []
        if return_mask:
            told.append(self._gated(self.region(images.shape, drawn), None, drawn))
        if return_weight:
            share = self.own_share(images.shape, drawn)
            told.append(self._gated(share, torch.ones_like(share), drawn))
        return (negatives, *(each[0] if unbatched else each for each in told))

    def draw(
        self,
        batch_shape: tuple[int, ...],
        *,
        generator: torch.Generator | None = None,
        device: sampling.Device = None,
        pool: Tensor | None = None,
        labels: Tensor | None = None,
        pool_labels: Tensor | None = None,
    ) -> Params:
        """Draw the parameters of a batch of ``batch_shape`` without applying them.

        Args:
            batch_shape: Shape ``(B, C, H, W)`` or ``(B, T, C, H, W)``.
            generator: Source of the draw; ``None`` is torch's global one.
            device: Device of the parameters.
            pool: Images ``(N, C, H, W)`` to borrow from.
            labels: int64 ``(B,)`` classes of the images.
            pool_labels: int64 ``(N,)`` classes of the pool.

        Returns:
            The parameters by name, one entry per image in each, as ``forward`` takes them; below ``p=1`` with
            ``batch_prob``, bool ``(B,)``, True for the images that become negatives.
        """
        context = DrawContext(tuple(batch_shape), generator, device, pool, labels, pool_labels, self.same_on_batch)
        params = self.draw_kernel_params(context)
        if self.p < 1.0:
            coins = sampling.bernoulli(context.draws, self.p, **context.source)
            params["batch_prob"] = coins.expand(context.batch)
        return params

    def draw_kernel_params(self, context: DrawContext) -> Params:
        """Draw what this transform's kernel takes, without what kornia's containers ask for."""
        if context.draws == context.batch:
            return self.make_params(context.shape, **context.source)
        drawn = self.make_params((context.draws, *context.shape[1:]), **context.source)
        return {name: value.expand(context.batch, *value.shape[1:]) for name, value in drawn.items()}

    # What kornia's containers call. All of it leads to ``draw`` and ``transform``.

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> Params:
        """Draw what the kernel takes, on the module's own device."""
        return self.draw_kernel_params(
            DrawContext(tuple(batch_shape), device=self.device, same_on_batch=self.same_on_batch)
        )

    def forward_parameters(self, batch_shape: tuple[int, ...]) -> Params:
        """Draw on the module's own device, with the gate and the shape that containers read."""
        params = self.draw(batch_shape, device=self.device)
        params.setdefault("batch_prob", torch.ones(batch_shape[0], dtype=torch.bool, device=self.device))
        params["forward_input_shape"] = torch.tensor(tuple(batch_shape), dtype=torch.long)
        return params

    def transform_inputs(
        self, input: Tensor, params: Params, flags: Any = None, transform: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """Apply a draw, as calling the module with it does."""
        negatives: Tensor = self.forward(input, params=params)  # type: ignore[assignment]  # without a mask
        return negatives

    def apply_transform(
        self, input: Tensor, params: Params, flags: Any = None, transform: Tensor | None = None
    ) -> Tensor:
        """Apply the kernel to every image of a batch."""
        return self._applied(self.transform, input, params)

    def _applied(self, kernel: Callable[[Tensor, Params], Tensor], images: Tensor, params: Params) -> Tensor:
        """Return ``kernel(images, params)``, or say what is wrong with the parameters."""
        if self.uses_partners and _FROM_VIDEO in params:
            raise ValueError(
                f"{type(self).__name__} borrows from other clips, whose places kornia's VideoSequential does not keep; "
                "call it on clips (B, T, C, H, W) directly"
            )
        try:
            return kernel(images, params)
        except KeyError as error:
            raise ValueError(
                f"params hold no {error} for {type(self).__name__}, they hold {', '.join(params) or 'nothing'}; a draw "
                f"to repeat is the _params of a module of the same class and settings, after a call"
            ) from None

    def transform_tensor(self, input: Tensor, *, shape: Tensor | None = None, match_channel: bool = True) -> Tensor:
        """View the input as a batch; unlike kornia's own transforms, uint8 images and clips are welcome."""
        if not isinstance(input, Tensor):
            raise TypeError(
                f"images must be a torch.Tensor, got {type(input).__name__}; PIL images and arrays are "
                "for the adapters of torchvision and albumentations"
            )
        if input.layout is not torch.strided or input.is_nested:
            raise TypeError("images must be a dense tensor, got a sparse or nested one; make it dense, of one size")
        if not self.moves_values:
            check_dtype(input)
        ndim = input.ndim
        if not 2 <= ndim <= 5:
            raise ValueError(
                "images must be (H, W), (C, H, W), (B, C, H, W) or clips (B, T, C, H, W), "
                f"got shape {tuple(input.shape)}"
            )
        self._warn_of_another_layout(input.shape)
        return input if ndim >= 4 else input.reshape((1,) * (4 - ndim) + input.shape)

    @property
    def transform_matrix(self) -> Tensor | None:
        """Identity matrices ``(B, 3, 3)`` of the last batch: nothing moves in a way that a matrix could follow."""
        if self._last_batch is None:
            return None
        batch, dtype, device = self._last_batch
        return torch.eye(3, dtype=dtype, device=device).expand(batch, 3, 3)

    def validate_tensor(self, input: Tensor) -> None:
        """Accept what ``transform_tensor`` let through."""

    def transform_masks(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Pass masks through untouched, whatever their dtype."""
        return input

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return all arguments of the constructor by name, with their defaults."""
        found: dict[str, Any] = {}
        for base in cls.__mro__:
            if "__init__" not in vars(base):
                continue
            parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
            found = found | {parameter.name: parameter.default for parameter in named if parameter.name not in found}
            if named == parameters:
                return found
        return found

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, as this module holds them."""
        return {name: getattr(self, name) for name in self.defaults()}

    def __str__(self) -> str:
        """Return the policy string of this transform: its word, and the arguments that are not the default."""
        defaults = self.defaults()
        changed = {name: value for name, value in self.arguments().items() if value != defaults[name]}
        inside = ",".join(f"{name}={format_value(value)}" for name, value in changed.items())
        return self.word + (f"({inside})" if inside else "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments().items())})"

    def _negatives(self, images: Tensor, params: Params) -> Tensor:
        """Apply a draw to the images that their coins chose."""
        gated = self.p < 1.0 and "batch_prob" in params
        return self._applied(self._transform_chosen if gated else self.transform, images, params)

    def _transform_chosen(self, images: Tensor, params: Params) -> Tensor:
        check_parameter(params["batch_prob"], "batch_prob", (len(images),))
        chosen = (params["batch_prob"] > 0.5).long()
        if (written := self._written_chosen(images, params, chosen)) is not None:
            return written
        cells = self.cells(tuple(images.shape), params)
        if cells is None:
            return self._gated(self.transform(images, params), images, params)
        grid, sources, permutation = chosen_cells({1: cells}, chosen)
        return cross_patch_shuffle(images, sources, permutation, grid)

    def _written_chosen(self, images: Tensor, params: Params, chosen: Tensor) -> Tensor | None:
        """Return the negatives of images whose choice is 1, and copies of those whose choice is 0, if kernels can."""
        planes = as_planes(images)
        if not fused("put_", planes, chosen):
            return None
        target = torch.empty_like(planes)
        if not self.write(target, as_images(planes, images), params, Chosen(chosen, 1)):
            return None
        copy_chosen(target, planes, Chosen(chosen, 0))
        return as_images(target, images)

    def _gated(self, changed: Tensor, unchanged: Tensor | None, params: Params) -> Tensor:
        """Keep what was changed of the images that their coins chose; the others have ``unchanged``, or nothing."""
        if self.p == 1.0 or "batch_prob" not in params:
            return changed
        chosen = (params["batch_prob"] > 0.5).view(-1, *(1,) * (changed.ndim - 1))
        return changed & chosen if unchanged is None else torch.where(chosen, changed, unchanged)

    def _check_options(
        self,
        images: Tensor,
        generator: torch.Generator | None,
        pool: Tensor | None,
        labels: Tensor | None,
        pool_labels: Tensor | None,
    ) -> None:
        name = type(self).__name__
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(
                f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0), got "
                f"{type(generator).__name__}"
            )
        if pool is not None:
            if not self.uses_partners:
                raise ValueError(f"{name} borrows from no other image; call it without a pool")
            as_pool(pool, images)
        if self.needs_labels != (labels is not None):
            advice = "needs the classes of the images; pass labels=" if self.needs_labels else "has no use for labels"
            raise ValueError(f"{name} {advice}")
        if labels is not None:
            check_parameter(labels, "labels", (images.shape[0],))
        if (pool_labels is not None) != (pool is not None and labels is not None):
            raise ValueError("pool_labels are the classes of a pool; pass pool, labels and pool_labels together")
        if pool_labels is not None and pool is not None:
            check_parameter(pool_labels, "pool_labels", (len(pool),))

    def _warn_of_another_layout(self, shape: torch.Size) -> None:
        """Warn where a shape looks like that of images whose axes are in another order, or have become one."""
        if torch.compiler.is_compiling():
            return
        if len(shape) == 2:
            channels, side = _unflattened(shape[1])
            if shape[1] < _FLATTENED * shape[0] or side <= _LEAST_SIDE:
                return
            order, fix = "one image (H, W)", f"images.view(-1, {channels}, {side}, {side})"
        elif shape[-1] <= _MOST_CHANNELS and shape[-3] > _LEAST_SIDE and shape[-2] > _LEAST_SIDE:
            order, fix = "(..., C, H, W)", "images.movedim(-1, -3)"
        elif self.needs_clips and len(shape) == 5 and shape[1] <= _MOST_CHANNELS < shape[2]:
            order, fix = "(B, T, C, H, W)", "clips.transpose(1, 2)"
        else:
            return
        warnings.warn(
            f"{type(self).__name__} reads {tuple(shape)} as {order}; if the axes are in another order, pass {fix}, "
            'and if not, silence this with warnings.simplefilter("ignore", nda_augment.transforms.LayoutWarning)',
            LayoutWarning,
            stacklevel=6,
        )


def _unflattened(length: int) -> tuple[int, int]:
    """Return the channels and the side of a square image of so many values, or sides of 0."""
    for channels in (1, 3):
        side = math.isqrt(length // channels)
        if channels * side * side == length:
            return channels, side
    return 0, 0


def check_replay(params: Any, options: tuple[Any, ...]) -> None:
    """Raise unless ``params`` may be a draw, and nothing comes with it that would make another one."""
    if not isinstance(params, Mapping):
        raise TypeError(
            f"params must be a draw, as recorded in _params, got {type(params).__name__}; pass labels by name, labels="
        )
    if any(option is not None for option in options):
        raise ValueError("params repeat a draw, pool and labels included; pass them alone")
    strangers = [name for name, value in params.items() if not isinstance(value, Tensor)]
    if strangers:
        raise TypeError(f"params must hold tensors, got {type(params[strangers[0]]).__name__} for {strangers[0]!r}")


def _signed(images: Tensor) -> Tensor:
    """View unsigned integers that torch hardly moves as signed ones."""
    signed = _SIGNED.get(images.dtype)
    return images if signed is None else images.view(signed)


def detached(params: Params) -> Params:
    """Return a draw to keep: its pool without the graph that it may hang on."""
    if not any(value.requires_grad for value in params.values()):
        return params
    return {name: value.detach() for name, value in params.items()}


def select(params: Mapping[str, Tensor], index: Tensor) -> Params:
    """Return the parameters of the images numbered ``index``; a pool is shared by all."""
    shared = ("pool", "forward_input_shape")
    return {
        name: value if name.rsplit(".", 1)[-1] in shared else value.index_select(0, index)
        for name, value in params.items()
    }


def _on_device(params: Params, device: torch.device) -> Params:
    """Bring parameters to a device; what only kornia's containers read stays where it is."""
    return {
        name: value if name == "forward_input_shape" else value.to(device, non_blocking=True)
        for name, value in params.items()
    }
