"""What the losses on embeddings share: unit vectors and their similarities, in full precision."""

import torch
from torch import Tensor

from nda_augment._checks import as_full_precision
from nda_augment.functional._precision import without_autocast


def unit(embeddings: Tensor, name: str, features: int | None = None) -> Tensor:
    """Check embeddings ``(..., D)`` and scale each to length one, in float32 or wider.

    Non-finite values are looked for where it is free to look: on the CPU, outside ``torch.compile``. On an accelerator
    the question would stall the stream at every step, so there they surface as a NaN loss, and in
    ``torch.autograd.set_detect_anomaly`` mode as the error.

    Args:
        embeddings: The embeddings.
        name: Name of the tensor in the error messages.
        features: The size ``D`` must have; any if ``None``.

    Raises:
        TypeError: If the embeddings are not floating point.
        ValueError: If they are empty, of another feature size, not finite, or so long that their length is not.
    """
    values = _sized(embeddings, name, features)
    lengths: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    if may_look(embeddings) and not bool(lengths.isfinite().all()):
        _refuse_broken(embeddings, name)
        raise ValueError(
            f"{name} has rows so long that their length overflows {values.dtype}, the largest value is "
            f"{float(embeddings.abs().max()):.2g}: their direction would be lost, and their gradient is"
        )
    return values / lengths.clamp(min=1e-12)


def of_any_length(embeddings: Tensor, name: str, features: int | None = None) -> Tensor:
    """Check embeddings as :func:`unit` does and leave their lengths as they are, in float32 or wider."""
    values = _sized(embeddings, name, features)
    if may_look(embeddings):
        _refuse_broken(embeddings, name)
    return values


def check_rank(embeddings: Tensor, name: str, ranks: tuple[int, ...]) -> None:
    """Refuse what is not a tensor, or has another number of dimensions.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If the number of its dimensions is not among ``ranks``.
    """
    if not isinstance(embeddings, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(embeddings).__name__}")
    if embeddings.ndim not in ranks:
        wanted = " or ".join({2: "(N, D)", 3: "(B, M, D)", 4: "(B, S, P, D)"}[ndim] for ndim in ranks)
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(embeddings.shape)}")


def similarity(anchors: Tensor, others: Tensor) -> Tensor:
    """Dot products of ``(..., N, D)`` with ``(..., K, D)``, as ``(..., N, K)``.

    The one place that multiplies matrices, hence the one place where autocast would round to half precision: divided by
    a temperature of 0.05, bfloat16's error of a similarity would be a tenth of a logit.
    """
    dtype = torch.promote_types(anchors.dtype, others.dtype)
    with without_autocast(anchors):
        return anchors.to(dtype) @ others.to(dtype).mT


def may_look(embeddings: Tensor) -> bool:
    """Whether asking for values is free, or was asked for."""
    if torch.compiler.is_compiling():
        return False
    return embeddings.device.type == "cpu" or torch.is_anomaly_enabled()


def _sized(embeddings: Tensor, name: str, features: int | None) -> Tensor:
    values = as_full_precision(embeddings, name)
    if features is not None and embeddings.shape[-1] != features:
        hint = "; transpose it, the features come last" if embeddings.shape[-2:-1] == (features,) else ""
        raise ValueError(f"{name} must have {features} features, got shape {tuple(embeddings.shape)}{hint}")
    return values


def _refuse_broken(embeddings: Tensor, name: str) -> None:
    broken = int((~embeddings.isfinite()).sum())
    if broken:
        raise ValueError(f"{name} has {broken} values that are not finite")
