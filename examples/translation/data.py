"""Pairs of edges and photographs: the edges are found in the photographs, so any folder of images will do."""

from dataclasses import dataclass

import torch
from kornia.filters import canny
from torch import Tensor

from examples.common import data
from examples.common.data import Data as Images
from examples.common.photographs import load_photographs
from examples.translation.config import Data

SHIPPED = ("astronaut", "cat", "coffee", "rocket")  # with scikit-image
_VIEW = 4  # a photograph is this many crops wide and high
_STRIDES = 4  # crops begin at every fourth of their side


@dataclass(frozen=True)
class Pairs:
    """Photographs and their edges; indexing picks some of both.

    Attributes:
        edges: ``(N, 1, size, size)`` in {-1, 1}, 1 on an edge.
        photographs: ``(N, 3, size, size)`` in [-1, 1].
    """

    edges: Tensor
    photographs: Tensor

    def __len__(self) -> int:
        return len(self.edges)

    def __getitem__(self, indices: Tensor) -> "Pairs":
        return Pairs(self.edges[indices], self.photographs[indices])


def load(settings: Data) -> tuple[Pairs, Pairs]:
    """Return the pairs to train on and the held-out ones.

    Of the photographs that ship with scikit-image the left three quarters are for training and the rest is held out, so
    no pixel is in both. Of a folder whole images are held out.
    """
    if settings.name == "folder":
        training, held_out = (Pairs(find_edges(some, settings), some) for some in _folder(settings))
        return training, held_out
    size = settings.img_size
    photographs, names = load_photographs(size * _VIEW)
    chosen = photographs[[names.index(name) for name in SHIPPED]] * 2 - 1
    left, right = (Pairs(find_edges(part, settings), part) for part in (chosen[..., :-size], chosen[..., -size:]))
    return _crops(left, size), _crops(right, size)


def find_edges(photographs: Tensor, settings: Data) -> Tensor:
    """Return the edges of photographs in [-1, 1] by Canny's method: ``(N, 1, H, W)``, 1 on an edge and -1 elsewhere."""
    thresholds = settings.low_threshold, settings.high_threshold
    # Some at a time: the gradients take many times the photographs' room.
    edges = [canny((some + 1) / 2, *thresholds)[1] for some in torch.split(photographs, 64)]
    return torch.cat(edges) * 2 - 1


def _crops(pairs: Pairs, size: int) -> Pairs:
    """All crops of a side that begin at a multiple of a quarter of it, one photograph after the other."""

    def crop(images: Tensor) -> Tensor:
        windows = images.unfold(2, size, size // _STRIDES).unfold(3, size, size // _STRIDES)
        return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1], size, size)

    return Pairs(crop(pairs.edges), crop(pairs.photographs))


def _folder(settings: Data) -> tuple[Tensor, Tensor]:
    shared = {key: getattr(settings, key) for key in ("path", "img_size", "holdout", "skip_unreadable")}
    source = Images(name="folder", **shared)
    training, held_out = (data.normalize(some.images) for some in data.load(source))
    return training, held_out
