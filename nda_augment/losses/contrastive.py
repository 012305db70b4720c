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

A boolean ``negative_mask`` says which negatives count, ``candidate_mask`` which other images do: for false negatives,
or images that share one of several labels. Masks that are all true change nothing.

With ``gather_distributed=True`` the candidates of all ranks are joined: in-batch embeddings, and negatives of
``scope="batch"``. Each rank returns the mean over its own anchors; averaged over the ranks, as
``DistributedDataParallel`` does with gradients, values and gradients are those of one process on the joined batch.
Every rank must hold equally many rows. Without a process group of two or more ranks it changes nothing.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from nda_augment.losses import _distributed as distributed
from nda_augment.losses._embeddings import check_rank, similarity, unit
from nda_augment.losses._softmax import Part, check_mask, hide, hide_diagonal, negative_parts, offset_of, surprise
from nda_augment.losses.options import ContrastiveOptions, KeepsOptions, Scope, complete

INFO_NCE: ContrastiveOptions = {"temperature": 0.2, "negative_gradient": False}
NT_XENT: ContrastiveOptions = {"temperature": 0.5}
DCL: ContrastiveOptions = {"temperature": 0.1}
SUP_CON: ContrastiveOptions = {"temperature": 0.07, "scope": "batch"}


def negative_logits(
    anchors: Tensor, negatives: Tensor, *, mask: Tensor | None = None, **options: Unpack[ContrastiveOptions]
) -> Tensor:
    """The columns that negatives add on the right of any contrastive loss's logits.

    They are ``α · cos(anchor, negative) / τ + log(negative_weight)``. Every loss of this module adds these; use them to
    bring negatives to a loss of your own.

    Args:
        anchors: Embeddings ``(B, D)``, or ``(B, V, D)`` for ``V`` views of each image.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see the top of the module.
        mask: Booleans that say which negatives count, ``(B,)`` or ``(B, M)`` with ``scope="own"``, ``(B, K)`` with
            ``scope="batch"``, for the ``K`` negatives that an image sees.
        **options: Keyword arguments of :class:`ContrastiveOptions`; ``temperature`` must be given.

    Returns:
        Logits ``(B, K)``, or ``(B, V, K)``, in float32 or wider, for the ``K`` negatives an anchor sees; −∞ where one
        does not count.

    Raises:
        TypeError: If a tensor is not floating point, the mask is not boolean, or an option is unknown or missing.
        ValueError: If a shape does not fit, a value is not finite (see :func:`info_nce`), or an option is out of range.

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
    if "temperature" not in options:
        raise TypeError("negative_logits needs the temperature of the loss that the columns are added to")
    complete_options = complete(options)
    check_rank(anchors, "anchors", (2, 3))
    views = unit(anchors if anchors.ndim == 3 else anchors[:, None], "anchors")
    (part,) = negative_parts(views, negatives, mask, complete_options)
    logits = part.logits + math.log(part.weight) if part.weight != 1 else part.logits
    return logits.reshape(*anchors.shape[:-1], -1)


def hardness(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    scope: Scope = "own",
    gather_distributed: bool = False,
) -> Tensor:
    """How hard each negative is to tell: its similarity to the anchor minus the positive's.

    Near −2 it teaches nothing more; above 0 the encoder takes it for more alike than the image's other view. Log its
    mean with the loss. The discriminator's counterpart is :attr:`DiscriminatorTerms.hardness`.

    Args:
        anchors: Embeddings ``(B, D)``.
        positives: Embeddings ``(B, D)`` of the images' other views, or their keys.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see the top of the module.
        scope: Word that says which images see a negative. ``"own"``: the image that it was made of. ``"batch"``: all.
        gather_distributed: Whether negatives of ``scope="batch"`` of all ranks are joined.

    Returns:
        Differences of cosine similarities ``(B, K)`` for the ``K`` negatives an image sees, without gradient.

    Raises:
        TypeError: As :func:`info_nce`.
        ValueError: As :func:`info_nce`.

    Example:
        >>> import torch
        >>> anchors, positives = torch.eye(2), torch.eye(2)
        >>> hardness(anchors, positives, torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        tensor([[ 0.],
                [-2.]])
    """
    with torch.no_grad():
        _check_pair(anchors, "anchors", positives, "positives")
        columns = negative_logits(
            anchors, negatives, temperature=1.0, scope=scope, gather_distributed=gather_distributed
        )
        return columns - (unit(anchors, "anchors") * unit(positives, "positives")).sum(dim=1, keepdim=True)


def info_nce(
    query: Tensor,
    key: Tensor,
    *,
    queue: Tensor | None = None,
    negatives: Tensor | None = None,
    negative_mask: Tensor | None = None,
    candidate_mask: Tensor | None = None,
    in_batch: bool | None = None,
    decoupled: bool = False,
    **options: Unpack[ContrastiveOptions],
) -> Tensor:
    """InfoNCE of queries against keys (MoCo, NNCLR, CLIP's image side), with negatives in the denominator.

    The loss is the cross-entropy of the positive among ``[q·k₊, candidates, α q·k̄] / τ``. The candidates are the keys
    of the other images in the batch, the rows of a queue (MoCo), or both. Sources: van den Oord et al. 2018; He et al.,
    "Momentum Contrast", CVPR 2020; Sinha et al. 2021; the scale α, Ge et al., NeurIPS 2021.

    In MoCo, embed negatives with the momentum encoder, without gradient, in a forward pass of their own (with the
    keys they would shift the batch statistics), and do not enqueue them.

    Values that are not finite raise an error on the CPU and in ``torch.autograd.set_detect_anomaly`` mode; on an
    accelerator, where looking for them would stall the stream at each step, they surface as a NaN loss.

    Args:
        query: Embeddings ``(B, D)``.
        key: Embeddings ``(B, D)``; ``key[i]`` is the positive of ``query[i]``. Gradient flows in if it carries any.
        queue: Earlier keys, ``(K, D)``. Taken as the same on all ranks: it is never gathered.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; see the top of the module.
        negative_mask: Booleans that say which negatives count, ``(B,)`` or ``(B, M)`` with ``scope="own"``, ``(B, K)``
            with ``scope="batch"``, for the ``K`` negatives that an image sees.
        candidate_mask: Booleans that say which other keys, and then which rows of the queue, count for a query,
            ``(B, B)``, ``(B, K)`` or ``(B, B + K)``. What it says of the positive is not asked.
        in_batch: Whether the keys of other images are candidates. ``None``: where no queue is given.
        decoupled: Whether the positive stays out of the denominator, as in :func:`dcl`.
        **options: Keyword arguments of :class:`ContrastiveOptions`. By default the temperature is 0.2, and no gradient
            flows into negatives, since they stand on the side of the keys.

    Returns:
        The mean over the queries, a scalar in float32 or wider. A query without candidates counts as 0.

    Raises:
        TypeError: If a tensor is not floating point, a mask is not boolean, or an option is unknown.
        ValueError: If a shape does not fit, a value is not finite, an option is out of range, or there are no
            candidates at all.

    Example:
        >>> import torch
        >>> query, key = torch.eye(2), torch.eye(2)
        >>> info_nce(query, key, temperature=1.0)
        tensor(0.3133)
        >>> negatives = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> info_nce(query, key, negatives=negatives, temperature=1.0)
        tensor(0.5514)
        >>> info_nce(query, key, negatives=negatives, in_batch=False, temperature=1.0)
        tensor(0.3133)
    """
    settings = complete(options, INFO_NCE)
    _check_pair(query, "query", key, "key")
    query, key = unit(query, "query"), unit(key, "key")
    scaled = query / settings["temperature"]
    positive = (scaled * key).sum(dim=1)
    in_batch = queue is None if in_batch is None else in_batch
    others = []
    if in_batch:
        keys = distributed.gather(key) if settings["gather_distributed"] else key
        others.append(similarity(scaled, keys))
        hide_diagonal(others[0], offset_of(query, settings))
    if queue is not None:
        check_rank(queue, "queue", (2,))
        if not len(queue):
            raise ValueError("queue has no rows: pass queue=None until it holds earlier keys")
        others.append(similarity(scaled, unit(queue, "queue", features=query.shape[1])))
    if not others and negatives is None:
        raise ValueError("there is nothing to contrast with: no keys of the batch, no queue and no negatives")
    if candidate_mask is not None:
        widths = [logits.shape[1] for logits in others]
        check_mask(candidate_mask, "candidate_mask", (len(query), sum(widths)))
        for logits, mask in zip(others, torch.split(candidate_mask, widths, dim=1), strict=True):
            hide(logits, ~mask)
    parts = [Part(logits) for logits in others]
    if not decoupled:
        parts.append(Part(positive[:, None], negative=False))
    parts += negative_parts(query[:, None], negatives, negative_mask, settings)
    return surprise(positive, parts, settings).mean()


def nt_xent(
    z0: Tensor | Sequence[Tensor],
    z1: Tensor | None = None,
    *,
    negatives: Tensor | None = None,
    negative_mask: Tensor | None = None,
    candidate_mask: Tensor | None = None,
    **options: Unpack[ContrastiveOptions],
) -> Tensor:
    """NT-Xent, SimCLR's loss, with negatives in the denominator.

    Each of the 2B embeddings is an anchor; its positive is the image's other view, its candidates all 2B − 1 others.
    With more than two views an anchor's loss is the mean over its positives, and all others stand in the denominator.
    Source: Chen et al., "A Simple Framework for Contrastive Learning", ICML 2020.

    Args:
        z0: Embeddings of the first views, ``(B, D)``; or a list of those of two views or more, without ``z1``.
        z1: Embeddings of the second views, ``(B, D)``.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; all views of an image see the same.
        negative_mask: Booleans that say which negatives count; as in :func:`info_nce`.
        candidate_mask: Booleans ``(B, B)`` that say whether the views of image ``j`` count for those of image ``i``.
            With joined ranks ``(B, ranks · B)``. What it says of an image and itself is not asked.
        **options: Keyword arguments of :class:`ContrastiveOptions`; by default the temperature is 0.5.

    Returns:
        The mean over the anchors, a scalar in float32 or wider.

    Raises:
        TypeError: As :func:`info_nce`.
        ValueError: As :func:`info_nce`.

    Example:
        >>> import torch
        >>> z0, z1 = torch.eye(2), torch.eye(2)
        >>> nt_xent(z0, z1, temperature=1.0)
        tensor(0.5514)
        >>> nt_xent(z0, z1, negatives=-torch.eye(2), temperature=1.0)
        tensor(0.6265)
        >>> nt_xent([z0, z1, z1], temperature=1.0)
        tensor(1.1326)
    """
    views = stack_views(z0, z1)
    return contrast_images(views, negatives, negative_mask, candidate_mask, complete(options, NT_XENT))


def dcl(
    z0: Tensor | Sequence[Tensor],
    z1: Tensor | None = None,
    *,
    negatives: Tensor | None = None,
    negative_mask: Tensor | None = None,
    candidate_mask: Tensor | None = None,
    **options: Unpack[ContrastiveOptions],
) -> Tensor:
    """The decoupled contrastive loss: :func:`nt_xent` without the positives in the denominator.

    With a queue it is ``info_nce(..., decoupled=True)``. Source: Yeh et al., "Decoupled Contrastive Learning", ECCV
    2022, equation 6.

    Args:
        z0: Embeddings of the first views, ``(B, D)``; or a list of those of two views or more, without ``z1``.
        z1: Embeddings of the second views, ``(B, D)``.
        negatives: Embedded negatives, ``(B, D)``, ``(B, M, D)`` or ``(M, D)``; all views of an image see the same.
        negative_mask: Booleans that say which negatives count; as in :func:`info_nce`.
        candidate_mask: Booleans that say which other images count; as in :func:`nt_xent`.
        **options: Keyword arguments of :class:`ContrastiveOptions`; by default the temperature is 0.1.

    Returns:
        The mean over the anchors, a scalar in float32 or wider; it may be negative. An anchor without candidates counts
        as 0.

    Raises:
        TypeError: As :func:`info_nce`.
        ValueError: As :func:`info_nce`; also if there is one image and no negative, which leaves no denominator.

    Example:
        >>> import torch
        >>> dcl(torch.eye(2), torch.eye(2), temperature=1.0)
        tensor(-0.3069)
        >>> dcl(torch.eye(2), torch.eye(2), negatives=-torch.eye(2), temperature=1.0)
        tensor(-0.1380)
    """
    views = stack_views(z0, z1)
    return contrast_images(views, negatives, negative_mask, candidate_mask, complete(options, DCL), decoupled=True)


def sup_con(
    features: Tensor,
    labels: Tensor,
    *,
    negatives: Tensor | None = None,
    negative_mask: Tensor | None = None,
    candidate_mask: Tensor | None = None,
    **options: Unpack[ContrastiveOptions],
) -> Tensor:
    """The supervised contrastive loss, with negatives of no class (UniCon's *universum*) in the denominator.

    An anchor's positives are all other embeddings of its class; the loss is minus the mean of their log-probabilities
    among all other embeddings and the negatives. An anchor without a positive contributes 0, and still counts in the
    mean. Sources: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (the form with the sum outside the
    logarithm); Han et al., "Universum-inspired Supervised Contrastive Learning", TIP 2023, where the negatives are
    mixtures of images of two classes.

    Args:
        features: Embeddings ``(B, D)``, or ``(B, V, D)`` for ``V`` views of each image.
        labels: Classes of the images, integers ``(B,)``.
        negatives: Embedded negatives, ``(M, D)``, ``(B, D)`` or ``(B, M, D)``.
        negative_mask: Booleans that say which negatives count; as in :func:`info_nce`.
        candidate_mask: Booleans that say which images of other classes count; as in :func:`nt_xent`. What it says of
            images of one class is not asked.
        **options: Keyword arguments of :class:`ContrastiveOptions`. By default the temperature is 0.07, and every
            anchor sees all negatives, which belong to no class, hence to no image either.

    Returns:
        The mean over the anchors, a scalar in float32 or wider.

    Raises:
        TypeError: As :func:`info_nce`; also if ``labels`` are not integers.
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
    settings = complete(options, SUP_CON)
    check_rank(features, "features", (2, 3))
    if labels.is_floating_point():
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != features.shape[:1]:
        raise ValueError(f"labels must have shape ({len(features)},), one for each image, got {tuple(labels.shape)}")
    views = unit(features if features.ndim == 3 else features[:, None], "features")
    logits, others = _similarities(views, settings)
    _check_company(others, 1, negatives)
    joined = distributed.gather(labels) if settings["gather_distributed"] else labels
    other_class = labels[:, None] != joined
    per_image = views.shape[1]
    alike = ~other_class.repeat_interleave(per_image, 0).repeat_interleave(per_image, 1)
    hide_diagonal(alike, offset_of(logits, settings), value=False)
    count = alike.sum(dim=1)
    positives = logits.masked_fill(~alike, -math.inf)
    positive = torch.where(alike, logits, 0.0).sum(dim=1) / count.clamp(min=1)

    if candidate_mask is not None:
        check_mask(candidate_mask, "candidate_mask", tuple(other_class.shape))
        other_class = other_class & candidate_mask
    _hide_images(logits, other_class, views)
    parts = [Part(logits), Part(positives, negative=False)]
    parts += negative_parts(views, negatives, negative_mask, settings)
    return torch.where(count > 0, surprise(positive, parts, settings), 0.0).mean()


class ContrastiveLoss(KeepsOptions, nn.Module):
    """The options of a contrastive loss, checked once; plain attributes, which a schedule may set during training."""

    defaults: ClassVar[ContrastiveOptions]

    def __init__(self, **options: Unpack[ContrastiveOptions]) -> None:
        super().__init__()
        self.keep(self.defaults, **options)


class InfoNCELoss(ContrastiveLoss):
    """Module twin of :func:`info_nce`, with the same settings.

    Args:
        in_batch: Whether the keys of other images are candidates. ``None``: where no queue is given.
        decoupled: Whether the positive stays out of the denominator.
        **options: Keyword arguments of :class:`ContrastiveOptions`, with the defaults of :func:`info_nce`.

    Example:
        >>> import torch
        >>> InfoNCELoss(temperature=1.0)(torch.eye(2), torch.eye(2), negatives=torch.eye(2).flip(0))
        tensor(0.5514)
    """

    defaults = INFO_NCE

    def __init__(
        self, in_batch: bool | None = None, decoupled: bool = False, **options: Unpack[ContrastiveOptions]
    ) -> None:
        super().__init__(**options)
        self.in_batch = in_batch
        self.decoupled = decoupled

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        queue: Tensor | None = None,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``(B, D)`` queries and keys, a ``(K, D)`` queue and negatives; see :func:`info_nce`."""
        return info_nce(
            query,
            key,
            queue=queue,
            negatives=negatives,
            negative_mask=negative_mask,
            candidate_mask=candidate_mask,
            in_batch=self.in_batch,
            decoupled=self.decoupled,
            **self.options,
        )

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"in_batch={self.in_batch}, decoupled={self.decoupled}, {super().extra_repr()}"


class NTXentLoss(ContrastiveLoss):
    """Module twin of :func:`nt_xent`, with the same options.

    Example:
        >>> import torch
        >>> NTXentLoss(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor(0.5514)
    """

    defaults = NT_XENT

    def forward(
        self,
        z0: Tensor | Sequence[Tensor],
        z1: Tensor | None = None,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``(B, D)`` embeddings of two views and of negatives; see :func:`nt_xent`."""
        masks = {"negative_mask": negative_mask, "candidate_mask": candidate_mask}
        return nt_xent(z0, z1, negatives=negatives, **masks, **self.options)


class DCLLoss(ContrastiveLoss):
    """Module twin of :func:`dcl`, with the same options.

    Example:
        >>> import torch
        >>> DCLLoss(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor(-0.3069)
    """

    defaults = DCL

    def forward(
        self,
        z0: Tensor | Sequence[Tensor],
        z1: Tensor | None = None,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``(B, D)`` embeddings of two views and of negatives; see :func:`dcl`."""
        masks = {"negative_mask": negative_mask, "candidate_mask": candidate_mask}
        return dcl(z0, z1, negatives=negatives, **masks, **self.options)


class SupConLoss(ContrastiveLoss):
    """Module twin of :func:`sup_con`, with the same options.

    Example:
        >>> import torch
        >>> SupConLoss(temperature=1.0)(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
        tensor(0.5514)
    """

    defaults = SUP_CON

    def forward(
        self,
        features: Tensor,
        labels: Tensor,
        negatives: Tensor | None = None,
        negative_mask: Tensor | None = None,
        candidate_mask: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``(B, D)`` or ``(B, V, D)`` features and ``(B,)`` labels; see :func:`sup_con`."""
        masks = {"negative_mask": negative_mask, "candidate_mask": candidate_mask}
        return sup_con(features, labels, negatives=negatives, **masks, **self.options)


def contrast_images(
    views: Tensor,
    negatives: Tensor | None,
    negative_mask: Tensor | None,
    candidate_mask: Tensor | None,
    options: ContrastiveOptions,
    decoupled: bool = False,
    positive_weight: Tensor | None = None,
) -> Tensor:
    """The loss of ``V`` views of each image, which are each other's positives.

    Args:
        views: Embeddings of length one, ``(B, V, D)``.
        negatives: Embeddings of negatives, as the public functions take them.
        negative_mask: Mask of negatives, as the public functions take it.
        candidate_mask: Mask of candidates, as the public functions take it.
        options: Complete options.
        decoupled: Whether positives stay out of the denominator.
        positive_weight: Factor of the positives in the numerator, ``(B, V)``; 1 without it.
    """
    images, count, _ = views.shape
    logits, others = _similarities(views, options)
    if decoupled:
        _check_company(others, count, negatives)
    own = logits.view(images, count, -1, count).diagonal(offset_of(views, options), dim1=0, dim2=2)
    with torch.no_grad():
        own.fill_(-math.inf)
    if candidate_mask is not None:
        _hide_images(logits, candidate_mask, views)
    scaled = views / options["temperature"]
    turns = [(scaled * views.roll(turn, dims=1)).sum(dim=2) for turn in range(1, count)]
    positives = torch.stack(turns, dim=2).flatten(0, 1)
    positive = positives.mean(dim=1)
    if positive_weight is not None:
        positive = positive * positive_weight.flatten()

    parts = [Part(logits)]
    if not decoupled:
        parts.append(Part(positives, negative=False))
    parts += negative_parts(views, negatives, negative_mask, options)
    return surprise(positive, parts, options).mean()


def stack_views(z0: Tensor | Sequence[Tensor], z1: Tensor | None) -> Tensor:
    """Return views ``(B, V, D)`` of length one, of two tensors or of a list of tensors ``(B, D)``."""
    if isinstance(z0, Tensor) and isinstance(z1, Tensor):
        _check_pair(z0, "z0", z1, "z1")
        return torch.stack([unit(z0, "z0"), unit(z1, "z1")], dim=1)
    if isinstance(z0, Tensor) or z1 is not None or len(z0) < 2:
        raise TypeError("views come as two tensors z0 and z1, or as one list of two tensors or more")
    for number, view in enumerate(z0):
        _check_pair(z0[0], "z0[0]", view, f"z0[{number}]")
    return torch.stack([unit(view, f"z0[{number}]") for number, view in enumerate(z0)], dim=1)


def _similarities(views: Tensor, options: ContrastiveOptions) -> tuple[Tensor, int]:
    """Return the logits ``(B · V, N)`` among all views, those of other ranks included, and ``N``."""
    anchors = views.flatten(0, 1)
    others = distributed.gather(anchors) if options["gather_distributed"] else anchors
    return similarity(anchors / options["temperature"], others), len(others)


def _hide_images(logits: Tensor, counted: Tensor, views: Tensor) -> None:
    """Keep, for the views of an image, those of the images that count: ``(B, B)``, or with ranks ``(B, ranks · B)``."""
    images, count, _ = views.shape
    blocks = logits.view(images, count, -1, count)
    check_mask(counted, "candidate_mask", (images, blocks.shape[2]))
    hide(blocks, ~counted[:, None, :, None])


def _check_company(others: int, own: int, negatives: Tensor | None) -> None:
    if others == own and negatives is None:
        raise ValueError(f"one image with {own} view(s) and no negatives: there is nothing to contrast it with")


def _check_pair(embeddings: Tensor, name: str, others: Tensor, other_name: str) -> None:
    check_rank(embeddings, name, (2,))
    if embeddings.shape != others.shape:
        raise ValueError(
            f"{name} and {other_name} must have the same shape, got {tuple(embeddings.shape)} and {tuple(others.shape)}"
        )
