"""Whether tensors have values that may be looked at."""

import torch
from torch import Tensor


def is_plain(*tensors: Tensor) -> bool:
    """Tell whether these are tensors with values, and nobody traces what is done with them."""
    return not (torch.compiler.is_compiling() or any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)))
