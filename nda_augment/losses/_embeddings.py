"""What the losses on embeddings share: unit vectors and their similarities, in full precision."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment._checks import as_full_precision
from nda_augment.functional._precision import without_autocast


def unit(name: str, embeddings: Tensor, features: int | None = None) -> Tensor:
    """Check embeddings ``(..., D)`` and scale each to length one, in float32 or wider.

    Non-finite values are looked for where it is free to look: on the CPU, outside ``torch.compile``. On an accelerator
    the question would stall the stream at every step, so there they surface as a NaN loss, and in
    ``torch.autograd.set_detect_anomaly`` mode as the error.

    Args:
        name: What the error messages call the tensor.
        embeddings: The embeddings.
        features: The size ``D`` must have; any if ``None``.

    Raises:
        TypeError: If the embeddings are not floating point.
        ValueError: If they are empty, of another feature size, or not finite.
    """
    values = as_full_precision(embeddings, name)
    if features is not None and embeddings.shape[-1] != features:
        hint = "; transpose it, the features come last" if embeddings.shape[-2:-1] == (features,) else ""
        raise ValueError(f"{name} must have {features} features, got shape {tuple(embeddings.shape)}{hint}")
    if _may_look(embeddings) and not bool(embeddings.isfinite().all()):
        raise ValueError(f"{name} has {int((~embeddings.isfinite()).sum())} values that are not finite")
    return F.normalize(values, dim=-1)


def similarity(anchors: Tensor, others: Tensor) -> Tensor:
    """Dot products of ``(..., N, D)`` with ``(..., K, D)``, as ``(..., N, K)``.

    The one place that multiplies matrices, hence the one place where autocast would round to half precision: divided by
    a temperature of 0.05, bfloat16's error of a similarity would be a tenth of a logit.
    """
    dtype = torch.promote_types(anchors.dtype, others.dtype)
    with without_autocast(anchors):
        return anchors.to(dtype) @ others.to(dtype).mT


def _may_look(embeddings: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    return embeddings.device.type == "cpu" or torch.is_anomaly_enabled()
