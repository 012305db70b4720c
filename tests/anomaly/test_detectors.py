"""What all detectors promise, asked of each."""

from types import SimpleNamespace

import onnxruntime
import pytest
import torch

import nda_augment as nda
from nda_augment.anomaly import ClassifierDetector, DensityDetector, Derivatives, Encoder, Training, load
from tests.anomaly.conftest import KINDS, QUICK, make, stripes


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def fitted():
    """Detectors by kind, each fitted once for the module."""
    done = {}

    def get(kind: str):
        if kind not in done:
            torch.manual_seed(0)
            done[kind] = make(kind).fit(stripes(64).split(16))
        return done[kind]

    return get


def test_a_score_for_each_image(kind, fitted) -> None:
    scores = fitted(kind).score(stripes(5, seed=1))
    assert scores.shape == (5,)
    assert scores.isfinite().all()
    assert not scores.requires_grad


def test_the_score_of_an_image_does_not_depend_on_its_batch(kind, fitted) -> None:
    detector, images = fitted(kind), stripes(5, seed=1)
    torch.manual_seed(2)
    together = detector.score(images)
    apart = torch.cat([detector.score(image) for image in images.split(1)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


def test_scoring_leaves_generators_modes_and_images_alone(kind, fitted) -> None:
    detector, images = fitted(kind), stripes(3, seed=1)
    before, state = images.clone(), torch.get_rng_state()
    detector.train()
    detector.score(images)
    assert all(module.training for module in detector.modules())
    detector.eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)


def test_the_call_is_the_score(kind, fitted) -> None:
    images = stripes(3, seed=1)
    assert torch.equal(fitted(kind)(images), fitted(kind).score(images))


def test_state_brings_back_the_scores(kind, fitted, tmp_path) -> None:
    images = stripes(4, seed=1)
    torch.save(fitted(kind).state_dict(), tmp_path / "state.pt")
    other = make(kind)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.testing.assert_close(other.score(images), fitted(kind).score(images))


def test_a_fit_is_a_function_of_its_seed(kind) -> None:
    scores = []
    for global_seed, training_seed in ((3, 0), (4, 0), (5, 1)):
        detector = make(kind, Training(epochs=1, seed=training_seed, accelerator="cpu"))
        torch.manual_seed(global_seed)
        scores.append(detector.fit(stripes(32).split(16)).score(stripes(4, seed=1)))
    assert torch.equal(scores[0], scores[1])
    assert kind == "density" or not torch.equal(scores[0], scores[2])


def test_fitting_leaves_the_global_generator_alone(kind) -> None:
    detector = make(kind, Training(epochs=1, accelerator="cpu"))
    state = torch.get_rng_state()
    detector.fit(stripes(32).split(16))
    assert torch.equal(torch.get_rng_state(), state)


def test_unfitted_it_says_so(kind) -> None:
    with pytest.raises(RuntimeError, match=r"was not fitted; call fit\(loader\)"):
        make(kind).score(stripes(2))


def test_that_it_was_fitted_is_read_once() -> None:
    """On a GPU each look at a buffer would wait; a state that is loaded is looked at anew."""
    detector, images = make(KINDS[0]).fit(stripes(16).split(8)), stripes(2, seed=1)
    detector.score(images)
    buffers = {name: detector._buffers.pop(name) for name in ("fitted", "size")}
    detector._check_fitted()
    assert detector._learned_size == tuple(images.shape[-2:])
    detector._buffers.update(buffers)
    detector.load_state_dict({**detector.state_dict(), "fitted": torch.tensor(False)})
    with pytest.raises(RuntimeError, match="was not fitted"):
        detector.score(images)


def test_an_empty_loader_is_an_error(kind) -> None:
    with pytest.raises(ValueError, match="loader yields no batch"):
        make(kind).fit([])


def test_a_loader_that_can_be_read_only_once_is_refused_before_anything_is_learned(kind) -> None:
    with pytest.raises(TypeError, match="read many times, and a tuple_iterator only once; pass a DataLoader or a list"):
        make(kind).fit(iter(stripes(32).split(16)))
    with pytest.raises(TypeError, match=r"yields batches, got one tensor; split it: images.split\(32\)"):
        make(kind).fit(stripes(32))


def test_images_of_other_kinds_are_errors(kind, fitted) -> None:
    with pytest.raises(TypeError, match=r"floating point, got torch.uint8; scale them first"):
        fitted(kind).score(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(B, C, H, W\).*got shape \(1, 8, 8\)"):
        fitted(kind).score(torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match=r"not empty, got shape \(0, 1, 8, 8\)"):
        fitted(kind).score(torch.zeros(0, 1, 8, 8))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (x, 7),
        lambda x: [x],
        lambda x: {"image": x, "label": 7},
        lambda x: SimpleNamespace(image=x, gt_label=7),
    ],
    ids=["tensor", "tuple", "list", "dictionary", "object"],
)
def test_batches_of_any_usual_form(wrap) -> None:
    plain = make("density").fit(stripes(32).split(16))
    other = make("density").fit([wrap(batch) for batch in stripes(32).split(16)])
    assert torch.equal(plain.score(stripes(3, seed=1)), other.score(stripes(3, seed=1)))


@pytest.mark.parametrize("batch", ["image", {"picture": torch.zeros(2)}, (), 7])
def test_batches_without_images_are_errors(batch) -> None:
    with pytest.raises(TypeError, match=f"got {type(batch).__name__}"):
        make("density").fit([batch])


def test_heatmaps_where_there_are_some(kind, fitted) -> None:
    images = stripes(3, seed=1)
    if kind in ("windows", "segmentation", "restoring"):
        assert fitted(kind).has_heatmap
        assert fitted(kind).heatmap(images).shape == (3, 1, 8, 8)
    else:
        assert not fitted(kind).has_heatmap
        with pytest.raises(ValueError, match="heat map"):
            fitted(kind).heatmap(images)


@pytest.mark.parametrize("kind", ["classifier", "windows", "csi", "uniclr", "discriminator"])
def test_it_learns(kind) -> None:
    """Images that are bright at the left instead of the top, which rotations and mixed halves resemble."""
    detector = make(kind, Training(epochs=12, lr=5e-3, accelerator="cpu"))
    detector.fit(stripes(64).split(16))
    normal, turned = detector.score(stripes(32, seed=1)), detector.score(stripes(32, upright=False, seed=2))
    assert (turned[:, None] > normal).float().mean() > 0.9


def test_scores_are_made_where_the_detector_is(device) -> None:
    detector = make("density").fit(stripes(32).split(16)).to(device)
    assert detector.score(stripes(2)).device.type == device.type


def test_training_starts_from_the_weights_that_are_there() -> None:
    """Two detectors that differ in their weights stay different; the fit does not initialise."""
    torch.manual_seed(0)
    one = make("classifier", QUICK)
    other = make("classifier", QUICK)
    with torch.no_grad():
        other.head.bias += 1
    batches = stripes(32).split(16)
    assert not torch.equal(one.fit(batches).head.bias, other.fit(batches).head.bias)


def test_the_baseline_is_the_parent() -> None:
    assert issubclass(ClassifierDetector, DensityDetector)


def test_a_threshold_keeps_the_rate_of_false_alarms() -> None:
    torch.manual_seed(0)
    detector = make("density").fit(torch.rand(64, 1, 8, 8).split(16))
    with pytest.raises(RuntimeError, match="no threshold yet; call calibrate"):
        detector.decide(stripes(2))
    images = torch.rand(199, 1, 8, 8)
    detector.calibrate(images, 0.1)
    assert detector.threshold == detector.score(images).sort().values[179]  # the 180th of 199: 0.9 * 200
    further = torch.rand(2000, 1, 8, 8)
    assert detector.decide(further).float().mean() < 0.15
    with pytest.raises(ValueError, match=r"0.001 needs 999 normal images at least, got 199; .* rate of 0.005 can"):
        detector.calibrate(images, 0.001)
    with pytest.raises(ValueError, match=r"a share in \(0, 1\), got 1"):
        detector.calibrate(images, 1)


def test_a_new_fit_forgets_the_threshold() -> None:
    detector = make("density").fit(stripes(32).split(16)).calibrate(stripes(40, seed=1), 0.1)
    assert detector.threshold.isfinite()
    assert detector.fit(stripes(32).split(16)).threshold.isinf()


def test_a_detector_is_built_again_from_its_file(kind, fitted, tmp_path) -> None:
    detector, images, parts = fitted(kind), stripes(4, seed=1), {}
    if kind == "discriminator":
        parts = {name: getattr(make(kind), name) for name in ("generator", "discriminator")}
    elif kind in ("csi", "simclr", "random", "uniclr"):
        parts = {"views": detector.views}
    detector.save(tmp_path / "new" / "detector.pt")
    if parts:
        with pytest.raises(ValueError, match="none of this package's; pass one that is built alike"):
            load(tmp_path / "new" / "detector.pt")
    again = load(tmp_path / "new" / "detector.pt", **parts)
    assert type(again) is type(detector)
    assert not again.training
    assert torch.equal(again.score(images), detector.score(images))


def test_a_state_of_other_settings_is_refused_and_nothing_of_it_is_loaded() -> None:
    state = make("windows").fit(stripes(32).split(16)).state_dict()
    encoder = Encoder(channels=1, width=4)
    other = ClassifierDetector(encoder, encoder.features, [nda.CutPaste()], patch=0.25)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"built in another way: patch: 0.5 there, 0.25 here"):
        other.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_windows_keep_their_size_in_pixels() -> None:
    detector = make("windows").fit(stripes(32).split(16))
    large = torch.cat([stripes(2, seed=1), stripes(2, seed=2)], dim=3)
    heat = detector.heatmap(large)
    torch.testing.assert_close(heat[..., 0], detector.heatmap(large[..., :8])[..., 0])
    with pytest.raises(ValueError, match="a window of 4 px does not fit into images of which a side is 3 px"):
        detector.score(large[..., :3])


def test_images_of_another_size_are_warned_of_where_they_are_seen_as_a_whole(fitted) -> None:
    with pytest.warns(UserWarning, match=r"images of 8x8 px, these are of 12x8 px.*not comparable"):
        fitted("density").score(torch.rand(2, 1, 12, 8))


def test_flat_images_are_errors(kind) -> None:
    with pytest.raises(ValueError, match="all images are one flat colour"):
        make(kind).fit(torch.full((32, 1, 8, 8), 0.5).split(16))


@pytest.mark.parametrize("kind", ["density", "classifier", "windows", "segmentation", "restoring", "discriminator"])
def test_the_scoring_path_is_exported(kind, fitted) -> None:
    images = stripes(3, seed=1)
    exported = torch.export.export(fitted(kind).scorer(), (images,)).module()(images)
    torch.testing.assert_close(exported[0], fitted(kind).score(images))
    assert len(exported) == 1 + fitted(kind).has_heatmap


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter's own packages
def test_the_scoring_path_runs_without_torch(fitted, tmp_path) -> None:
    detector = fitted("segmentation")
    any_number = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(detector.scorer(), (stripes(3),), dynamo=True, dynamic_shapes=any_number, verbose=False)
    program.save(tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    images = stripes(5, seed=1)
    scores, maps = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), detector.score(images))
    torch.testing.assert_close(torch.from_numpy(maps), detector.heatmap(images), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_pixels_are_judged_by_runs_without_torch_in_sizes_of_photographs(tmp_path) -> None:
    """What an exporter folds away for small images stays for large ones, and runtimes do not know all of it."""
    images = torch.rand(1, 1, 160, 128)
    derivatives = Derivatives(1).eval()
    torch.onnx.export(derivatives, (images,), dynamo=True, verbose=False).save(tmp_path / "derivatives.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "derivatives.onnx")
    (maps,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    # The exporter takes the 1e-8 beneath a root for nothing, which is its 1e-4 times 5.6 squared and by the contrast.
    torch.testing.assert_close(torch.from_numpy(maps), derivatives(images), rtol=1e-3, atol=0.02)


def test_a_region_needs_a_heat_map(fitted) -> None:
    roi = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match="scores images as a whole; a region needs a heat map"):
        fitted("density").score(stripes(2), roi)
    images = stripes(2, seed=1)
    assert torch.equal(fitted("windows").score(images, roi), fitted("windows").score(images))


def test_scores_and_maps_come_of_one_look(kind, fitted) -> None:
    images = stripes(3, seed=1)
    scores, heat = fitted(kind).judge(images)
    assert torch.equal(scores, fitted(kind).score(images))
    assert (heat is not None) == fitted(kind).has_heatmap
    if heat is not None:
        assert torch.equal(heat, fitted(kind).heatmap(images))


def test_images_of_another_type_than_the_detector_are_errors(kind, fitted) -> None:
    with pytest.raises(
        TypeError, match=r"images are torch.float64 and the detector torch.float32; images.to\(torch.fl"
    ):
        fitted(kind).score(stripes(3).double())
    with pytest.raises(TypeError, match=r"images are torch.float64"):
        make(kind).fit(stripes(32).double().split(16))


def test_a_threshold_can_be_set_as_the_error_says(fitted) -> None:
    detector = make("density").fit(stripes(32).split(16))
    with pytest.raises(RuntimeError, match=r"detector.threshold.fill_\(value\)"):
        detector.decide(stripes(2))
    detector.threshold.fill_(detector.score(stripes(1, seed=1)).item() - 1e-6)
    assert detector.decide(stripes(1, seed=1)).tolist() == [True]


def test_parts_that_do_not_fit_or_are_none_are_named(fitted, tmp_path) -> None:
    fitted("density").save(tmp_path / "detector.pt")
    with pytest.raises(ValueError, match=r"has no part backbonee; it has backbone, channels"):
        load(tmp_path / "detector.pt", backbonee=Encoder(channels=1, width=4))
    with pytest.raises(ValueError, match=r"does not fit backbone, which is built in another way") as caught:
        load(tmp_path / "detector.pt", backbone=Encoder(channels=1, width=8))
    assert "intact copy" not in str(caught.value)
