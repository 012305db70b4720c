"""Negatives as albumentations transforms: one class for every negative that works on an image, named as in the core.

The classes are made from the registry, with the constructor arguments of the core; ``p`` comes last and is 1 unless
said otherwise, and ``same_on_batch``, ``keepdim`` and ``partner`` have no meaning here. Import this module before
``albumentations.from_dict`` or ``load``, which know only the classes that exist.

albumentations 2.0 looks for updates on the network when it is imported. If this module is what imports it, it does
not, unless ``NO_ALBUMENTATIONS_UPDATE`` is set and says otherwise; the environment is left as it was.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform as CoreTransform

from ._optional import optional_import

_UPDATE_SWITCH = "NO_ALBUMENTATIONS_UPDATE"

# So few, as the first of three sides beside two of more than sixteen, are no height of an image but its channels.
_MOST_CHANNELS, _LEAST_SIDE = 4, 17

# Arguments about batches, which this library has not, and about classes, which it does not show to images.
_LEFT_OUT = ("same_on_batch", "keepdim", "partner", "p")


def _refuse_albumentationsx() -> None:
    """Raise if AlbumentationsX is installed, which imports under the same name and has other hooks."""
    try:
        found = metadata.version("albumentationsx")
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"AlbumentationsX {found} is installed in the place of albumentations 2.0.8, which this adapter is written "
        "for; the hooks of custom transforms differ. Install the other one with: pip uninstall albumentationsx && "
        'pip install "nda-augment[albumentations]"'
    )


@contextmanager
def _without_update_check() -> Iterator[None]:
    if _UPDATE_SWITCH in os.environ:
        yield
        return
    os.environ[_UPDATE_SWITCH] = "1"
    try:
        yield
    finally:
        del os.environ[_UPDATE_SWITCH]


_refuse_albumentationsx()
with optional_import("albumentations"), _without_update_check():
    import albumentations as A
    import numpy as np
    from albumentations.core.transforms_interface import BaseTransformInitSchema
    from pydantic import create_model


class NegativeTransform(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is untyped
    """Base of the classes here: draws a seed from albumentations' generator and hands it to the core.

    Convention:
        - targets are ``image``, ``images``, ``volume`` and ``volumes``, uint8 or float32 of any range and any number
          of channels, with or without a channel axis. One call has one draw, the same for all of its images.
        - masks, boxes and keypoints come back untouched: they describe a scene, and a negative no longer shows it.
          To move a mask with the pixels of a rearrangement, declare it an image:
          ``A.Compose([Jigsaw()], additional_targets={"mask": "image"})``.
        - transforms that need a second image take it from ``pool_key`` of the call, ``"pool"`` by default: a list of
          images, or one array of them, of the size and dtype that the image has where the transform stands in the
          pipeline. The image itself must not be among them.
        - the parameters of a call, as ``ReplayCompose`` keeps them, are the seed and the partner image.
        - albumentations gives all workers of a DataLoader copies of one generator. These classes fold the worker's
          own seed into theirs when they are first used in a worker, so that workers and epochs differ, and repeat
          under ``torch.manual_seed`` and ``A.Compose(seed=...)``.

    Attributes:
        core: The negative of the core.
    """

    core: ClassVar[type[CoreTransform]]
    pool_key: str = "pool"

    def __init__(self, p: float = 1.0, **arguments: Any) -> None:
        super().__init__(p=p)
        for name, value in arguments.items():
            setattr(self, name, value)
        arguments.pop("pool_key", None)
        # One draw per call is this library's rule, and its own p has been drawn before.
        self._negative = self.core(**arguments, same_on_batch=True)

    @property
    def targets_as_params(self) -> list[str]:
        """The key of the pool, if there is need of one."""
        return [self.pool_key] if self._negative.uses_partners else []

    def get_params(self) -> dict[str, Any]:
        """Draw the seed of one call."""
        # 32 bits are what torch's generator reads.
        return {"seed": self.py_random.getrandbits(32)}

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the partner of one call."""
        if not self._negative.uses_partners:
            return {}
        pool = data[self.pool_key]
        if not len(pool):
            raise ValueError(f"{self.pool_key!r} is empty; {type(self).__name__} needs an image to borrow from")
        return {"partner": np.asarray(pool[self.py_random.randrange(len(pool))])}

    def apply(self, img: np.ndarray, seed: int, partner: np.ndarray | None = None, **params: Any) -> np.ndarray:
        """Return the negative of one image, ``(H, W)`` or ``(H, W, C)``."""
        _check_channels_last(img.shape)
        negative: np.ndarray = self._negatives(img[None], seed, partner)[0]
        return negative

    def apply_to_images(
        self, images: np.ndarray, seed: int, partner: np.ndarray | None = None, **params: Any
    ) -> np.ndarray:
        """Return the negatives of images or slices, ``(N, H, W)`` or ``(N, H, W, C)``, under one draw."""
        images = np.asarray(images)
        _check_channels_last(images.shape[1:])
        return self._negatives(images, seed, partner)

    def should_apply(self, force_apply: bool = False) -> bool:
        """Draw whether the transform is applied, with the worker's own generator if this is a worker."""
        worker = _worker_seed()
        if worker is not None and worker != self._seeded_in:
            self.set_random_seed(self.py_random.getrandbits(64) ^ worker)
        applied: bool = super().should_apply(force_apply)
        return applied

    def set_random_seed(self, seed: int | None) -> None:
        """Set the generators from a seed."""
        super().set_random_seed(seed)
        self._seeded_in = _worker_seed()

    def set_random_state(self, random_generator: np.random.Generator, py_random: Any) -> None:
        """Set the generators."""
        super().set_random_state(random_generator, py_random)
        self._seeded_in = _worker_seed()

    def _negatives(self, images: np.ndarray, seed: int, partner: np.ndarray | None) -> np.ndarray:
        batch = _batch(images)
        pool = None if partner is None else _batch(partner[None])
        params = self._negative.draw(batch.shape, generator=torch.Generator().manual_seed(seed), pool=pool)
        negatives = self._negative.transform(batch, params)
        array: np.ndarray = (negatives.squeeze(1) if images.ndim == 3 else negatives.permute(0, 2, 3, 1)).numpy()
        return array


def _batch(images: np.ndarray) -> Tensor:
    """View ``(N, H, W)`` or ``(N, H, W, C)`` as ``(N, C, H, W)``, channels last, which the core keeps."""
    # Read-only arrays and negative strides are copied, since torch has neither.
    tensor = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)


def _check_channels_last(shape: tuple[int, ...]) -> None:
    """Raise if an image ``(H, W, C)`` looks as if its channels came first."""
    if len(shape) == 3 and shape[0] <= _MOST_CHANNELS and min(shape[1:]) >= _LEAST_SIDE:
        raise ValueError(
            f"albumentations takes images of shape (H, W, C), got {shape}, which looks like (C, H, W): "
            "image.transpose(1, 2, 0) turns it"
        )


def _worker_seed() -> int | None:
    worker = get_worker_info()
    return None if worker is None else int(worker.seed)


def _works_on_images(core: type[CoreTransform]) -> bool:
    """Tell negatives of images from those of clips, and from wrappers of what only code can name."""
    return not (core.needs_clips or inspect.Parameter.empty in core.defaults().values())


def _adapt(core: type[CoreTransform]) -> type[NegativeTransform]:
    """Make the albumentations class of a negative."""
    defaults = _defaults(core)
    hints = _hints(core)
    fields: dict[str, Any] = {name: (hints[name], ...) for name in defaults if name != "p"}

    def __init__(self: NegativeTransform, **arguments: Any) -> None:  # noqa: N807  # it becomes the constructor
        NegativeTransform.__init__(self, **arguments)

    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    # albumentations validates, and writes to files, the arguments that the signature names.
    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # inspect reads it
        [inspect.Parameter("self", named)]
        + [inspect.Parameter(name, named, default=default) for name, default in defaults.items()]
    )
    namespace = {
        "__module__": __name__,
        "__doc__": _docstring(core, defaults),
        "__init__": __init__,
        "InitSchema": create_model("InitSchema", __base__=BaseTransformInitSchema, **fields),
        "core": core,
    }
    adapted: type[NegativeTransform] = type(A.ImageOnlyTransform)(core.__name__, (NegativeTransform,), namespace)
    return adapted


def _defaults(core: type[CoreTransform]) -> dict[str, Any]:
    """Return the arguments of the class for a negative, with their defaults, ``p`` last."""
    defaults = {name: default for name, default in core.defaults().items() if name not in _LEFT_OUT}
    pool = {"pool_key": NegativeTransform.pool_key} if core.uses_partners else {}
    return {**defaults, **pool, "p": core.defaults()["p"]}


def _hints(core: type[CoreTransform]) -> dict[str, Any]:
    """Return the types of a negative's arguments, which may be spread over the constructors of its bases."""
    hints: dict[str, Any] = {"pool_key": str}
    for base in reversed(core.__mro__):
        if issubclass(base, CoreTransform):
            hints.update(get_type_hints(base.__init__))
    return hints


def _docstring(core: type[CoreTransform], defaults: dict[str, Any]) -> str:
    summary = (core.__doc__ or "").strip().splitlines()[0]
    arguments = ", ".join(f"``{name}={default!r}``" for name, default in defaults.items())
    return (
        f"{summary}\n\nArgs:\n    {arguments}: see :class:`nda_augment.{core.__name__}`.\n\n"
        "Targets:\n    image, volume\n\nImage types:\n    uint8, float32\n"
    )


_CLASSES = {negative.__name__: _adapt(negative) for negative in NEGATIVES if _works_on_images(negative)}
globals().update(_CLASSES)
__all__ = ["NegativeTransform", *_CLASSES]

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[NegativeTransform]:
        """Tell type checkers that the classes of the registry are here."""
