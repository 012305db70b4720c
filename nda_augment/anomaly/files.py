"""Detectors from files."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from nda_augment._files import load_checkpoint, restoring
from nda_augment.anomaly._recipes import build, names_in
from nda_augment.anomaly.detector import Detector


def load(path: str | Path, **parts: nn.Module | Any) -> Detector:
    """Build the detector that :meth:`Detector.save` wrote, with its weights, what it learned, and its threshold.

    Nothing in the file is executed. The detector can score at once; trained again, it is with ``Training()``.

    Args:
        path: The file.
        **parts: Modules of the constructor that are none of this package's, built alike and by name, such as
            ``backbone=``; their weights come from the file.

    Returns:
        The detector, on the CPU and in eval mode.

    Raises:
        CheckpointError: If the file is damaged or something else; it is a ``ValueError``.
        ValueError: If a part is missing that this package cannot build, does not fit, or is none of the detector's.

    Example:
        >>> import tempfile, torch
        >>> from nda_augment.anomaly import SegmentationDetector, Training
        >>> detector = SegmentationDetector(channels=1, width=4, training=Training(steps=2))
        >>> detector = detector.fit(torch.rand(16, 1, 16, 16).split(8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     detector.save(f"{folder}/detector.pt")
        ...     again = load(f"{folder}/detector.pt")
        >>> images = torch.rand(2, 1, 16, 16)
        >>> torch.equal(detector.score(images), again.score(images))
        True
    """
    path = Path(path)
    saved = load_checkpoint(path, {"detector": str, "state": Mapping})
    plan = json.loads(saved["detector"])
    strangers = sorted(parts.keys() - names_in(plan))
    if strangers:
        raise ValueError(f"{path} has no part {', '.join(strangers)}; it has {', '.join(sorted(names_in(plan)))}")
    detector: Detector = build(plan, "detector", parts)
    with _fitting(path, parts) if parts else restoring(path):
        detector.load_state_dict(saved["state"])
    return detector.eval()


@contextmanager
def _fitting(path: Path, parts: Mapping[str, Any]) -> Iterator[None]:
    """Say of a state that does not fit that the caller's parts are why; the file is whole."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit {', '.join(parts)}, which is built in another way: {error}") from error
