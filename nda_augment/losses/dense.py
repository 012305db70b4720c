"""The loss of dense predictive coding, with negatives: every place of a feature map is an anchor.

A clip is encoded as ``S`` steps of ``P`` places. For each of them a prediction is compared with the features of all
steps and places of all clips in the batch, one of which it is of. The others are of three kinds: of the same place at
another step (*temporal*), of another place of the clip (*spatial*), of another clip (*easy*). Features of negatives are
a fourth. A batch of images is one of clips of a single step.

A feature map ``(B, S, D, h, w)`` becomes the ``(B, S, P, D)`` that is asked for here by ``.flatten(3).mT``.
"""

from typing import NamedTuple, Unpack, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import _distributed as distributed
from nda_augment.losses._embeddings import check_rank, of_any_length, similarity, unit
from nda_augment.losses._softmax import Part, hide_diagonal, negative_parts, offset_of, surprise
from nda_augment.losses.contrastive import ContrastiveLoss
from nda_augment.losses.options import ContrastiveOptions, NegativeOptions, complete

DENSE_INFO_NCE: ContrastiveOptions = {"temperature": 1.0}


def dense_info_nce(
    predictions: Tensor,
    features: Tensor,
    *,
    negatives: Tensor | None = None,
    normalize: bool = False,
    **options: Unpack[ContrastiveOptions],
) -> Tensor:
    """InfoNCE of the prediction at each step and place, with features of negatives in the denominator.

    Without negatives it is the cross-entropy of torch on the matrix of scores, bit for bit; with them, the matrix has
    further columns. ``scope="own"``: for a prediction, all steps and places of the negatives of its clip; ``"batch"``:
    those of all negatives. Source: Han, Xie and Zisserman, "Video Representation Learning by Dense Predictive Coding",
    ICCV workshops 2019; Sinha et al. 2021.

    Where a negative changes a part of the frame only, as a cutout does, its features elsewhere are those of the clip
    itself, and to be told from them is asked for in vain.

    Args:
        predictions: Predicted features ``(B, S, P, D)``.
        features: Features ``(B, S, P, D)``; ``features[b, s, p]`` is the positive of ``predictions[b, s, p]``.
        negatives: Features of negatives, ``(B, S', P', D)``; with ``scope="batch"`` of any number of them.
        normalize: Whether all are scaled to length one, as the other losses do; dense predictive coding does not.
        **options: Keyword arguments of :class:`ContrastiveOptions`; by default the temperature is 1.

    Returns:
        The mean over clips, steps and places, a scalar in float32 or wider.

    Raises:
        TypeError: As :func:`info_nce`.
        ValueError: As :func:`info_nce`; also if there is a single prediction and no negative.

    Example:
        >>> import torch
        >>> features = torch.eye(4).view(2, 2, 1, 4)  # two clips, two steps, one place
        >>> dense_info_nce(features, features)
        tensor(0.7437)
        >>> dense_info_nce(features, features, negatives=features.flip(1))
        tensor(1.2446)
    """
    settings = complete(options, DENSE_INFO_NCE)
    predictions, features = _prepared(predictions, features, normalize)
    anchors, keys = predictions.flatten(0, 2), features.flatten(0, 2)
    joined = distributed.gather(keys) if settings["gather_distributed"] else keys
    if len(joined) == 1 and negatives is None:
        raise ValueError("one prediction and no negatives: there is nothing to contrast it with")
    scaled = anchors / settings["temperature"]
    logits, offset = similarity(scaled, joined), offset_of(anchors, settings)
    if negatives is None and not settings["concentration"] and not settings["feature_modification"]:
        return F.cross_entropy(logits, torch.arange(offset, offset + len(anchors), device=logits.device))
    positive = (scaled * keys).sum(dim=1)
    hide_diagonal(logits, offset)
    parts = [Part(logits), Part(positive[:, None], negative=False)]
    if negatives is not None:
        parts += negative_parts(
            predictions.flatten(1, 2), _of_clips(negatives), None, settings, unit if normalize else of_any_length
        )
    return surprise(positive, parts, settings).mean()


class DenseProbabilities(NamedTuple):
    """The probability that the softmax of :func:`dense_info_nce` gives each kind of candidate; together they are 1.

    Attributes:
        positive: Probability of what was predicted.
        temporal: Probability of the same place at other steps of the clip.
        spatial: Probability of other places of the clip, at any step.
        easy: Probability of other clips.
        negative: Probability of negatives; 0 without.
    """

    positive: Tensor
    temporal: Tensor
    spatial: Tensor
    easy: Tensor
    negative: Tensor


def dense_probabilities(
    predictions: Tensor,
    features: Tensor,
    *,
    negatives: Tensor | None = None,
    normalize: bool = False,
    temperature: float = DENSE_INFO_NCE["temperature"],
    **options: Unpack[NegativeOptions],
) -> DenseProbabilities:
    """Which candidates of :func:`dense_info_nce` are hard to tell: the mean probability of each kind.

    Log them with the loss. A kind that has none is one that the encoder knows; where negatives have most of what the
    positive lacks, they are what it learns from.

    Args:
        predictions: Predicted features ``(B, S, P, D)``.
        features: Features ``(B, S, P, D)``.
        negatives: Features of negatives, ``(B, S', P', D)``; with ``scope="batch"`` of any number of them.
        normalize: Whether all are scaled to length one.
        temperature: Temperature τ, above 0, by which similarities are divided.
        **options: Keyword arguments of :class:`NegativeOptions`.

    Returns:
        Scalars without gradient, of the batch of this rank.

    Raises:
        TypeError: As :func:`info_nce`.
        ValueError: As :func:`info_nce`.

    Example:
        >>> import torch
        >>> features = torch.eye(4).view(2, 2, 1, 4)
        >>> [round(float(share), 2) for share in dense_probabilities(4 * features, features)]
        [0.95, 0.02, 0.0, 0.03, 0.0]
    """
    settings = complete(cast(ContrastiveOptions, {"temperature": temperature, **options}))
    with torch.no_grad():
        predictions, features = _prepared(predictions, features, normalize)
        clips, steps, places = predictions.shape[:3]
        logits = similarity(predictions.flatten(0, 2) / temperature, features.flatten(0, 2))
        columns = logits.shape[1]
        if negatives is not None:
            (part,) = negative_parts(
                predictions.flatten(1, 2), _of_clips(negatives), None, settings, unit if normalize else of_any_length
            )
            logits = torch.cat([logits, part.logits + torch.tensor(part.weight).log()], dim=1)
        shares = logits.softmax(dim=1)
        # (S, P, S, P, B) of each clip with itself, then (S, S, B, P) of each place, then (B, P, S) of each step.
        clip = shares[:, :columns].view(clips, steps, places, clips, steps, places).diagonal(dim1=0, dim2=3)
        place = clip.diagonal(dim1=1, dim2=3)
        step = place.diagonal(dim1=0, dim2=1)
        within, here, positive = (part.sum() / len(shares) for part in (clip, place, step))
        real = shares[:, :columns].sum() / len(shares)
        negative = shares[:, columns:].sum() / len(shares)
        return DenseProbabilities(positive, here - positive, within - here, real - within, negative)


class DenseInfoNCELoss(ContrastiveLoss):
    """Module twin of :func:`dense_info_nce`, with the same settings.

    Args:
        normalize: Whether all are scaled to length one.
        **options: Keyword arguments of :class:`ContrastiveOptions`, with the defaults of :func:`dense_info_nce`.

    Example:
        >>> import torch
        >>> features = torch.eye(4).view(2, 2, 1, 4)
        >>> DenseInfoNCELoss()(features, features)
        tensor(0.7437)
    """

    defaults = DENSE_INFO_NCE

    def __init__(self, normalize: bool = False, **options: Unpack[ContrastiveOptions]) -> None:
        super().__init__(**options)
        self.normalize = normalize

    def forward(self, predictions: Tensor, features: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The loss of ``(B, S, P, D)`` predictions, features and negatives; see :func:`dense_info_nce`."""
        return dense_info_nce(predictions, features, negatives=negatives, normalize=self.normalize, **self.options)

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"normalize={self.normalize}, {super().extra_repr()}"


def _prepared(predictions: Tensor, features: Tensor, normalize: bool) -> tuple[Tensor, Tensor]:
    check_rank(predictions, "predictions", (4,))
    check_rank(features, "features", (4,))
    if predictions.shape != features.shape:
        raise ValueError(
            "predictions and features must have the same shape, got "
            f"{tuple(predictions.shape)} and {tuple(features.shape)}"
        )
    prepare = unit if normalize else of_any_length
    return prepare(predictions, "predictions"), prepare(features, "features")


def _of_clips(negatives: Tensor) -> Tensor:
    """All steps and places of a negative in a row, ``(B, S' · P', D)``."""
    check_rank(negatives, "negatives", (4,))
    return negatives.flatten(1, 2)
