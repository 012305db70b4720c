import importlib.metadata
import inspect
import io
import json
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Unpack

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nda_augment as nda
from nda_augment.adapters import albumentations as adapted
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform as CoreTransform
from nda_augment.transforms.base import Common
from tests.adapters.pictures import CLIP_NEGATIVES, IMAGE_NEGATIVES, SIZE, channels_of, distinct, name_of

# Arguments that are not the default, so that a file which loses them is found out.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "Jigsaw": {"grid": (4, 7)},
    "Stitch": {"axis": "vertical", "keep": "first", "pool_key": "others"},
    "CutMix": {"side": (0.25, 0.75)},
    "Cutout": {"side": 0.5, "fill": (0.0, 1.0, 2.0), "square": True},
    "Mixup": {"alpha": 2.0, "p": 0.25},
}

CASES = [
    pytest.param(name_of(negative), arguments, id=f"{name_of(negative)}-{'some' if arguments else 'no'}-arguments")
    for negative in IMAGE_NEGATIVES
    for arguments in ({}, ARGUMENTS.get(name_of(negative), {"p": 0.5}))
]
NAMES = [name_of(negative) for negative in IMAGE_NEGATIVES]


def picture(channels: int | None = 3, *, dtype: type = np.uint8, seed: int = 0, size: tuple[int, int] = SIZE) -> Any:
    """Return an image (H, W, C), or (H, W) for ``channels=None``."""
    image = distinct(*size, channels or 1, seed=seed, dtype=torch.uint8 if dtype is np.uint8 else torch.float32)
    return image.numpy() if channels else image.numpy()[..., 0]


def make(name: str, **arguments: Any) -> Any:
    return getattr(adapted, name)(**arguments)


def pool_for(transform: Any, image: Any) -> dict[str, Any]:
    """Return the keyword that hands over other images, if the transform borrows."""
    return {key: [image[::-1], image[:, ::-1]] for key in transform.targets_as_params}


def seeded(*transforms: Any, seed: int = 0, **options: Any) -> A.Compose:
    return A.Compose([*transforms], seed=seed, **options)


def constant(value: float, size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), value, dtype=np.float32)


class TestClasses:
    def test_every_image_negative_of_the_registry_has_a_class_of_its_name(self) -> None:
        assert sorted(adapted.__all__) == sorted(["NegativeTransform", *NAMES])
        for negative in IMAGE_NEGATIVES:
            cls = getattr(adapted, negative.__name__)
            assert cls.core is negative
            assert issubclass(cls, A.ImageOnlyTransform)
            assert (cls.__module__, cls.__qualname__) == (adapted.__name__, negative.__name__)

    def test_clips_are_the_only_negatives_left_out(self) -> None:
        assert set(NEGATIVES) == {*IMAGE_NEGATIVES, *CLIP_NEGATIVES}
        assert not any(hasattr(adapted, name_of(negative)) for negative in CLIP_NEGATIVES)

    @pytest.mark.parametrize("negative", IMAGE_NEGATIVES, ids=name_of)
    def test_arguments_are_those_of_the_core(self, negative: type[CoreTransform]) -> None:
        parameters = inspect.signature(getattr(adapted, negative.__name__)).parameters
        expected = {**negative.defaults(), **({"pool_key": "pool"} if negative.uses_partners else {})}
        expected = {name: expected[name] for name in expected if name not in ("same_on_batch", "keepdim", "partner")}
        assert {name: parameter.default for name, parameter in parameters.items()} == expected
        assert list(parameters)[-1] == "p"

    @pytest.mark.parametrize("negative", IMAGE_NEGATIVES, ids=name_of)
    def test_the_schema_names_every_argument_and_has_no_defaults(self, negative: type[CoreTransform]) -> None:
        cls = getattr(adapted, negative.__name__)
        assert set(cls.InitSchema.model_fields) == {*inspect.signature(cls).parameters, "strict"}
        assert all(field.is_required() for field in cls.InitSchema.model_fields.values())
        assert not any(field.annotation is Any for field in cls.InitSchema.model_fields.values())

    @pytest.mark.parametrize("negative", IMAGE_NEGATIVES, ids=name_of)
    def test_no_argument_hides_a_part_of_the_library(self, negative: type[CoreTransform]) -> None:
        taken = {name for cls in adapted.NegativeTransform.__mro__ for name in vars(cls)} - {"pool_key"}
        assert not taken & set(inspect.signature(getattr(adapted, negative.__name__)).parameters)

    @pytest.mark.parametrize("negative", IMAGE_NEGATIVES, ids=name_of)
    def test_documentation_names_arguments_targets_and_types(self, negative: type[CoreTransform]) -> None:
        doc = inspect.getdoc(getattr(adapted, negative.__name__))
        assert doc.startswith(inspect.getdoc(negative).splitlines()[0])
        assert all(f"``{name}=" in doc for name in inspect.signature(getattr(adapted, negative.__name__)).parameters)
        assert "Targets:\n    image, volume" in doc
        assert "Image types:\n    uint8, float32" in doc

    def test_a_negative_registered_later_is_adapted_by_its_signature(self) -> None:
        class Coarse(nda.Jigsaw):
            """Shuffle coarsely."""

            def __init__(self, grid: Literal["fine", "coarse"] = "fine", **common: Unpack[Common]) -> None:
                super().__init__(2 if grid == "coarse" else 4, **common)

        cls = adapted._adapt(Coarse)
        assert cls()._negative.grid == (4, 4)
        assert cls(grid="coarse")._negative.grid == (2, 2)
        with pytest.raises(ValueError, match="'fine' or 'coarse'"):
            cls(grid=(2, 2))
        assert A.from_dict(A.to_dict(cls(grid="coarse", p=0.3))).grid == "coarse"

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("Jigsaw", {"grid": "four"}, "grid"),
            ("Jigsaw", {"grid": (1, 1)}, "two cells"),
            ("Jigsaw", {"p": 1.5}, "less than or equal to 1"),
            ("Stitch", {"axis": "diagonal"}, "axis"),
            ("Stitch", {"pool_key": 3}, "pool_key"),
            ("Stitch", {"partner": "other_class", "strict": True}, "partner"),
            ("Cutout", {"side": 2.0}, "side"),
            ("Cutout", {"fill": "mauve"}, "unknown fill 'mauve'"),
            ("Jigsaw", {"gird": 2, "strict": True}, "gird"),
        ],
    )
    def test_bad_arguments_are_errors(self, name: str, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make(name, **arguments)

    def test_unknown_arguments_warn_as_in_the_library(self) -> None:
        with pytest.warns(UserWarning, match="'gird' are not valid"):
            adapted.Jigsaw(gird=2)


class TestImages:
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    @pytest.mark.parametrize("name", NAMES)
    def test_images_change_and_nothing_else_about_them(self, name: str, dtype: type) -> None:
        transform = make(name)
        for channels in (*channels_of(transform.core, 1, 3, 5), *([None] if transform.core.channels is None else [])):
            image = picture(channels, dtype=dtype)
            before = image.copy()
            result = seeded(transform)(image=image, **pool_for(transform, image))["image"]
            assert (result.shape, result.dtype) == (image.shape, image.dtype)
            assert result.flags.c_contiguous
            assert not np.array_equal(result, before)
            assert np.array_equal(image, before)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("target", ["images", "volume", "volumes", "list"])
    def test_all_images_of_a_call_share_its_draw(self, name: str, target: str) -> None:
        transform = make(name)
        stack = np.stack([picture(seed=seed) for seed in range(4)])
        pool = pool_for(transform, stack[0])
        key = "images" if target == "list" else target
        given = {"volumes": stack.reshape(2, 2, *stack.shape[1:]), "list": list(stack)}.get(target, stack)
        result = seeded(transform)(**{key: given}, **pool)[key]
        assert isinstance(result, list) == (target == "list")
        alone = [seeded(make(name))(image=image, **pool)["image"] for image in stack]
        assert np.array_equal(np.asarray(result).reshape(stack.shape), np.stack(alone))

    def test_grey_images_and_volumes(self) -> None:
        stack = np.stack([picture(None, seed=seed) for seed in range(3)])
        result = seeded(adapted.Jigsaw())(images=stack, volume=stack)
        alone = np.stack([seeded(adapted.Jigsaw())(image=image)["image"] for image in stack])
        assert np.array_equal(result["images"], alone)
        assert np.array_equal(result["volume"], alone)

    def test_pixels_are_those_of_the_core(self) -> None:
        image = picture(size=(8, 8))
        result = adapted.Jigsaw(grid=(2, 2))(image=image)["image"]
        cells, found = (
            [array[y : y + 4, x : x + 4].tobytes() for y in (0, 4) for x in (0, 4)] for array in (image, result)
        )
        assert sorted(cells) == sorted(found)
        assert cells != found

    @given(size=st.tuples(st.integers(2, 9), st.integers(2, 9)), channels=st.integers(1, 6), seed=st.integers(0, 999))
    def test_a_stitch_is_half_and_half(self, size: tuple[int, int], channels: int, seed: int) -> None:
        black, white = np.zeros((*size, channels), np.uint8), np.full((*size, channels), 255, np.uint8)
        result = seeded(adapted.Stitch(axis="vertical", keep="first"), seed=seed)(image=black, pool=[white])["image"]
        half = size[1] // 2
        assert (result[:, :half] == 0).all()
        assert (result[:, half:] == 255).all()

    @pytest.mark.parametrize(
        "view", [lambda image: image[::-1], lambda image: image[:, ::-1], lambda image: image.transpose(1, 0, 2)]
    )
    def test_views_of_other_arrays(self, view: Callable[[Any], Any]) -> None:
        image = view(picture(size=(8, 8)))
        expected = seeded(adapted.Stitch())(image=image.copy(), pool=[image.copy()])["image"]
        assert np.array_equal(seeded(adapted.Stitch())(image=image, pool=[image])["image"], expected)

    def test_read_only_arrays(self) -> None:
        image = picture()
        image.flags.writeable = False
        result = adapted.Stitch()(image=image, pool=[image[::-1]])["image"]
        assert result.flags.writeable

    @pytest.mark.parametrize("name", NAMES)
    def test_channels_that_come_first_are_refused_with_what_turns_them(self, name: str) -> None:
        negative = getattr(adapted, name)()
        pool = {"pool": [picture(size=(24, 24), channels=3)]} if negative.targets_as_params else {}
        turned = np.ascontiguousarray(picture(size=(24, 24), channels=3).transpose(2, 0, 1))
        with pytest.raises(ValueError, match=r"\(H, W, C\), got \(3, 24, 24\), .*image.transpose\(1, 2, 0\) turns it"):
            negative(image=turned, **pool)

    def test_channels_last_of_many_images_too(self) -> None:
        flip = adapted.Flip()
        with pytest.raises(ValueError, match=r"got \(3, 24, 24\)"):
            flip(images=np.zeros((2, 3, 24, 24), np.float32))
        assert flip(images=np.zeros((3, 24, 24), np.float32))["images"].shape == (3, 24, 24)  # three grey images
        assert flip(volume=np.zeros((3, 24, 24), np.float32))["volume"].shape == (3, 24, 24)
        assert flip(image=np.zeros((4, 4, 24), np.float32))["image"].shape == (4, 4, 24)

    def test_other_dtypes_are_the_cores_error(self) -> None:
        with pytest.raises(TypeError, match="int32"):
            adapted.Cutout()(image=picture().astype(np.int32))


class TestOtherTargets:
    def test_masks_boxes_and_keypoints_pass(self) -> None:
        pipeline = seeded(
            A.HorizontalFlip(p=0),
            adapted.Jigsaw(),
            bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"]),
            keypoint_params=A.KeypointParams("xy"),
        )
        mask = picture(1)
        result = pipeline(
            image=picture(),
            mask=mask,
            masks=[mask],
            bboxes=[[0.0, 0.0, 8.0, 8.0]],
            labels=[3],
            keypoints=[[2.0, 3.0]],
        )
        assert result["mask"] is mask
        assert np.array_equal(result["masks"][0], mask)
        assert np.allclose(result["bboxes"], [[0, 0, 8, 8]])
        assert np.allclose(result["keypoints"], [[2, 3]])
        assert result["labels"] == [3]

    def test_additional_targets_share_the_draw(self) -> None:
        image = picture()
        result = seeded(adapted.Jigsaw(grid=4), additional_targets={"right": "image"})(image=image, right=image)
        assert np.array_equal(result["image"], result["right"])

    def test_a_mask_declared_an_image_moves_with_the_pixels(self) -> None:
        image = picture()
        mask = image[..., 0].copy()
        result = seeded(adapted.Jigsaw(grid=4), additional_targets={"mask": "image"})(image=image, mask=mask)
        assert not np.array_equal(result["mask"], mask)
        assert np.array_equal(result["mask"], result["image"][..., 0])


class TestPool:
    def test_half_of_the_pixels_come_from_the_pool(self) -> None:
        for pool in ([constant(1)], (constant(1), constant(1)), np.stack([constant(1)] * 3)):
            result = adapted.Stitch()(image=constant(0), pool=pool)["image"]
            assert (result == 0).sum() == (result == 1).sum()

    def test_every_image_is_borrowed_alike(self) -> None:
        pool = [constant(value) for value in range(5)]
        transform = seeded(adapted.Stitch())
        partners = Counter(transform(image=constant(-1), pool=pool)["image"].max() for _ in range(1000))
        assert set(partners) == set(range(5))
        assert all(abs(count - 200) < 60 for count in partners.values())

    def test_the_key_can_be_chosen(self) -> None:
        transform = adapted.Stitch(pool_key="others")
        assert transform.targets_as_params == ["others"]
        result = seeded(transform, strict=True)(image=constant(0), others=[constant(1)])["image"]
        assert result.max() == 1

    def test_only_pair_negatives_ask_for_one(self) -> None:
        assert [bool(make(name).targets_as_params) for name in NAMES] == [cls.uses_partners for cls in IMAGE_NEGATIVES]

    def test_pools_that_make_no_sense(self) -> None:
        with pytest.raises(ValueError, match=r"missing keys: \{'pool'\}"):
            adapted.Stitch()(image=constant(0))
        with pytest.raises(ValueError, match="'pool' is empty"):
            adapted.Stitch()(image=constant(0), pool=[])
        for other in (constant(0, size=4), constant(0).astype(np.uint8), constant(0)[..., :1], constant(0)[..., 0]):
            with pytest.raises(ValueError, match="pool must hold images of shape"):
                adapted.Stitch()(image=constant(0), pool=[other])

    def test_the_pool_is_not_written_to(self) -> None:
        pool = [picture(seed=1)]
        adapted.Stitch()(image=picture(), pool=pool)
        assert np.array_equal(pool[0], picture(seed=1))


class TestRandomness:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_seed_repeats_the_pipeline_and_calls_differ(self, name: str) -> None:
        image = picture(size=(56, 56))  # what is not square has fewer rotations
        pool = pool_for(make(name), image)
        first, second = (seeded(make(name), seed=7) for _ in range(2))
        results = [[pipeline(image=image, **pool)["image"] for _ in range(12)] for pipeline in (first, second)]
        assert all(map(np.array_equal, *results))
        different = len({result.tobytes() for result in results[0]})
        draws = make(name)._negative.make_params((1, 3, 56, 56), generator=None, device=None)
        assert different > 1 if draws or pool else different == 1

    def test_other_seeds_draw_otherwise(self) -> None:
        image = picture()
        results = {seeded(adapted.Jigsaw(grid=4), seed=seed)(image=image)["image"].tobytes() for seed in range(20)}
        assert len(results) == 20

    def test_no_other_generator_is_used(self) -> None:
        image = picture()
        states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002  # what must not matter
        first = seeded(adapted.Mixup())(image=image, pool=[image[::-1]])["image"]
        assert torch.equal(torch.get_rng_state(), states[0])
        assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        assert np.array_equal(first, seeded(adapted.Mixup())(image=image, pool=[image[::-1]])["image"])

    def test_a_state_can_be_handed_over(self) -> None:
        image = picture()
        results = []
        for _ in range(2):
            transform = adapted.Jigsaw(grid=4)
            transform.set_random_state(np.random.default_rng(3), random.Random(3))
            results.append(transform(image=image)["image"])
        assert np.array_equal(*results)

    def test_it_applies_as_often_as_its_probability_says(self) -> None:
        image = picture(size=(8, 8))
        pipeline = seeded(adapted.Jigsaw(p=0.3))
        changed = sum(not np.array_equal(pipeline(image=image)["image"], image) for _ in range(500)) / 500
        assert abs(changed - 0.3) < 0.09  # four standard deviations
        assert not np.array_equal(adapted.Jigsaw()(image=image)["image"], image)

    def test_one_of_several(self) -> None:
        image = picture()
        pipeline = seeded(A.OneOf([adapted.Jigsaw(p=0.5), adapted.Rotate90(p=0.5)], p=1.0))
        results = [pipeline(image=image, pool=[image])["image"].tobytes() for _ in range(30)]
        assert image.tobytes() not in results
        assert len(set(results)) > 4


class TestFiles:
    @pytest.mark.parametrize(("name", "arguments"), CASES)
    def test_dictionaries_and_files_keep_every_argument(self, name: str, arguments: dict[str, Any]) -> None:
        image = picture()
        transform = make(name, **arguments)
        pool = pool_for(transform, image)
        expected = [seeded(transform, seed=seed)(image=image, **pool)["image"] for seed in range(4)]
        assert {key: getattr(transform, key) for key in arguments} == arguments

        def check(loaded: Any) -> None:
            assert type(loaded) is type(transform)
            assert loaded._negative.arguments() == transform._negative.arguments()
            found = [seeded(loaded, seed=seed)(image=image, **pool)["image"] for seed in range(4)]
            assert all(map(np.array_equal, found, expected))

        check(A.from_dict(A.to_dict(transform)))
        check(A.from_dict(json.loads(json.dumps(A.to_dict(transform)))))
        for data_format in ("json", "yaml"):
            file = io.StringIO()
            A.save(transform, file, data_format=data_format)
            file.seek(0)
            check(A.load(file, data_format=data_format))

    def test_a_pipeline_survives(self) -> None:
        pipeline = A.Compose([A.OneOf([adapted.Jigsaw(grid=(4, 7)), adapted.Cutout(fill="zero")]), adapted.Stitch()])
        assert repr(A.from_dict(A.to_dict(pipeline))) == repr(pipeline)
        assert A.to_dict(pipeline)["transform"]["transforms"][1]["__class_fullname__"] == (
            "nda_augment.adapters.albumentations.Stitch"
        )

    @pytest.mark.parametrize("name", NAMES)
    def test_pickles(self, name: str) -> None:
        image = picture()
        pipeline = seeded(make(name))
        copy = pickle.loads(pickle.dumps(pipeline))
        pool = pool_for(pipeline[0], image)
        assert np.array_equal(pipeline(image=image, **pool)["image"], copy(image=image, **pool)["image"])

    # From Python 3.12 on, forking beside torch's threads warns; these processes use none of them.
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_forked_processes(self) -> None:
        pipeline = seeded(adapted.Jigsaw(grid=4))
        images = [picture(seed=seed) for seed in range(4)]
        with multiprocessing.get_context("fork").Pool(2) as processes:
            results = processes.map(_Call(pipeline), images)
        assert all(result.shape == image.shape for result, image in zip(results, images, strict=True))
        assert not any(map(np.array_equal, results, images))


class _Call:
    def __init__(self, pipeline: A.Compose) -> None:
        self.pipeline = pipeline

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.pipeline(image=image)["image"]


class TestReplay:
    # albumentations says so of every transform that looks at other data; the partner is among our parameters.
    @pytest.mark.filterwarnings("ignore:.*could work incorrectly in ReplayMode:UserWarning")
    @pytest.mark.parametrize("name", NAMES)
    def test_a_replay_repeats_the_draw(self, name: str) -> None:
        image = picture()
        transform = make(name)
        recorded = A.ReplayCompose([transform])(image=image, **pool_for(transform, image))
        again = A.ReplayCompose.replay(recorded["replay"], image=image)["image"]
        assert np.array_equal(again, recorded["image"])

    def test_a_replay_moves_another_image_alike(self) -> None:
        image, other = picture(), picture(seed=1)
        pipeline = A.ReplayCompose([adapted.Jigsaw(grid=4), adapted.Cutout(p=0)])
        replay = pipeline(image=image)["replay"]
        both = np.concatenate([image, other], axis=2)
        together = A.ReplayCompose.replay(replay, image=both)["image"]
        assert np.array_equal(A.ReplayCompose.replay(replay, image=other)["image"], together[..., 3:])

    def test_parameters_are_plain_data(self) -> None:
        image = picture()
        replay = A.ReplayCompose([adapted.Jigsaw()])(image=image)["replay"]
        loaded = json.loads(json.dumps(replay))
        expected = A.ReplayCompose.replay(replay, image=image)["image"]
        assert np.array_equal(A.ReplayCompose.replay(loaded, image=image)["image"], expected)

    def test_applied_parameters_can_be_saved(self) -> None:
        pipeline = A.Compose([adapted.Stitch()], save_applied_params=True)
        ((name, parameters),) = pipeline(image=constant(0), pool=[constant(1)])["applied_transforms"]
        assert name == "Stitch"
        assert isinstance(parameters["seed"], int)
        assert np.array_equal(parameters["partner"], constant(1))


def load_anew() -> None:
    """Run the module's code under another name, as far as it gets."""
    spec = importlib.util.spec_from_file_location("nda_augment.adapters.again", adapted.__file__)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


class TestImport:
    def test_albumentationsx_is_an_error_that_names_both_versions(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metadata = tmp_path / "albumentationsx-2.5.1.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text("Metadata-Version: 2.1\nName: albumentationsx\nVersion: 2.5.1\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ImportError, match=r"AlbumentationsX 2\.5\.1 .* albumentations 2\.0\.8.*pip uninstall"):
            load_anew()

    @pytest.mark.parametrize("error", [ImportError("gone"), RuntimeError("broken"), OSError("libGL.so.1")])
    def test_a_missing_or_broken_library_is_an_error_that_names_the_fix(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
                if name == "albumentations":
                    raise error

        for name in [name for name in sys.modules if name.split(".")[0] == "albumentations"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
        with pytest.raises(ImportError, match=r'pip install "nda-augment\[albumentations\]"') as caught:
            load_anew()
        assert str(error) in str(caught.value)

    @pytest.mark.parametrize("setting", [None, "1", "0"])
    def test_the_update_check_is_switched_off_where_the_user_has_not_decided(
        self, setting: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
        if setting is not None:
            monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", setting)
        with adapted._without_update_check():
            assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == (setting or "1")
        assert os.environ.get("NO_ALBUMENTATIONS_UPDATE") == setting
        with pytest.raises(OSError, match="broken"), adapted._without_update_check():
            raise OSError("broken")
        assert os.environ.get("NO_ALBUMENTATIONS_UPDATE") == setting

    def test_importing_the_adapter_does_not_look_for_updates(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
        command = [sys.executable, "-c", _IMPORT_WITHOUT_NETWORK]
        subprocess.run(command, env=environment, check=True, capture_output=True)


_IMPORT_WITHOUT_NETWORK = """
import os, sys, urllib.request

def look(*args, **kwargs):
    sys.exit("the import went to the network")

urllib.request.OpenerDirector.open = look
import nda_augment.adapters.albumentations
assert "NO_ALBUMENTATIONS_UPDATE" not in os.environ
"""
