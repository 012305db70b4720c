"""The page of what works with what: every cell is tried, and what fails says why."""

from collections.abc import Callable

import torch
from torch import Tensor

from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform

HEADER = """<!-- Written by `python -m docs.build`, which tries every cell. -->
# What works with what

What fails with other libraries stands with the [adapters](adapters/index.md), and what is installed on a machine, and
whether it loads, is what `nda-augment doctor` says. Here are the oldest versions, and the negatives.

## The oldest versions

`make test-lowest` runs the core suite and the adapters on torch 2.5.1, kornia 0.9.0, torchvision 0.20.1, Lightly 1.5.26
and albumentations 2.0.8: it passes. What does not work there and does with newer ones:

- `torch.export(strict=True)` of a negative, before torch 2.12, as kornia takes a compilation for an export there.
- `torch.compile` with inductor, on torch 2.5, unless setuptools is installed.
- `mixup` on the meta device, on torch 2.5, which has no gamma distribution there.

kornia 0.8 is refused at import: it hands a transform only a part of the batch.

`torch.export` of a negative needs `strict=True`; the size of the batch may then be dynamic, with 2 images at least.

## The negatives

Each cell was tried: the negative was called on four images of 3 channels and 16x16 pixels, changed in one respect. A
number is a failure, explained below the table. **All of them are errors at the door that say what would be right**;
nothing is cut, cast or skipped in silence.

"""


def page() -> str:
    """Return the page, in Markdown."""
    torch.manual_seed(0)
    reasons: list[str] = []
    lines = ["| negative | " + " | ".join(ATTEMPTS) + " |", "| --- |" + " :-: |" * len(ATTEMPTS)]
    for negative in NEGATIVES:
        cells = [_cell(negative, attempt, reasons) for attempt in ATTEMPTS.values()]
        lines.append(f"| `{negative.word}` | " + " | ".join(cells) + " |")
    numbered = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return HEADER + "\n".join([*lines, "", *numbered]) + "\n"


def _cell(cls: type[NegativeTransform], attempt: Callable[[NegativeTransform], None], reasons: list[str]) -> str:
    try:
        attempt(cls())
    except (ValueError, TypeError, AssertionError, RuntimeError) as error:
        reason = str(error).split("\n")[0].replace(cls.__name__, "This negative")
        if reason not in reasons:
            reasons.append(reason)
        return str(reasons.index(reason) + 1)
    return "✓"


def _images(module: NegativeTransform, size: tuple[int, int] = (16, 16), channels: int = 3, batch: int = 4) -> Tensor:
    frames = (6,) if module.needs_clips else ()
    return torch.rand(batch, *frames, channels, *size)


def _dtype(dtype: torch.dtype) -> Callable[[NegativeTransform], None]:
    def attempt(module: NegativeTransform) -> None:
        images = (_images(module) * 255).to(dtype)
        if module(images).dtype != dtype:
            raise AssertionError(f"the dtype {dtype} is not kept")

    return attempt


def _clip(module: NegativeTransform) -> None:
    module(torch.rand(4, 4, 3, 16, 16))


def _image(module: NegativeTransform) -> None:
    module(torch.rand(4, 3, 16, 16))


def _alone(module: NegativeTransform) -> None:
    module(_images(module, batch=1))


def _uneven(module: NegativeTransform) -> None:
    module(_images(module, size=(17, 23)))


def _channels(module: NegativeTransform) -> None:
    module(_images(module, channels=1))
    module(_images(module, channels=13))


def _gradient(module: NegativeTransform) -> None:
    images = _images(module).requires_grad_()
    module(images).sum().backward()
    if images.grad is None or not images.grad.isfinite().all():
        raise AssertionError("no finite gradient reaches the image")


def _mask(module: NegativeTransform) -> None:
    module(_images(module), return_mask=True)


def _compiled(module: NegativeTransform) -> None:
    torch.compile(module, fullgraph=True, backend="eager")(_images(module))


ATTEMPTS: dict[str, Callable[[NegativeTransform], None]] = {
    "images": _image,
    "clips": _clip,
    "uint8": _dtype(torch.uint8),
    "float16": _dtype(torch.float16),
    "bfloat16": _dtype(torch.bfloat16),
    "17x23 px": _uneven,
    "1 and 13 channels": _channels,
    "a single image": _alone,
    "gradients": _gradient,
    "region mask": _mask,
    "compile, full graph": _compiled,
}
