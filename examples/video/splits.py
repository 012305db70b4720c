"""UCF-101 and HMDB-51 with their official split files.

torchvision's data sets of these names read the same files, but decode no video with torchvision 0.29. UCF-101 has
``UCF-101/<class>/<video>.avi`` and ``ucfTrainTestlist/{train,test}list01.txt``, HMDB-51 has ``<class>/<video>.avi`` and
``testTrainMulti_7030_splits/<class>_test_split1.txt``, in which 1 says training and 2 says test.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from examples.common.data import Images
from examples.video.decoding import read_videos


class Listed(NamedTuple):
    """A video that a split file names.

    Attributes:
        path: Path below the folder of the data set; its first part is the class.
        source: File that names it.
    """

    path: Path
    source: Path


def read(
    name: str, path: str, split_path: str, split: int, frames: int, size: int, stride: int
) -> tuple[Images, Images]:
    """Return the training and the test videos of a split, ``(N, T, 3, size, size)`` uint8 and labelled.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If a split file is missing, cannot be understood or names videos that are not there, or a video
            has fewer frames than asked for.
    """
    training, test = LISTS[name](Path(split_path), split)
    root = Path(path)
    for listed in (training, test):
        _check_there(root, listed)
    names = sorted({video.path.parts[0] for video in training})
    unknown = sorted({video.path.parts[0] for video in test} - set(names))
    if unknown:
        raise ValueError(f"{test[0].source} has the classes {unknown}, of which {training[0].source} has no video")

    def read_all(listed: Sequence[Listed]) -> Images:
        clips, kept = read_videos([root / video.path for video in listed], frames, size, stride)
        labels = [names.index(listed[place].path.parts[0]) for place in kept]
        return Images(clips, torch.tensor(labels), tuple(names))

    return read_all(training), read_all(test)


def ucf101(folder: Path, split: int) -> tuple[list[Listed], list[Listed]]:
    """The training and the test videos of UCF-101."""
    training, test = (folder / f"{part}list{split:02d}.txt" for part in ("train", "test"))
    # Lines of training videos end in the number of the class, which the folder says too.
    return tuple(  # type: ignore[return-value]  # of two
        [Listed(_below(source, number, line.split(".avi")[0] + ".avi"), source) for number, line in _lines(source)]
        for source in (training, test)
    )


def hmdb51(folder: Path, split: int) -> tuple[list[Listed], list[Listed]]:
    """The training and the test videos of HMDB-51; those that a split marks with 0 are in neither."""
    sources = sorted(folder.glob(f"*_test_split{split}.txt"))
    if not sources:
        raise ValueError(f"DATA.split_path={folder} has no file <class>_test_split{split}.txt of HMDB-51")
    parts: dict[str, list[Listed]] = {"0": [], "1": [], "2": []}
    for source in sources:
        label = source.name.removesuffix(f"_test_split{split}.txt")
        for number, line in _lines(source):
            found = re.fullmatch(r"(.+\.avi)\s+([012])", line)
            if not found:
                raise ValueError(f"line {number} of {source} must be a video and 0, 1 or 2, got {line!r}")
            parts[found[2]].append(Listed(Path(label) / found[1], source))
    for mark, purpose in (("1", "training"), ("2", "test")):
        if not parts[mark]:
            raise ValueError(f"the split files in {folder} mark no video with {mark}, for {purpose}")
    return parts["1"], parts["2"]


LISTS: dict[str, Callable[[Path, int], tuple[list[Listed], list[Listed]]]] = {"ucf101": ucf101, "hmdb51": hmdb51}


def _lines(source: Path) -> list[tuple[int, str]]:
    if not source.is_file():
        raise ValueError(f"there is no split file {source}; DATA.split_path is the folder that they lie in")
    lines = [(number, line.strip()) for number, line in enumerate(source.read_text().splitlines(), 1) if line.strip()]
    if not lines:
        raise ValueError(f"{source} names no video")
    return lines


def _below(source: Path, number: int, name: str) -> Path:
    path = Path(name)
    if len(path.parts) != 2:
        raise ValueError(f"line {number} of {source} must begin with <class>/<video>.avi, got {name!r}")
    return path


def _check_there(root: Path, listed: Sequence[Listed]) -> None:
    missing = [video for video in listed if not (root / video.path).is_file()]
    if missing:
        some = ", ".join(str(video.path) for video in missing[:3])
        raise ValueError(
            f"{missing[0].source} names {len(missing)} videos that are not below {root}, such as {some}. Set DATA.path "
            "to the folder that has the classes, complete it, or take their lines out of the split file"
        )
