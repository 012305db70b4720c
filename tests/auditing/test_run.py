import json

import pytest
import torch
from kornia.augmentation import RandomResizedCrop
from torch import nn

import nda_augment as nda
from nda_augment.auditing.measuring.encoder import train_encoder
from nda_augment.auditing.rendering.wording import looked_at
from nda_augment.auditing.run import REFERENCES, choose
from nda_augment.registry import NEGATIVES
from tests.auditing.data import Pooled, digits, even_grain, textures


def photographs(n=150, channels=1, side=16):
    """Smooth images that are darker towards the upper left."""
    return torch.rand(n, channels, side, side).cumsum(2).cumsum(3) / side**2


@pytest.fixture(scope="module")
def digit_encoder():
    return train_encoder(digits(700)[0] / 255, steps=150, seed=0)


@pytest.fixture(scope="module")
def texture_encoder():
    return train_encoder(textures()[0] / 255, steps=40, seed=0)


@pytest.fixture(scope="module")
def audited_digits(digit_encoder):
    chosen = {word: nda.from_policy(word).members[0] for word in ("jigsaw", "stitch", "cutmix", "patchshuffle")}
    crop = RandomResizedCrop((8, 8), scale=(0.9, 1.0))
    return nda.audit(digits(700)[0], {**chosen, "crop": crop}, encoder=digit_encoder)


@pytest.mark.parametrize("name", ["jigsaw", "stitch", "cutmix"])
def test_negatives_of_digits_are_negatives(audited_digits, name):
    row = audited_digits[name]
    assert row.kind == "negative"
    assert row.measures.broken.low > 0.15
    assert row.measures.overlap.value < 0.8
    assert row.measures.told_by_features.low > 0.5


def test_small_crops_of_digits_are_positives(audited_digits):
    row = audited_digits["crop"]
    assert (row.kind, row.verdict) == ("positive", "fail")
    assert row.measures.overlap.value > 0.65 > audited_digits["cutmix"].measures.overlap.value
    assert row.measures.broken.value < 0.15


def test_a_mirrored_digit_is_no_digit(audited_digits, digit_encoder):
    """Flips are positives where the data say so, and not by decree."""
    images, labels = digits(700)
    assert audited_digits["horizontal flip"].kind == "negative"
    labelled = nda.audit(images, {"mirror": lambda x: x.flip(-1)}, labels=labels, encoder=digit_encoder)
    assert labelled["mirror"].measures.broken.low > 0.5
    assert labelled.settings.classifier.low > 0.9


def test_the_references_are_where_they_belong(audited_digits):
    real, identity, noise, flip = audited_digits.references
    assert [row.name for row in (real, identity, noise, flip)] == ["real", "identity", "white noise", "horizontal flip"]
    assert identity.kind == real.kind == "positive"
    assert identity.measures.unchanged.value == 1.0
    assert identity.measures.shift.value == 0.0
    assert identity.measures.broken.value == 0.0
    assert identity.measures.realism.value == real.measures.realism.value == 1.0
    assert noise.measures.realism.value == pytest.approx(0.0, abs=1e-6)
    assert noise.measures.broken.value > 0.8
    for found, truth in ((real.measures.told_by_features, 0.5), (real.measures.shift, 0.0)):
        # Of intervals of 95 % one in twenty misses: four standard deviations are as wide as it is.
        assert abs(found.value - truth) < found.high - found.low
    assert identity.preserved == ("mean", "variance", "histogram", "spectrum")


def test_the_ranking_puts_negatives_first(audited_digits):
    ranking = audited_digits.ranking
    assert [row.verdict for row in ranking] == sorted(
        (row.verdict for row in ranking), key=["pass", "warn", "fail"].index
    )
    assert ranking[-1].name == "crop"
    assert audited_digits["patchshuffle"].verdict == "warn"  # a grid of 8x8 on 8 pixels leaves nothing
    assert audited_digits.headline().startswith("2 pass") or audited_digits.headline().startswith("3 pass")


def test_a_fine_jigsaw_of_textures_hardly_changes_anything(texture_encoder):
    images, labels = textures()
    fine = {"jigsaw": nda.Jigsaw(grid=(4, 4)), "finer": nda.Jigsaw(grid=(12, 12)), "stitch": nda.Stitch()}
    report = nda.audit(images, fine, labels=labels, encoder=texture_encoder)
    assert (report["jigsaw"].kind, report["jigsaw"].verdict) == ("harmless", "warn")
    assert "hardly changes anything" in report["jigsaw"].reason
    assert report["stitch"].kind == report["finer"].kind == "negative"


def test_clusters_of_textures_say_nothing_of_structure_and_the_audit_says_so(texture_encoder):
    images, _ = textures()
    report = nda.audit(images, {"jigsaw": nda.Jigsaw(grid=(4, 4))}, encoder=texture_encoder)
    assert not report.settings.structure_is_known
    assert (report["jigsaw"].kind, report["jigsaw"].verdict) == ("unclear", "warn")


@pytest.mark.parametrize("shape", [(150, 1, 16, 16), (148, 3, 20, 28), (149, 4, 9, 8)], ids=str)
def test_the_same_seed_gives_the_same_report_and_leaves_the_generator_alone(shape):
    images = photographs(shape[0], shape[1], max(shape[2:]))[..., : shape[2], : shape[3]]
    noisy = {"noisy": lambda x: (x + 0.3 * torch.rand_like(x)).clamp(0, 1), "mixup": nda.Mixup()}
    state = torch.get_rng_state()
    first, second, third = (nda.audit(images, noisy, encoder=Pooled(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first == second != third
    assert json.loads(first.to_json()) == json.loads(json.dumps(first.to_dict()))


def test_the_default_encoder_is_trained_on_the_images():
    images, told = photographs(148), []
    report = nda.audit(images, "flip", progress=lambda *step: told.append(step))
    assert "self-supervised" in report.settings.encoder
    assert told[149] == ("encoder", 150, 150)
    assert told[-1] == ("transforms", 5, 5)
    assert report["flip"].measures.shift.n == 74


def test_a_row_does_not_depend_on_the_others():
    images = photographs()
    alone = nda.audit(images, "mixup", encoder=Pooled())
    among = nda.audit(images, "jigsaw,mixup", encoder=Pooled())
    assert alone["mixup"] == among["mixup"]


def test_constant_images_defeat_a_jigsaw_and_are_shown():
    images = photographs(160)
    images[::2] = torch.linspace(0.1, 0.9, 80).view(-1, 1, 1, 1)
    row = nda.audit(images, "jigsaw", encoder=Pooled())["jigsaw"]
    assert row.measures.unchanged.value == pytest.approx(0.5, abs=0.15)
    assert (row.kind, row.verdict, row.reason) == ("positive", "fail", "leaves many images as they are")
    assert len(row.worst) == 4
    assert all(number % 2 == 0 for number in row.worst)


def test_a_sample_is_looked_at_and_said_so():
    report = nda.audit(photographs(190), "roll", encoder=Pooled(), max_images=150)
    assert (report.settings.given, report.settings.used, report.settings.n) == (190, 150, 75)
    assert report["roll"].measures.shift.n == 75
    assert max(report["roll"].worst) < 190
    assert "a random sample of 150 of 190 images" in looked_at(report)


def test_uint8_and_floats_are_the_same_images():
    images = (photographs() * 255).round().to(torch.uint8)
    reports = [nda.audit(x, "flip", encoder=Pooled()) for x in (images, images.float() / 255, images.double() / 255)]
    assert reports[0] == reports[1] == reports[2]


def test_the_whole_registry_is_tried_and_what_does_not_fit_is_named():
    words, skipped = choose(None, photographs(8, 1, 16))
    assert not set(words) & set(REFERENCES)
    assert set(skipped) == {"randomfieldcolor"}
    assert "channels" in skipped["randomfieldcolor"]
    images = [negative.word for negative in NEGATIVES if not negative.needs_clips]
    assert set(words) | set(skipped) == set(images)


def test_an_encoder_is_used_in_eval_mode_and_given_back_as_it_was():
    encoder = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.Dropout(0.5), nn.BatchNorm2d(8))
    encoder[1].eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = photographs()
    report = nda.audit(images, "flip", encoder=encoder)
    assert report == nda.audit(images, "flip", encoder=encoder)
    assert [module.training for module in encoder] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert "given by the caller" in report.settings.encoder


def test_transforms_that_need_labels_get_them():
    images, labels = photographs(150), torch.arange(150) % 2
    images[labels == 1] = images[labels == 1].flip(-1).flip(-2)
    report = nda.audit(images, [nda.Stitch(partner="other_class")], labels=labels, encoder=Pooled())
    assert len(report.ranking) == 1


def test_a_classifier_that_is_hardly_better_than_chance_decides_nothing():
    """Of 20 classes it is right on one image in five, where chance is one in twenty."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(20, (400,), generator=generator)
    images = torch.rand(400, 1, 16, 16, generator=generator)
    images[labels < 2] = (0.5 * images[labels < 2] + 0.5 * labels[labels < 2].view(-1, 1, 1, 1)).clamp(0, 1)
    report = nda.audit(images, "jigsaw", labels=labels, encoder=Pooled())
    assert report.settings.classifier.low > 0.06
    assert not report.settings.structure_is_known
    assert "breaks structure" in report["jigsaw"].reason or report["jigsaw"].kind == "positive"
    assert "0 pass" in report.headline()
    assert "too little to say what negatives break" in looked_at(report)


@pytest.fixture(scope="module")
def audited_tiles():
    chosen = "cutpaste,cutpastescar,cutpasteforeign,perlinblend,cutout,jigsaw,rotate90"
    return nda.audit(even_grain(200), chosen, encoder=Pooled(), purpose="defect")


def test_small_defects_are_wanted_and_what_changes_the_whole_tile_is_not(audited_tiles):
    assert audited_tiles["rotate90"].kind == audited_tiles["jigsaw"].kind == "unsuited"
    assert audited_tiles["cutout"].kind == "negative"
    assert audited_tiles["cutout"].measures.extent.high < 0.5
    assert {row.name for row in audited_tiles.ranking if row.verdict == "fail"} >= {"rotate90", "jigsaw"}


def test_a_copy_of_the_same_grain_is_told_by_its_border(audited_tiles):
    """A patch of even grain looks the same wherever it stands, and still its border is as plain as a flat box.

    Which of the two is told better changes with the seed: in four of eight draws it was the box.
    """
    told = {row.name: row.measures.told_by_patches.value for row in audited_tiles.rows}
    assert told["identity"] == pytest.approx(0.5)
    assert min(told["cutpaste"], told["cutpasteforeign"], told["cutout"]) > 0.9


def test_flips_of_symmetric_tiles_are_no_negatives():
    """What flips make of tiles without a handedness is distributed as the tiles are."""
    generator = torch.Generator().manual_seed(1)
    grain = even_grain(300, seed=1)
    grain[..., 8:24, 8:24] += 0.3 * torch.rand(300, 1, 1, 1, generator=generator)  # a part of its own brightness
    report = nda.audit(grain, "flip", encoder=Pooled())
    assert report["horizontal flip"].kind != "negative"


def test_what_keeps_its_structure_fails_in_contrastive_learning_and_warns_in_a_gan():
    images, labels = textures()
    fine = {"jigsaw": nda.Jigsaw(grid=(4, 4))}
    encoder = Pooled()
    kinds = {
        purpose: nda.audit(images[::2], fine, labels=labels[::2], encoder=encoder, purpose=purpose)["jigsaw"]
        for purpose in ("gan", "contrastive")
    }
    if kinds["gan"].kind == "harmless":
        assert kinds["contrastive"].verdict == "fail"
    assert kinds["gan"].measures == kinds["contrastive"].measures


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": torch.rand(147, 1, 16, 16)}, ValueError, "147 images are too few.*fewer than 148"),
        ({"images": torch.rand(150, 16, 16)}, ValueError, r"must be \(N, C, H, W\)"),
        ({"images": torch.rand(150, 1, 16, 16).numpy()}, TypeError, "torch.Tensor .* got ndarray"),
        ({"images": torch.zeros(150, 1, 16, 16, dtype=torch.int64)}, TypeError, "uint8 or floating"),
        ({"images": 2 * torch.rand(150, 1, 16, 16) - 1}, ValueError, r"\(images \+ 1\) / 2"),
        ({"images": torch.full((150, 1, 16, 16), torch.nan)}, ValueError, r"lie in \[0, 1\]"),
        ({"images": torch.rand(150, 1, 7, 16)}, ValueError, "at least 8 pixels"),
        ({"images": torch.full((150, 1, 16, 16), 0.5)}, ValueError, "equal to others"),
        ({"labels": torch.zeros(149, dtype=torch.int64)}, ValueError, "one integer per image"),
        ({"labels": torch.zeros(150)}, ValueError, "one integer per image"),
        ({"labels": torch.arange(150)}, ValueError, "where chance is"),
        ({"max_images": 147}, ValueError, "max_images must be at least 148"),
        ({"purpose": "gans"}, ValueError, "purpose must be one of .*'gan'"),
        ({"transforms": "jigsw"}, ValueError, "did you mean 'jigsaw'"),
        ({"transforms": "jigsaw(grid=5x5)"}, ValueError, "15 or 20"),
        ({"transforms": "jigsaw,jigsaw"}, ValueError, "jigsaw more than once"),
        ({"transforms": []}, ValueError, "no transform"),
        ({"transforms": nda.Jigsaw()}, TypeError, "a list or mapping of transforms, got Jigsaw"),
        ({"transforms": [nda.Jigsaw]}, TypeError, "must be negatives of this package"),
        ({"transforms": {"white noise": nda.Jigsaw()}}, ValueError, "another name"),
        ({"transforms": {"smaller": lambda x: x[..., 1:]}}, ValueError, "smaller made .* must keep the shape"),
        ({"encoder": nn.Conv2d(3, 4, 3)}, RuntimeError, "channels"),
        ({"encoder": nn.Threshold(2.0, 1.0)}, ValueError, "same for all"),
        ({"encoder": nn.Sequential(Pooled(), nn.Threshold(0.7, 0.0))}, ValueError, "same for most"),
        ({"encoder": nn.Threshold(2.0, float("nan"))}, ValueError, "NaN"),
    ],
    ids=[
        "few", "rank", "array", "type", "range", "nan", "small", "constant", "labels", "float labels", "useless labels",
        "sample", "purpose", "word", "grid", "twice", "none", "bare", "class", "name", "shape", "channels",
        "dead encoder", "nearly dead encoder", "broken encoder",
    ],
)  # fmt: skip
def test_mistakes_are_named(arguments, error, message):
    images = arguments.pop("images", torch.rand(150, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(error, match=message):
        nda.audit(images, **{"transforms": "flip", "encoder": Pooled(), **arguments})
