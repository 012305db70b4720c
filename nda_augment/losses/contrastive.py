"""Contrastive losses with negatives made by augmentation: embeddings in, a scalar out.

Negatives enter the denominator of the softmax, and nothing else: they are no anchors, no positives, and belong in no
queue or memory bank. Their shape says how many there are, and ``scope`` which images see them.

``scope="own"``, image ``i`` sees ``negatives[i]``:

- ``(B, D)``: one negative for each image.
- ``(B, M, D)``: ``M`` negatives for each image.
- ``(M, D)`` with ``M ≠ B`` is an error; it is never guessed that they are shared.

``scope="batch"``, every image sees every negative:

- ``(M, D)``, any ``M``, ``B`` included: ``M`` negatives.
- ``(B, M, D)``: all ``B · M``.

All embeddings are L2-normalised inside, and similarities and their log-sum-exp are computed in float32 (float64 for
float64 inputs), also under autocast, so a temperature of 0.05 is safe in bfloat16 and float16.

With ``gather_distributed=True`` the candidates of all ranks are joined: in-batch embeddings, and negatives of
``scope="batch"``. Each rank returns the mean over its own anchors; averaged over the ranks, as
``DistributedDataParallel`` does with gradients, values and gradients are those of one process on the joined batch.
Every rank must hold equally many rows. Without a process group of two or more ranks it changes nothing.
"""

import math
from typing import Literal, TypedDict, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_positive, check_word
from nda_augment.losses._distributed import gather, rank, world_size
from nda_augment.losses._embeddings import similarity, unit

Scope = Literal["own", "batch"]
_SCOPES = get_args(Scope)


class _Settings(TypedDict):
    """The settings that all losses of this module share."""

    temperature: float
    negative_scale: float
    scope: Scope
    negative_gradient: bool
    gather_distributed: bool


def negative_logits(
    anchors: Tensor,
    negatives: Tensor,
    *,
    temperature: float,
    negative_scale: float = 1.0,
    scope: Scope = "own",
    negative_gradient: bool = True,
    gather_distributed: bool = False,
) -> Tensor:
    """The columns that negatives add on the right of any contrastive loss's logits, ``α · cos(anchor, negative) / τ``.

    Every loss of this module adds these; use them to bring negatives to a loss of your own.

    Args:
        anchors: ``(B, D)``, or ``(B, V, D)`` for ``V`` views of each image.
        negatives: ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see the top of the module.
        temperature: τ, above 0.
        negative_scale: α, above 0, multiplies the similarity (Ge et al. 2021, who use 2 and 3).
        scope: ``"own"``: an image sees its own negatives. ``"batch"``: it sees everybody's.
        negative_gradient: Whether gradient flows into ``negatives``.
        gather_distributed: Whether ``scope="batch"`` includes the negatives of other ranks.

    Returns:
        ``(B, K)``, or ``(B, V, K)``, in float32 or wider, for the ``K`` negatives an anchor sees.

    Raises:
        TypeError: If a tensor is not floating point.
        ValueError: If a shape does not fit, a value is not finite (see :func:`info_nce`), ``temperature`` or
            ``negative_scale`` is not a finite number above 0, or ``scope`` is unknown.

    Example:
        >>> import torch
        >>> anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> negatives = torch.tensor([[2.0, 0.0], [3.0, 4.0]])
        >>> negative_logits(anchors, negatives, temperature=0.5)
        tensor([[2.0000],
                [1.6000]])
        >>> negative_logits(anchors, negatives, temperature=0.5, scope="batch")
        tensor([[2.0000, 1.2000],
                [0.0000, 1.6000]])
    """
    _check_settings(temperature, negative_scale, scope)
    _check_rank("anchors", anchors, (2, 3))
    _check_rank("negatives", negatives, (2, 3))
    anchors = unit("anchors", anchors)
    negatives = unit("negatives", negatives, features=anchors.shape[-1])
    if not negative_gradient:
        negatives = negatives.detach()
    views = anchors if anchors.ndim == 3 else anchors[:, None]
    if scope == "own":
        if len(negatives) != len(anchors):
            raise ValueError(
                f'scope="own" gives each of the {len(anchors)} images its own negatives, got negatives of shape '
                f'{tuple(negatives.shape)}; for negatives that all images share pass scope="batch"'
            )
        similarities = similarity(views, negatives if negatives.ndim == 3 else negatives[:, None])
    else:
        shared = negatives.flatten(0, -2)
        similarities = similarity(views, gather(shared) if gather_distributed else shared)
    return (similarities * (negative_scale / temperature)).reshape(*anchors.shape[:-1], -1)


def info_nce(
    query: Tensor,
    key: Tensor,
    *,
    queue: Tensor | None = None,
    negatives: Tensor | None = None,
    temperature: float = 0.2,
    negative_scale: float = 1.0,
    scope: Scope = "own",
    negative_gradient: bool = False,
    gather_distributed: bool = False,
) -> Tensor:
    """InfoNCE of queries against keys (MoCo, NNCLR, CLIP's image side), with negatives in the denominator.

    The loss is the cross-entropy of the positive among ``[q·k₊, candidates, α q·k̄] / τ``. With a queue the candidates
    are its rows (MoCo); without, they are the keys of the other images in the batch. ``negatives=None`` is plain
    InfoNCE bit for bit. Sources: van den Oord et al. 2018; He et al., "Momentum Contrast", CVPR 2020; Sinha et al.
    2021; the scale α, Ge et al., NeurIPS 2021.

    In MoCo, embed negatives with the momentum encoder, without gradient, in a forward pass of their own (beside the
    keys they would shift the batch statistics), and do not enqueue them.

    Values that are not finite raise an error on the CPU and in ``torch.autograd.set_detect_anomaly`` mode; on an
    accelerator, where looking for them would stall the stream at each step, they surface as a NaN loss.

    Args:
        query: ``(B, D)``.
        key: ``(B, D)``; ``key[i]`` is the positive of ``query[i]``. Gradient flows into it if it carries any.
        queue: Earlier keys, ``(K, D)``. Taken as the same on all ranks: it is never gathered.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see the top of the module.
        temperature: τ, above 0.
        negative_scale: α, above 0, multiplies the similarity to negatives before the division by τ.
        scope: ``"own"``: an image sees its own negatives. ``"batch"``: it sees everybody's.
        negative_gradient: Whether gradient flows into ``negatives``. Off, since they stand on the key side.
        gather_distributed: Whether in-batch keys, and negatives of ``scope="batch"``, of all ranks are joined.

    Returns:
        The mean over the queries, a scalar in float32 or wider.

    Raises:
        TypeError: If a tensor is not floating point.
        ValueError: If a shape does not fit, a value is not finite, ``temperature`` or ``negative_scale`` is not a
            finite number above 0, or ``scope`` is unknown.

    Example:
        >>> import torch
        >>> query, key = torch.eye(2), torch.eye(2)
        >>> info_nce(query, key, temperature=1.0)
        tensor(0.3133)
        >>> info_nce(query, key, negatives=torch.tensor([[0.0, 1.0], [1.0, 0.0]]), temperature=1.0)
        tensor(0.5514)
    """
    settings: _Settings = {
        "temperature": temperature,
        "negative_scale": negative_scale,
        "scope": scope,
        "negative_gradient": negative_gradient,
        "gather_distributed": gather_distributed,
    }
    _check_settings(**settings)
    _check_pair("query", query, "key", key)
    query, key = unit("query", query), unit("key", key)
    if queue is None:
        keys = gather(key) if gather_distributed else key
        similarities = similarity(query, keys)
        target = torch.arange(len(query), device=query.device) + _offset(query, gather_distributed)
    else:
        _check_rank("queue", queue, (2,))
        positive = similarity(query[:, None], key[:, None])[:, 0]
        candidates = similarity(query, unit("queue", queue, features=query.shape[1]))
        similarities = torch.cat([positive, candidates], dim=1)
        target = torch.zeros(len(query), dtype=torch.long, device=query.device)
    logits = similarities / temperature
    if negatives is not None:
        logits = torch.cat([logits, negative_logits(query, negatives, **settings)], dim=1)
    return F.cross_entropy(logits, target)


def nt_xent(
    z0: Tensor,
    z1: Tensor,
    *,
    negatives: Tensor | None = None,
    temperature: float = 0.5,
    negative_scale: float = 1.0,
    scope: Scope = "own",
    negative_gradient: bool = True,
    gather_distributed: bool = False,
) -> Tensor:
    """NT-Xent, SimCLR's loss, with negatives in the denominator.

    Each of the 2B embeddings is an anchor; its positive is the image's other view, its candidates all 2B − 1 others.
    Source: Chen et al., "A Simple Framework for Contrastive Learning", ICML 2020.

    Args:
        z0: The first views, ``(B, D)``.
        z1: The second views, ``(B, D)``.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; both views of an image see the same.
        temperature: τ, above 0.
        negative_scale: α, above 0, multiplies the similarity to negatives before the division by τ.
        scope: ``"own"``: an image sees its own negatives. ``"batch"``: it sees everybody's.
        negative_gradient: Whether gradient flows into ``negatives``. On, since here one encoder makes every embedding
            and gradient flows into every candidate.
        gather_distributed: Whether candidates, and negatives of ``scope="batch"``, of all ranks are joined.

    Returns:
        The mean over the 2B anchors, a scalar in float32 or wider.

    Raises:
        TypeError: If a tensor is not floating point.
        ValueError: As :func:`info_nce`.

    Example:
        >>> import torch
        >>> z0, z1 = torch.eye(2), torch.eye(2)
        >>> nt_xent(z0, z1, temperature=1.0)
        tensor(0.5514)
        >>> nt_xent(z0, z1, negatives=-torch.eye(2), temperature=1.0)
        tensor(0.6265)
    """
    settings: _Settings = {
        "temperature": temperature,
        "negative_scale": negative_scale,
        "scope": scope,
        "negative_gradient": negative_gradient,
        "gather_distributed": gather_distributed,
    }
    return _two_view(z0, z1, negatives, settings)


def dcl(
    z0: Tensor,
    z1: Tensor,
    *,
    negatives: Tensor | None = None,
    temperature: float = 0.1,
    negative_scale: float = 1.0,
    scope: Scope = "own",
    negative_gradient: bool = True,
    gather_distributed: bool = False,
) -> Tensor:
    """The decoupled contrastive loss: :func:`nt_xent` without the positive in the denominator.

    Source: Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, equation 6.

    Args:
        z0: The first views, ``(B, D)``.
        z1: The second views, ``(B, D)``.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; both views of an image see the same.
        temperature: τ, above 0.
        negative_scale: α, above 0, multiplies the similarity to negatives before the division by τ.
        scope: ``"own"``: an image sees its own negatives. ``"batch"``: it sees everybody's.
        negative_gradient: Whether gradient flows into ``negatives``; on, as in :func:`nt_xent`.
        gather_distributed: Whether candidates, and negatives of ``scope="batch"``, of all ranks are joined.

    Returns:
        The mean over the 2B anchors, a scalar in float32 or wider; it may be negative.

    Raises:
        TypeError: If a tensor is not floating point.
        ValueError: As :func:`info_nce`; also if there is one image and no negative, which leaves no denominator.

    Example:
        >>> import torch
        >>> dcl(torch.eye(2), torch.eye(2), temperature=1.0)
        tensor(-0.3069)
        >>> dcl(torch.eye(2), torch.eye(2), negatives=-torch.eye(2), temperature=1.0)
        tensor(-0.1380)
    """
    settings: _Settings = {
        "temperature": temperature,
        "negative_scale": negative_scale,
        "scope": scope,
        "negative_gradient": negative_gradient,
        "gather_distributed": gather_distributed,
    }
    return _two_view(z0, z1, negatives, settings, decoupled=True)


def sup_con(
    features: Tensor,
    labels: Tensor,
    *,
    negatives: Tensor | None = None,
    temperature: float = 0.07,
    negative_scale: float = 1.0,
    scope: Scope = "batch",
    negative_gradient: bool = True,
    gather_distributed: bool = False,
) -> Tensor:
    """The supervised contrastive loss, with negatives of no class (UniCon's *universum*) in the denominator.

    An anchor's positives are all other embeddings of its class; the loss is minus the mean of their log-probabilities
    among all other embeddings and the negatives. An anchor without a positive contributes 0, and still counts in the
    mean. Sources: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (the form with the sum outside the
    logarithm); Han et al., "Universum-inspired Supervised Contrastive Learning", TIP 2023, where the negatives are
    mixtures of images of two classes.

    Args:
        features: ``(B, D)``, or ``(B, V, D)`` for ``V`` views of each image.
        labels: ``(B,)``, integers.
        negatives: Embedded negatives, ``(M, D)``, ``(B, D)`` or ``(B, M, D)``.
        temperature: τ, above 0.
        negative_scale: α, above 0, multiplies the similarity to negatives before the division by τ.
        scope: ``"batch"``: every anchor sees all negatives, which belong to no class, hence to no image either.
            ``"own"``: an anchor sees its image's only.
        negative_gradient: Whether gradient flows into ``negatives``; on, as in :func:`nt_xent`.
        gather_distributed: Whether embeddings, labels, and negatives of ``scope="batch"``, of all ranks are joined.

    Returns:
        The mean over the anchors, a scalar in float32 or wider.

    Raises:
        TypeError: If ``features`` or ``negatives`` are not floating point, or ``labels`` are.
        ValueError: As :func:`info_nce`; also if ``labels`` are not one for each image, or there is one embedding and
            no negative.

    Example:
        >>> import torch
        >>> features, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> sup_con(features, labels, temperature=1.0)
        tensor(0.5514)
        >>> sup_con(features, labels, negatives=torch.tensor([[1.0, 1.0]]), temperature=1.0)
        tensor(0.9090)
    """
    settings: _Settings = {
        "temperature": temperature,
        "negative_scale": negative_scale,
        "scope": scope,
        "negative_gradient": negative_gradient,
        "gather_distributed": gather_distributed,
    }
    _check_rank("features", features, (2, 3))
    if labels.is_floating_point():
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels must have shape ({len(features)},), one for each image, got {tuple(labels.shape)}")
    labels = gather(labels) if gather_distributed else labels
    views = unit("features", features)
    return _multi_view(views if views.ndim == 3 else views[:, None], labels, negatives, settings)


class _ContrastiveLoss(nn.Module):
    """The settings of a contrastive loss, checked once; plain attributes, which a schedule may set during training."""

    def __init__(
        self,
        temperature: float,
        negative_scale: float,
        scope: Scope,
        negative_gradient: bool,
        gather_distributed: bool,
    ) -> None:
        super().__init__()
        _check_settings(temperature, negative_scale, scope)
        self.temperature = temperature
        self.negative_scale = negative_scale
        self.scope: Scope = scope
        self.negative_gradient = negative_gradient
        self.gather_distributed = gather_distributed

    @property
    def settings(self) -> _Settings:
        """The settings as the functional form takes them."""
        return {
            "temperature": self.temperature,
            "negative_scale": self.negative_scale,
            "scope": self.scope,
            "negative_gradient": self.negative_gradient,
            "gather_distributed": self.gather_distributed,
        }

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


class InfoNCELoss(_ContrastiveLoss):
    """Module twin of :func:`info_nce`, with the same settings.

    Example:
        >>> import torch
        >>> InfoNCELoss(temperature=1.0)(torch.eye(2), torch.eye(2), negatives=torch.eye(2).flip(0))
        tensor(0.5514)
    """

    def __init__(
        self,
        temperature: float = 0.2,
        *,
        negative_scale: float = 1.0,
        scope: Scope = "own",
        negative_gradient: bool = False,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__(temperature, negative_scale, scope, negative_gradient, gather_distributed)

    def forward(
        self, query: Tensor, key: Tensor, queue: Tensor | None = None, negatives: Tensor | None = None
    ) -> Tensor:
        """The loss of ``(B, D)`` queries and keys, a ``(K, D)`` queue and negatives; see :func:`info_nce`."""
        return info_nce(query, key, queue=queue, negatives=negatives, **self.settings)


class NTXentLoss(_ContrastiveLoss):
    """Module twin of :func:`nt_xent`, with the same settings.

    Example:
        >>> import torch
        >>> NTXentLoss(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor(0.5514)
    """

    def __init__(
        self,
        temperature: float = 0.5,
        *,
        negative_scale: float = 1.0,
        scope: Scope = "own",
        negative_gradient: bool = True,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__(temperature, negative_scale, scope, negative_gradient, gather_distributed)

    def forward(self, z0: Tensor, z1: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The loss of ``(B, D)`` embeddings of two views and of negatives; see :func:`nt_xent`."""
        return nt_xent(z0, z1, negatives=negatives, **self.settings)


class DCLLoss(_ContrastiveLoss):
    """Module twin of :func:`dcl`, with the same settings.

    Example:
        >>> import torch
        >>> DCLLoss(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor(-0.3069)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        *,
        negative_scale: float = 1.0,
        scope: Scope = "own",
        negative_gradient: bool = True,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__(temperature, negative_scale, scope, negative_gradient, gather_distributed)

    def forward(self, z0: Tensor, z1: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The loss of ``(B, D)`` embeddings of two views and of negatives; see :func:`dcl`."""
        return dcl(z0, z1, negatives=negatives, **self.settings)


class SupConLoss(_ContrastiveLoss):
    """Module twin of :func:`sup_con`, with the same settings.

    Example:
        >>> import torch
        >>> SupConLoss(temperature=1.0)(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
        tensor(0.5514)
    """

    def __init__(
        self,
        temperature: float = 0.07,
        *,
        negative_scale: float = 1.0,
        scope: Scope = "batch",
        negative_gradient: bool = True,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__(temperature, negative_scale, scope, negative_gradient, gather_distributed)

    def forward(self, features: Tensor, labels: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The loss of ``(B, D)`` or ``(B, V, D)`` features and ``(B,)`` labels; see :func:`sup_con`."""
        return sup_con(features, labels, negatives=negatives, **self.settings)


def _two_view(z0: Tensor, z1: Tensor, negatives: Tensor | None, settings: _Settings, decoupled: bool = False) -> Tensor:
    """The supervised loss when every image is a class of its own."""
    _check_pair("z0", z0, "z1", z1)
    images = len(z0) * (world_size() if settings["gather_distributed"] else 1)
    labels = torch.arange(images, device=z0.device)
    views = torch.stack([unit("z0", z0), unit("z1", z1)], dim=1)
    return _multi_view(views, labels, negatives, settings, decoupled)


def _multi_view(
    views: Tensor, labels: Tensor, negatives: Tensor | None, settings: _Settings, decoupled: bool = False
) -> Tensor:
    """Mean over all anchors of log(sum over candidates) − mean over positives, both of similarities / τ.

    Args:
        views: ``(B, V, D)``, each of length one.
        labels: Which images are each other's positives; those of all ranks where ranks are joined.
        negatives: As the public functions take them.
        settings: As the public functions take them.
        decoupled: Whether positives stay out of the sum over candidates.
    """
    _check_settings(**settings)
    images, per_image, _ = views.shape
    offset = _offset(views, settings["gather_distributed"])
    anchors = views.flatten(0, 1)
    others = gather(anchors) if settings["gather_distributed"] else anchors
    logits = similarity(anchors, others) / settings["temperature"]

    own_labels = labels[offset : offset + images].repeat_interleave(per_image)
    same = own_labels[:, None] == labels.repeat_interleave(per_image)
    itself = torch.arange(len(anchors), device=views.device) + offset * per_image
    oneself = itself[:, None] == torch.arange(len(others), device=views.device)
    positives = same & ~oneself

    candidates = logits.masked_fill(same if decoupled else oneself, -math.inf)
    if negatives is not None:
        columns = negative_logits(views, negatives, **settings)
        candidates = torch.cat([candidates, columns.flatten(0, 1)], dim=1)
    elif len(others) == (per_image if decoupled else 1):
        raise ValueError(f"one image with {per_image} view(s) and no negatives: there is nothing to contrast it with")

    count = positives.sum(dim=1)
    positive = (logits * positives).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, candidates.logsumexp(dim=1) - positive, 0.0).mean()


def _offset(embeddings: Tensor, gather_distributed: bool) -> int:
    """Where this rank's rows begin among those of all ranks."""
    return rank() * len(embeddings) if gather_distributed else 0


def _check_settings(temperature: float, negative_scale: float, scope: str, **_: bool) -> None:
    as_positive(temperature, "temperature")
    as_positive(negative_scale, "negative_scale")
    check_word(scope, "scope", _SCOPES)


def _check_rank(name: str, embeddings: Tensor, ranks: tuple[int, ...]) -> None:
    if not isinstance(embeddings, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(embeddings).__name__}")
    if embeddings.ndim not in ranks:
        wanted = " or ".join({2: "(N, D)", 3: "(B, M, D)"}[ndim] for ndim in ranks)
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(embeddings.shape)}")


def _check_pair(name: str, embeddings: Tensor, other_name: str, others: Tensor) -> None:
    _check_rank(name, embeddings, (2,))
    if embeddings.shape != others.shape:
        raise ValueError(
            f"{name} and {other_name} must have the same shape, got {tuple(embeddings.shape)} and {tuple(others.shape)}"
        )
