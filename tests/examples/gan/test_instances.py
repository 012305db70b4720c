import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from torch.nn import functional as F
from typer.testing import CliRunner

from examples.common import data
from examples.common.randomness import generator
from examples.common.settings import ConfigError
from examples.gan import evaluate, sample, train
from examples.gan.conditioning import Told
from examples.gan.generation import instances_of, load_augmentation, load_generator
from examples.gan.instances import INSTANCES, Encoder, Instances, describe, in_channels, nearest, read_instances
from examples.gan.train import Training
from tests.examples.gan.conftest import settings_of

WORDS = ["MODEL.instance_cond=true", "MODEL.instance_neighbours=3", "OPTIMIZATION.total_steps=1"]
CLASSES = ["MODEL.g_cond_mtd=cBN", "MODEL.d_cond_mtd=PD", "MODEL.g_shared_dim=3"]


def unit(count, dim, seed=0):
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of a run of one step, without classes and with."""
    tiny = settings_of(tmp_path_factory.mktemp("instances"))
    return [train.train(tiny(name, *WORDS, *more)) for name, more in (("plain", []), ("classes", CLASSES))]


class TestNearest:
    def test_the_nearest_of_each_and_never_itself(self):
        features = unit(9, 3)
        found = nearest(features, 4)
        for row in range(9):
            others = sorted(set(range(9)) - {row}, key=lambda other: -(features[row] @ features[other]).item())
            assert found[row].tolist() == others[:4]

    def test_among_copies_as_well(self):
        found = nearest(F.normalize(torch.ones(5, 2), dim=1), 4)
        assert [sorted(row) for row in found.tolist()] == [sorted(set(range(5)) - {row}) for row in range(5)]

    @pytest.mark.parametrize("features", [unit(9, 3), F.normalize(torch.ones(6, 2), dim=1)], ids=["all", "copies"])
    def test_by_faiss_where_it_is_installed(self, monkeypatch, features):
        class Flat:
            """What its index does, by numpy."""

            def __init__(self, size):
                assert size == features.shape[1]

            def add(self, rows):
                self.rows = rows

            def search(self, rows, k):
                cosines = rows @ self.rows.T
                order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
                return np.take_along_axis(cosines, order, 1), order

        by_torch = nearest(features, 3)
        monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(IndexFlatIP=Flat))
        found = nearest(features, 3)
        assert all(row not in found[row].tolist() for row in range(len(features)))
        if len(features) == 9:  # among copies all are as near
            assert torch.equal(found, by_torch)


class TestEncoder:
    def test_features_have_length_one_and_grey_is_put_into_all_channels(self):
        network = torch.nn.Flatten()
        images = torch.rand(4, 1, 2, 2) * 2 - 1
        features = Encoder(network, 3, scale=2.0)(images)
        assert torch.allclose(features, F.normalize(2 * images.expand(-1, 3, -1, -1).flatten(1), dim=1))

    def test_colours_become_grey(self):
        images = torch.rand(2, 3, 4, 4)
        assert torch.equal(in_channels(images, 1), images.mean(1, keepdim=True))
        assert in_channels(images, 3) is images


class TestInstances:
    @pytest.fixture
    def instances(self):
        features = unit(12, 4)
        return Instances(Encoder(torch.nn.Flatten(), 1), features, nearest(features, 3), torch.arange(12) % 5)

    def test_a_neighbour_of_each_and_all_of_them(self, instances):
        which = torch.arange(12).repeat(40)
        near = instances.near(which, 0, "test")
        assert {tuple(pair) for pair in zip(which.tolist(), near.tolist(), strict=True)} == {
            (row, other) for row in range(12) for other in instances.neighbours[row].tolist()
        }

    def test_the_label_is_that_of_a_neighbour_and_the_features_are_the_instances(self, instances):
        which = torch.tensor([3, 3, 7])
        told = instances.told(which, 0, "test")
        assert torch.equal(told.features, instances.features[which])
        assert torch.equal(told.labels, instances.labels[instances.near(which, 0, "test")])

    def test_none_comes_again_before_all_have(self, instances):
        which = instances.spread(30, 0, "test")
        assert sorted(which[:12].tolist()) == list(range(12))
        assert torch.equal(which[12:24], which[:12])

    def test_nearness_is_one_for_what_is_at_its_own_place_and_a_half_for_what_is_at_none(self, instances):
        which = torch.arange(12)
        centres = F.normalize(instances.features[instances.neighbours].mean(1), dim=1)
        assert instances.nearness(centres.view(12, 1, 2, 2), which) > 0.98  # two have the same neighbours
        assert instances.nearness(torch.ones(12, 1, 2, 2), which) == pytest.approx(0.5, abs=0.01)
        assert instances.nearness(-centres.view(12, 1, 2, 2), which) < 0.2


class TestRun:
    def test_real_images_are_neighbours_of_the_instances_that_are_told(self, tiny):
        settings = tiny("run", *WORDS, *CLASSES)
        images = data.load(settings.DATA)[0]
        run = Training(settings, images)
        batch = run._batch(2)
        for image, label, features in zip(batch.images, batch.labels, batch.features, strict=True):
            instance = (run.instances.features == features).all(1).nonzero().flatten()
            near = data.normalize(images.images[run.instances.neighbours[instance].flatten()])
            place = (near == image).flatten(1).all(1).nonzero()[0]
            assert images.labels[run.instances.neighbours[instance].flatten()[place]] == label

    def test_generated_images_are_asked_for_by_instance_and_judged_so(self, tiny, monkeypatch):
        run = Training(tiny("run", *WORDS), data.load(tiny("run").DATA)[0])
        judged = []
        judge = train.Player.judge
        monkeypatch.setattr(
            train.Player, "judge", lambda player, *args: judged.append(args[:2]) or judge(player, *args)
        )
        run.discriminator_loss(1)
        (real, on_real), (fake, on_fake), (_, on_negative) = judged
        assert torch.equal(on_real.features, run._batch(1).features)
        assert on_negative is not on_fake
        assert torch.equal(on_negative.features, on_real.features)
        latents = torch.randn(6, 4, generator=generator(0, "D latent", 1))
        assert torch.equal(fake, run.generator.network.module(latents, None, on_fake.features).detach())
        moved = run.discriminator.judge(real, Told(None, on_real.features.roll(1, 0)))
        assert not torch.allclose(moved.logits, run.discriminator.judge(real, on_real).logits)

    def test_its_file_knows_images_and_encoder(self, tiny):
        settings = tiny("run", *WORDS)
        images = data.load(settings.DATA)[0]
        instances = Training(settings, images).instances
        assert torch.equal(instances.features, describe(instances.encoder, data.normalize(images.images)))
        folder = train.train(settings)
        with pytest.raises(ConfigError, match=r"instances\.pt is of other images"):
            read_instances(folder, settings, images[torch.arange(23)])
        with pytest.raises(ConfigError, match=r"instances\.pt is of other images or another encoder"):
            Training(tiny("run", *WORDS, "MODEL.instance_neighbours=4"), images)
        assert (folder / INSTANCES).exists()

    def test_too_few_images_are_told(self, tiny):
        with pytest.raises(ConfigError, match="instance_neighbours=24 must be below 24"):
            train.train(tiny("run", *WORDS, "MODEL.instance_neighbours=24"))

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["MODEL.instance_neighbours=9"], "changes nothing without MODEL.instance_cond=true"),
            ([*WORDS, *CLASSES[:1], "MODEL.d_cond_mtd=AC"], "needs MODEL.g_shared_dim"),
            ([*WORDS, "MODEL.g_cond_mtd=cBN", "MODEL.d_cond_mtd=MH", "LOSS.adv_loss=MH"], "d_cond_mtd=MH has one per"),
            ([*WORDS, "LOSS.nda_weights={fake: 0.5, history: 0.5}"], "history makes images of no instance"),
            (["MODEL.instance_cond=false", "MODEL.instance_encoder=runs"], "instance_encoder describes images"),
            ([*WORDS, "MODEL.instance_encoder=nowhere"], "nowhere is no folder of a run"),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, tiny, words, message):
        with pytest.raises(ConfigError, match=message):
            train.train(tiny("run", *words))


def test_samples_say_what_they_are_of(trained, tmp_path):
    app = typer.Typer()
    app.command()(sample.main)
    for folder, names in zip(trained, ({"images", "instances"}, {"images", "instances", "labels"}), strict=True):
        result = CliRunner().invoke(app, [str(folder), "--count", "30", "--output", str(tmp_path / "s.npz")])
        assert result.exit_code == 0, result.output
        arrays = dict(np.load(tmp_path / "s.npz"))
        assert arrays.keys() == names
        assert len(set(arrays["instances"][:24].tolist())) == 24


def test_the_evaluation_says_whether_samples_are_near_their_instances(trained):
    report = evaluate.evaluate({"run": trained[0]}, classifier_epochs=1)
    _, instances = load_generator(trained[0])
    which = instances_of(instances, report.n, 0, "evaluation")
    expected = instances.nearness(evaluate.generate(trained[0], report.n), which)
    assert report.rows["run"].nearness == expected
    assert report.rows["real (training)"].nearness is None


class TestAugmentation:
    @pytest.mark.parametrize("with_classes", [False, True])
    def test_some_images_give_way_to_neighbours_of_them(self, trained, with_classes):
        folder = trained[with_classes]
        swap = load_augmentation(folder, 0.5, channels=3)
        network, instances = load_generator(folder)
        images = (torch.rand(16, 1, 8, 8) * 2 - 1).expand(-1, 3, -1, -1)
        labels = torch.arange(16) % 2 if with_classes else None
        swapped = swap(images, labels=labels) if with_classes else swap(images)
        chosen = swap._params["batch_prob"] > 0.5
        assert 0 < chosen.sum() < 16
        assert torch.equal(swapped[~chosen], images[~chosen])
        made = network(swap._params["latents"], labels, instances.encoder(images[:, :1]))
        torch.testing.assert_close(swapped[chosen], made.expand(-1, 3, -1, -1)[chosen], atol=1e-5, rtol=1e-4)

    def test_a_generator_without_instances_is_refused(self, tiny):
        folder = train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
        with pytest.raises(ConfigError, match="knows no instances"):
            load_augmentation(folder, 0.5, 3)
