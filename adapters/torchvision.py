"""Negatives in torchvision pipelines: as a v2 transform, in the collation of batches, and as a labelled data set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset, default_collate

from nda_augment import sampling
from nda_augment._negatives import check_negative
from nda_augment.transforms import NegativeTransform as CoreTransform

from ._optional import optional_import

with optional_import("torchvision"):
    import numpy as np
    from PIL.Image import Image as PILImage
    from torchvision import tv_tensors
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional as F
    from torchvision.transforms.v2.functional import is_pure_tensor

# The modes that torchvision turns into tensors and back without loss of meaning; a palette, for one, is no colour.
_PIL_MODES = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "F")

# mt19937, torch's generator on the CPU, reads 32 bits of a seed.
_SEEDS = 2**32


@runtime_checkable
class MapStyle(Protocol):
    """Anything with a length and items by number: a data set, a tensor, a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


# Where there are labels.
_COLLATE = "make its negatives with NegativeCollate"

Pool: TypeAlias = MapStyle | Callable[[], Any]


class NegativeTransform(v2.Transform):  # type: ignore[misc]  # torchvision is untyped
    """Make a negative of every image that passes, in ``v2.Compose`` or in the classic ``transforms.Compose``.

    Args:
        transform: A negative of the core; its ``p`` and ``same_on_batch`` hold.
        pool: Images that pair transforms borrow from for an image that comes alone: a tensor ``(N, C, H, W)``, a
            map-style data set (one item is read per image; items are images or structures that hold one, such as
            ``(image, label)``), or a callable that returns an image or a batch ``(N, C, H, W)``. Items match the
            images in size and dtype where the transform stands in the pipeline, and must not be the image itself: to
            borrow from the data set in training, use :class:`NegativeDataset` or :class:`NegativeCollate`, which
            never pair an image with itself.

    Raises:
        TypeError: If the transform is not one of this package's or the pool is of none of these kinds; and in a call
            if an array comes in the place of an image, or a PIL image with a palette or other pixels than bytes and
            floats.
        ValueError: If a pool comes with a transform that borrows nothing; and in a call what the transform raises,
            such as for a single image without a pool.

    Convention:
        - PIL images, ``tv_tensors.Image``, ``tv_tensors.Video`` and plain tensors come back as the kind they were,
          anywhere in a nested structure. Of several plain tensors only the first is an image, and none if an image
          of another kind is there: torchvision's own rule.
        - masks, boxes, keypoints and labels come back untouched, the same objects: they describe a scene, and a
          negative no longer shows it.
        - a batch ``(B, C, H, W)`` gets one draw per image, where torchvision's transforms share one. A video
          ``(T, C, H, W)``, or a plain tensor ``(B, T, C, H, W)``, gets one draw per clip. Several images in one
          structure share a draw, as they do in every v2 transform.
        - draws come from torch's global generator, which a DataLoader seeds differently in every worker.

    Example:
        >>> import nda_augment as nda
        >>> from torchvision.transforms import v2
        >>> pipeline = v2.Compose([v2.RandomHorizontalFlip(), NegativeTransform(nda.Jigsaw(grid=(2, 2)))])
        >>> image = tv_tensors.Image(torch.rand(3, 32, 32))
        >>> negative, label = pipeline((image, 7))
        >>> type(negative).__name__, tuple(negative.shape), label
        ('Image', (3, 32, 32), 7)
    """

    _transformed_types = (PILImage, is_pure_tensor, tv_tensors.Image, tv_tensors.Video)

    def __init__(self, transform: CoreTransform, pool: Pool | None = None) -> None:
        super().__init__()
        check_negative(transform, "transform", always=False, clips=True, instead=_COLLATE)
        self.negative = transform
        self.pool = _check_pool(pool, transform)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse an array in the place of the image: torchvision would hand it back as it is."""
        arrays = any(isinstance(leaf, np.ndarray) and leaf.ndim > 1 for leaf in flat_inputs)
        if arrays and not any(self._needs_transform_list(flat_inputs)):
            raise TypeError("cannot make a negative of an array; put v2.ToImage() before this transform")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the seed that the images of one call share."""
        return {"seed": int(torch.randint(_SEEDS, (), device="cpu"))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return the negative of one image, batch or clip."""
        return _negative(inpt, self.negative, self.pool, torch.Generator().manual_seed(params["seed"]))

    # What torchvision 0.20 calls the hooks.
    def _check_inputs(self, flat_inputs: list[Any]) -> None:
        self.check_inputs(flat_inputs)

    def _get_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return self.make_params(flat_inputs)

    def _transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self.transform(inpt, params)


class WithNegative(NegativeTransform):
    """Return ``(image, negative)`` in the place of every image; otherwise as :class:`NegativeTransform`.

    A plain tensor becomes two ``tv_tensors.Image``, or ``tv_tensors.Video`` if it is a batch of clips: of several plain
    tensors the v2 transforms that follow would change the first only, such as normalise the image and not its negative.

    Args:
        transform: A negative of the core.
        pool: Images that pair transforms borrow from, see :class:`NegativeTransform`.

    Example:
        >>> import nda_augment as nda
        >>> image, negative = WithNegative(nda.Cutout())(torch.rand(3, 32, 32))
        >>> image.shape == negative.shape, torch.equal(image, negative)
        (True, False)
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return one image, batch or clip with its negative."""
        if is_pure_tensor(inpt):
            inpt = tv_tensors.Video(inpt) if inpt.ndim == 5 else tv_tensors.Image(inpt)
        return inpt, super().transform(inpt, params)


class NegativeCollate:
    """Collate a batch and add the negatives of its images; pair transforms borrow within the batch.

    For ``DataLoader(collate_fn=...)``. Making negatives batch by batch is the cheaper way, and needs no pool.

    Args:
        transform: A negative of the core.
        collate_fn: Makes a batch of samples; torch's default one if not given.
        pool: Images that pair transforms borrow from instead of the batch, see :class:`NegativeTransform`; a last batch
            of one image needs it, or ``drop_last=True``.
        image_key: Key of the images if batches are dictionaries; in other batches they come first.
        label_key: Key of the classes, for transforms that need them, if batches are dictionaries; in other batches
            they come second.
        negative_key: Key that the negatives get if batches are dictionaries; in other batches they come last.

    Returns:
        Of a dictionary, a dictionary with one key more; of a tuple or list, a list with one element more; of a bare
        tensor, ``[images, negatives]``.

    Raises:
        TypeError: If the transform is not one of this package's, or the batch has no tensor of images in its place.
        KeyError: If a dictionary lacks one of the keys, or already has something in the place of the negatives.
        ValueError: What the transform raises, such as for a batch of one image without a pool.

    Example:
        >>> import nda_augment as nda
        >>> from torch.utils.data import DataLoader
        >>> samples = [(torch.rand(3, 32, 32), label) for label in range(8)]
        >>> loader = DataLoader(samples, batch_size=4, collate_fn=NegativeCollate(nda.Stitch()))
        >>> images, labels, negatives = next(iter(loader))
        >>> tuple(negatives.shape), labels.tolist()
        ((4, 3, 32, 32), [0, 1, 2, 3])
    """

    def __init__(
        self,
        transform: CoreTransform,
        collate_fn: Callable[[list[Any]], Any] = default_collate,
        *,
        pool: Pool | None = None,
        image_key: str = "image",
        label_key: str = "label",
        negative_key: str = "negative",
    ) -> None:
        check_negative(transform, "transform", always=False, labels=True, clips=True)
        self.transform = transform
        self.collate_fn = collate_fn
        self.pool = _check_pool(pool, transform)
        self.image_key = image_key
        self.label_key = label_key
        self.negative_key = negative_key

    def __call__(self, samples: list[Any]) -> Any:
        """Collate the samples and add their negatives."""
        batch = self.collate_fn(samples)
        if isinstance(batch, Mapping):
            if self.negative_key in batch:
                raise KeyError(f"the batch has something under negative_key={self.negative_key!r} already")
            return {**batch, self.negative_key: self._negatives(batch, self.image_key, self.label_key)}
        parts = batch if isinstance(batch, Sequence) else [batch]
        return [*parts, self._negatives(dict(enumerate(parts)), 0, 1)]

    def _negatives(self, batch: Mapping[Any, Any], image_key: Any, label_key: Any) -> Any:
        images = _tensor_at(image_key, batch, "images")
        labels = _tensor_at(label_key, batch, "labels") if self.transform.needs_labels else None
        return _negative(images, self.transform, self.pool, generator=None, labels=labels)


class NegativeDataset(Dataset[tuple[Any, int]]):
    """Real images and their negatives, labelled: the data set that a detector of negatives is trained on.

    Items 0 to N-1 are the images of the data set with label 0, items N to 2N-1 their negatives, in the same order,
    with label 1. Pair transforms borrow from the other images of the data set, each with the same probability.

    Args:
        dataset: A map-style data set of images, or of structures that hold one, such as ``(image, label)``; only the
            image is kept.
        transform: A negative of the core.
        pool: Images that pair transforms borrow from instead, see :class:`NegativeTransform`.
        seed: Seed, 0 or more. It makes the negative of each item the same every time, in any order and any worker,
            provided that the data set itself returns the same; without a seed every access draws again.

    Raises:
        TypeError: If the data set, the transform or the pool is of the wrong kind, or an item holds no image.
        ValueError: If a pool comes with a transform that borrows nothing, or the seed is negative.

    Example:
        >>> import nda_augment as nda
        >>> photos = NegativeDataset([torch.rand(3, 32, 32) for _ in range(5)], nda.Stitch(), seed=0)
        >>> len(photos), photos[2][1], photos[7][1]
        (10, 0, 1)
        >>> torch.equal(photos[7][0], photos[7][0])
        True
    """

    def __init__(
        self, dataset: MapStyle, transform: CoreTransform, pool: Pool | None = None, seed: int | None = None
    ) -> None:
        if not isinstance(dataset, MapStyle):
            raise TypeError(f"dataset must have a length and items by number, got {type(dataset).__name__}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.dataset = dataset
        check_negative(transform, "transform", always=False, clips=True, instead=_COLLATE)
        self.transform = transform
        self.pool = _check_pool(pool, transform)
        self.seed = seed

    def __len__(self) -> int:
        return 2 * len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return an image and 0, or its negative and 1."""
        label, number = divmod(range(len(self))[index], len(self.dataset))
        image = _image_of(self.dataset[number])
        if label == 0:
            return image, label
        pool = _Others(self.dataset, number) if self.pool is None and self.transform.uses_partners else self.pool
        return _negative(image, self.transform, pool, self._generator(number)), label

    def _generator(self, number: int) -> torch.Generator | None:
        if self.seed is None:
            return None
        # Hashed, so that neighbouring seeds and neighbouring items do not share their draws.
        return torch.Generator().manual_seed(int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0]))


class _Others:
    """A data set without one of its items."""

    def __init__(self, dataset: MapStyle, left_out: int) -> None:
        self.dataset = dataset
        self.left_out = left_out

    def __len__(self) -> int:
        return len(self.dataset) - 1

    def __getitem__(self, index: int, /) -> Any:
        return self.dataset[index + (index >= self.left_out)]


def _negative(
    image: Any,
    transform: CoreTransform,
    pool: Pool | None,
    generator: torch.Generator | None,
    labels: Tensor | None = None,
) -> Any:
    """Return the negative of an image, batch or clip, as the kind that it is."""
    batch = _batch_of(image)
    borrowed = None if pool is None else _borrow(pool, batch, generator)
    negatives = transform(batch, generator=generator, pool=borrowed, labels=labels)
    if isinstance(image, PILImage):
        return F.to_pil_image(negatives[0], mode=image.mode)
    return tv_tensors.wrap(negatives.reshape(image.shape), like=image)


def _batch_of(image: Any) -> Tensor:
    """View an image of any kind as a batch of images or, for videos and plain tensors of five dimensions, of clips."""
    pixels = _pixels_of(image)
    if isinstance(image, tv_tensors.Video):
        return pixels.reshape(-1, *pixels.shape[-4:])
    if isinstance(image, tv_tensors.Image):
        return pixels.reshape(-1, *pixels.shape[-3:])
    return pixels.reshape((1,) * (4 - pixels.ndim) + pixels.shape)


def _pixels_of(image: Any) -> Tensor:
    if not isinstance(image, PILImage):
        plain: Tensor = image.as_subclass(Tensor)
        return plain
    if image.mode not in _PIL_MODES:
        raise TypeError(f"cannot make a negative of a PIL image of mode {image.mode!r}; {_advice_on(image.mode)}")
    pixels: Tensor = F.pil_to_tensor(image)
    return pixels


def _advice_on(mode: str) -> str:
    if mode.startswith("I"):
        return (
            'convert("RGB") would make nearly all pixels 255. Scale it first: torch.from_numpy(numpy.asarray(image, '
            '"float32") / 65535)[None], with the largest value of your images in the place of 65535'
        )
    return f'convert it first: image.convert("{"L" if mode == "1" else "RGBA" if mode == "PA" else "RGB"}")'


def _borrow(pool: Pool, batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """Read as many images of a pool as the batch has, and no more."""
    if isinstance(pool, MapStyle):
        numbers = sampling.partners(len(batch), len(pool), generator=generator)
        items = [pool[number] for number in numbers.tolist()]
    else:
        items = [pool()]
    images = [_pixels_of(_image_of(item)) for item in items]
    # Unlike torch.stack, torch.cat keeps the layout of decoded images, channels last.
    return torch.cat([image if image.ndim == batch.ndim else image.unsqueeze(0) for image in images])


def _image_of(item: Any) -> Any:
    """Return the image in a sample: the first of torchvision's kinds, or else the first tensor."""
    leaves = tree_leaves(item)
    for kinds in ((PILImage, tv_tensors.Image, tv_tensors.Video), Tensor):
        for leaf in leaves:
            if isinstance(leaf, kinds):
                return leaf
    raise TypeError(f"no image in a sample of {type(item).__name__}: neither PIL image nor tensor")


def _tensor_at(key: Any, batch: Mapping[Any, Any], what: str) -> Tensor:
    if key not in batch:
        raise KeyError(f"no {what} of the batch at {key!r}; it has {', '.join(map(repr, batch))}")
    tensor = batch[key]
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{what} of the batch, at {key!r}, must be one tensor, got {type(tensor).__name__}; use a collate_fn that "
            "stacks them"
        )
    return tensor


def _check_pool(pool: Pool | None, transform: CoreTransform) -> Pool | None:
    if pool is None:
        return None
    if not transform.uses_partners:
        raise ValueError(f"{transform!r} borrows from no other image; leave out the pool")
    if not isinstance(pool, MapStyle) and not callable(pool):
        raise TypeError(
            "pool must be a tensor, a data set with a length and items by number, or a callable that returns images, "
            f"got {type(pool).__name__}"
        )
    return pool
