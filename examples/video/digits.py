"""Clips of handwritten digits that move in labelled ways, drawn from scikit-learn's digits when they are asked for.

Every motion stands beside the one that undoes it, and a clip of the one played backwards is a clip of the other with
the same probability. What does not look at the order of frames can therefore tell four pairs apart, and no more.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from examples.common.data import Images
from examples.common.randomness import generator

MOTIONS = ("right", "left", "down", "up", "clockwise", "counterclockwise", "grow", "shrink")
# Of a whole motion: a distance (1 is half the frame), an angle, and the logarithm of a ratio of sizes.
_REACH, _TURN, _RATIO = 0.6, math.pi / 2, math.log(2.0)
# Widths of what is drawn uniformly: of places and of tilts.
_SPREAD, _TILT = 0.4, math.pi / 6
# Standard deviations: of a digit's place in each frame, and of each pixel's value in [0, 255].
_SHAKE, _NOISE = 0.05, 32
_FAINT = 0.5


def load(training: int, test: int, frames: int, size: int) -> tuple[Images, Images]:
    """Return training and test clips ``(N, T, 3, size, size)`` uint8, labelled with the number of their motion.

    The digits are divided as the clips are: those in test clips are in no training clip.

    Args:
        training: How many clips to learn from.
        test: How many to test on.
        frames: Length ``T`` of a clip.
        size: Side of a frame in pixels.
    """
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().images).float() * (255 / 16)
    order = torch.randperm(len(digits), generator=generator(0, "holdout"))
    split = round(len(digits) * training / (training + test))
    return (
        _draw(digits[order[:split]], training, frames, size, "training clips"),
        _draw(digits[order[split:]], test, frames, size, "test clips"),
    )


def _draw(digits: Tensor, clips: int, frames: int, size: int, purpose: str) -> Images:
    source = generator(0, purpose)
    labels = torch.arange(clips) % len(MOTIONS)
    drawn = [clips_of(digits, some, frames, size, source) for some in torch.split(labels, 512)]
    return Images(torch.cat(drawn), labels)


def clips_of(digits: Tensor, motions: Tensor, frames: int, size: int, source: torch.Generator) -> Tensor:
    """Draw clips of given motions: a bright digit, a faint one that moves as it likes, and noise.

    Args:
        digits: ``(K, h, w)`` in [0, 255] to choose from.
        motions: ``(N,)`` numbers into ``MOTIONS``, of the bright digits.
        frames: Length ``T`` of a clip.
        size: Side of a frame in pixels.
        source: Source of the draws.

    Returns:
        ``(N, T, 3, size, size)`` uint8.
    """
    count, kinds = len(motions), len(MOTIONS)
    shown, beside = torch.randint(len(digits), (2, count), generator=source)
    bright = moving_digits(digits[shown], motions, frames, size, source)
    others = torch.randint(kinds, (count,), generator=source)
    faint = moving_digits(digits[beside], others, frames, size, source)
    noise = torch.randn(bright.shape, generator=source)
    clips = bright + _FAINT * faint + _NOISE * noise
    return clips.round().clamp(0, 255).to(torch.uint8).expand(-1, -1, 3, -1, -1)


def moving_digits(digits: Tensor, motions: Tensor, frames: int, size: int, source: torch.Generator) -> Tensor:
    """Let digits ``(N, h, w)`` move; float ``(N, T, 1, size, size)``, the value range of the digits.

    Place, size and tilt in the middle of the clip, how far the motion goes and how the hand shakes are drawn for each
    clip alike, whatever its motion.
    """
    horizontal, vertical, tilt, scale, amount = torch.rand(5, len(digits), 1, generator=source)
    shake = _SHAKE * torch.randn(2, len(digits), frames, generator=source)
    directed = (0.5 + 0.5 * amount) * torch.linspace(-0.5, 0.5, frames)
    directed = torch.where(motions[:, None] % 2 == 0, directed, -directed)
    along_x, along_y, turning, growing = (torch.where(motions[:, None] // 2 == pair, directed, 0) for pair in range(4))
    x = _SPREAD * (horizontal - 0.5) + _REACH * along_x + shake[0]
    y = _SPREAD * (vertical - 0.5) + _REACH * along_y + shake[1]
    angle = _TILT * (tilt - 0.5) + _TURN * turning
    return _render(digits, x, y, angle, (0.35 + 0.15 * scale) * torch.exp(_RATIO * growing), size)


def _render(digits: Tensor, x: Tensor, y: Tensor, angle: Tensor, scale: Tensor, size: int) -> Tensor:
    """Draw digits ``(N, h, w)`` at places and poses ``(N, T)``; a positive angle turns clockwise on the screen."""
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # From a point of the frame to a point of the digit: move back, turn back, enlarge.
    rows = [cos, sin, -(cos * x + sin * y), -sin, cos, sin * x - cos * y]
    poses = torch.stack(rows, dim=-1).view(-1, 2, 3)
    frames = x.shape[1]
    pictures = digits[:, None, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
    points = F.affine_grid(poses, [len(pictures), 1, size, size], align_corners=False)
    drawn: Tensor = F.grid_sample(pictures, points, align_corners=False)
    return drawn.view(-1, frames, 1, size, size)
