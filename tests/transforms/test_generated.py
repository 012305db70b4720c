import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from nda_augment import Generated, GeneratorHistory
from nda_augment.anomaly import GaussianDensity

IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.arange(12) % 4


class Paint(nn.Module):
    """A generator that paints what it is told: the latent's first number, then each condition's."""

    def __init__(self, channels: int = 3, size: int = 8) -> None:
        super().__init__()
        self.channels, self.size, self.seen = channels, size, []
        self.weight = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm1d(4)  # would move in training mode

    def forward(self, latents: Tensor, *conditions: Tensor) -> Tensor:
        self.seen.append((latents, *conditions))
        told = torch.stack([each.reshape(len(latents), -1)[:, 0].float() for each in (latents, *conditions)])
        image = self.weight * self.norm(latents)[:, :1] + told.sum(0, keepdim=True).T
        return image.view(-1, 1, 1, 1).expand(-1, self.channels, self.size, self.size)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean_colours(images: Tensor) -> Tensor:
    return F.normalize(images.mean((2, 3)), dim=1)


class TestWhatIsGenerated:
    def test_only_the_chosen_images_are(self):
        paint = Paint()
        swap = Generated(paint, 4, p=0.4)
        images = swap(IMAGES, generator=seeded())
        chosen = swap._params["batch_prob"]
        assert 0 < chosen.sum() < 12
        assert [len(latents) for (latents,) in paint.seen] == [int(chosen.sum())]
        assert torch.equal(images[~chosen], IMAGES[~chosen])
        assert not (images[chosen] == IMAGES[chosen]).flatten(1).any(1).any()

    def test_nothing_is_where_none_is_chosen(self):
        paint = Paint()
        assert torch.equal(Generated(paint, 4, p=0.0)(IMAGES), IMAGES)
        assert not paint.seen

    def test_the_share_is_p(self):
        swap = Generated(lambda z: z.view(-1, 1, 1, 1), 1, p=0.3)
        swap(torch.zeros(10_000, 1, 1, 1), generator=seeded())
        assert abs(swap._params["batch_prob"].double().mean() - 0.3) < 0.02

    def test_in_a_mixture_a_member_generates_for_its_own_images(self):
        paint = Paint()
        mixture = nda.Mixture([nda.Jigsaw(), Generated(paint, 4)])
        negatives = mixture(IMAGES, generator=seeded())
        own = mixture._params["choice"] == 1
        assert len(paint.seen[0][0]) == own.sum() == 6
        assert torch.equal(paint.seen[0][0], mixture._params["1.latents"][own])
        assert torch.equal(negatives, mixture(IMAGES, params=mixture._params))

    def test_modes_and_gradients_are_left_alone(self):
        paint, encoder = Paint().train(), nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.BatchNorm1d(3)).train()
        paint.norm.eval()
        before = {name: value.clone() for name, value in [*paint.state_dict().items(), *encoder.state_dict().items()]}
        images = IMAGES.clone().requires_grad_()
        swapped = Generated(paint, 4, encoder=encoder, p=0.5)(images, generator=seeded())
        assert paint.training
        assert not paint.norm.training
        assert all(part.training for part in encoder.modules())
        after = [*paint.state_dict().items(), *encoder.state_dict().items()]
        assert all(torch.equal(before[name], value) for name, value in after)
        swapped.sum().backward()
        assert paint.weight.grad is None
        same = (swapped == IMAGES).flatten(1).all(1)
        assert torch.equal(images.grad.flatten(1).bool().all(1), same)

    def test_a_container_of_kornia_leaves_images_alone_too(self):
        sequence = K.AugmentationSequential(Generated(Paint(), 4, p=0.5), data_keys=["input"])
        images = torch.rand(16, 3, 8, 8)
        kept = (sequence(images) == images).flatten(1).all(dim=1)
        assert 0 < kept.sum() < 16


class TestConditions:
    def test_features_are_those_of_the_chosen_images(self):
        paint = Paint()
        swap = Generated(paint, 4, encoder=mean_colours, p=0.5)
        swap(IMAGES, generator=seeded())
        chosen = swap._params["batch_prob"]
        assert torch.equal(paint.seen[0][1], mean_colours(IMAGES[chosen]))

    def test_features_may_come_by_index(self):
        table, index, paint = torch.rand(100, 5), torch.arange(40, 52), Paint()
        swap = Generated(paint, 4, encoder=lambda images: pytest.fail("computed"), p=0.5)
        images = swap(IMAGES, features=table[index], generator=seeded())
        assert torch.equal(paint.seen[0][1], table[index][swap._params["batch_prob"]])
        assert torch.equal(images, swap(IMAGES, params=swap._params))
        assert torch.equal(images, swap(IMAGES, features=table[index], generator=seeded()))

    def test_own_labels_come_before_features(self):
        paint = Paint()
        Generated(paint, 4, labels="own", encoder=mean_colours)(IMAGES, labels=LABELS)
        assert torch.equal(paint.seen[0][1], LABELS)
        assert torch.equal(paint.seen[0][2], mean_colours(IMAGES))

    def test_a_wrong_class_is_wrong_and_repeats(self):
        paint = Paint()
        wrong = Generated(paint, 4, labels=nda.OtherClass(4))
        images = wrong(IMAGES, labels=LABELS, generator=seeded())
        told = paint.seen[0][1]
        assert not (told == LABELS).any()
        assert torch.equal(images, wrong(IMAGES, params=wrong._params))
        assert torch.equal(paint.seen[1][1], told)

    def test_a_far_label_for_regressors(self):
        paint, numbers = Paint(), torch.linspace(0, 1, 12)
        Generated(paint, 4, labels=nda.OtherLabel(numbers, quantile=0.5))(IMAGES, labels=numbers)
        assert ((paint.seen[0][1] - numbers).abs() > 0.2).all()

    @pytest.mark.parametrize("p", [1.0, 0.5])
    def test_a_blend_mixes_two_instances_and_keeps_the_length(self, p):
        paint = Paint()
        mixed = Generated(paint, 4, encoder=lambda images: 3 * mean_colours(images), blend=0.5, p=p)
        mixed(IMAGES, generator=seeded())
        partners = mixed._params["partners"]
        chosen = mixed._params.get("batch_prob", torch.ones(12, dtype=torch.bool))
        assert not (partners == torch.arange(12)).any()
        halfway = F.normalize((mean_colours(IMAGES) + mean_colours(IMAGES[partners])) / 2, dim=1)
        torch.testing.assert_close(paint.seen[0][1], 3 * halfway[chosen])

    def test_at_one_the_features_are_anothers_and_pools_serve(self):
        paint, pool = Paint(), torch.rand(5, 3, 8, 8)
        other = Generated(paint, 4, encoder=mean_colours, blend=1.0)
        other(IMAGES[:1], pool=pool, generator=seeded())
        torch.testing.assert_close(paint.seen[0][1], mean_colours(pool[other._params["partners"]]))

    def test_latents_have_the_scale(self):
        paint = Paint()
        Generated(paint, 4, latent_scale=3.0)(torch.zeros(5000, 3, 1, 1), generator=seeded())
        assert abs(paint.seen[0][0].std() - 3) < 0.05


class TestScore:
    def test_the_highest_of_its_candidates_is_taken(self):
        paint = Paint(size=2)
        worst = Generated(paint, 4, score=lambda images: images[:, 0, 0, 0], candidates=5, p=0.5)
        images = worst(IMAGES, generator=seeded())
        chosen = worst._params["batch_prob"]
        made = 2 * worst._params["latents"][chosen][..., 0].amax(1)
        torch.testing.assert_close(images[chosen][:, 0, 0, 0], made, rtol=1e-4, atol=1e-4)
        assert torch.equal(images, worst(IMAGES, params=worst._params))

    def test_conditions_are_those_of_the_image(self):
        paint = Paint()
        told = []

        def score(images, labels):
            told.append(labels)
            return torch.rand(len(images), 1)

        Generated(paint, 4, labels="own", score=score, candidates=3)(IMAGES, labels=LABELS)
        assert torch.equal(paint.seen[0][1], LABELS.repeat_interleave(3))
        assert torch.equal(told[0], LABELS.repeat_interleave(3))

    def test_a_density_on_features_scores(self):
        density = GaussianDensity(3, normalize=False).fit(torch.rand(100, 3))
        made = Generated(lambda z: z.view(-1, 3, 1, 1), 3, score=lambda x: density.score(x.mean((2, 3))), candidates=20)
        far = made(torch.zeros(50, 3, 1, 1), generator=seeded()).flatten(1)
        assert density.score(far).mean() > 2 * density.score(torch.randn(1000, 3, generator=seeded(1))).mean()

    def test_a_score_of_places_is_named(self):
        with pytest.raises(ValueError, match=r"one number per candidate, 24, got \(24, 8\)"):
            Generated(Paint(), 4, score=lambda images: images[:, 0, 0], candidates=2)(IMAGES)


class TestHistory:
    def test_each_image_has_its_snapshot_and_repeats_it(self):
        paint = Paint()
        history = GeneratorHistory(paint, every=1, capacity=4)
        for step in range(6):
            with torch.no_grad():
                paint.weight.fill_(float(100 * step))
            history.update()
        old = Generated(history, 4)
        images = old(IMAGES, generator=seeded())
        assert set(old._params["snapshots"].tolist()) <= {3, 4, 5, 6}
        assert len(set(old._params["snapshots"].tolist())) > 1
        with torch.no_grad():
            paint.weight.fill_(-1.0)
        assert torch.equal(images, old(IMAGES, params=old._params))

    def test_candidates_are_of_one_snapshot(self):
        history = GeneratorHistory(Paint(), every=1)
        history.update()
        assert Generated(history, 4, score=lambda x: x.mean((1, 2, 3)), candidates=3)(IMAGES).shape == IMAGES.shape


class TestAdapting:
    def test_size_is_adapted_without_aliasing(self):
        stripes = torch.tensor([-1.0, 1.0]).repeat(16).expand(2, 1, 32, 32)
        small = Generated(lambda z: stripes, 1)(torch.zeros(2, 1, 8, 12))
        assert small.shape == (2, 1, 8, 12)
        assert small[..., 2:-2].abs().max() < 0.3

    def test_range_and_dtype_are_those_of_the_images(self):
        ramp = torch.linspace(-1, 1, 4).view(1, 1, 2, 2)
        for dtype in (torch.float16, torch.bfloat16, torch.float64):
            made = Generated(lambda z: ramp, 1, image_range=(0, 1))(torch.zeros(1, 1, 2, 2, dtype=dtype))
            torch.testing.assert_close(made, torch.linspace(0, 1, 4).view(1, 1, 2, 2).to(dtype))
        made = Generated(lambda z: 1.5 * ramp, 1)(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
        assert made.flatten().tolist() == [0, 64, 191, 255]

    def test_memory_format_and_clips(self):
        last = IMAGES.contiguous(memory_format=torch.channels_last)
        assert Generated(Paint(), 4)(last).is_contiguous(memory_format=torch.channels_last)
        clips = Generated(lambda z: torch.zeros(len(z), 6, 3, 4, 4), 4)(torch.rand(2, 6, 3, 8, 8))
        assert clips.shape == (2, 6, 3, 8, 8)

    def test_one_draw_for_the_batch(self):
        images = Generated(Paint(), 4, same_on_batch=True)(IMAGES)
        assert (images == images[:1]).all()


BAD = [
    (lambda: Generated(Paint(1), 4)(IMAGES), r"made \(12, 1, 8, 8\) in the place of \(12, 3, 8, 8\)"),
    (lambda: Generated(lambda z: IMAGES[:5], 4)(IMAGES), r"made \(5, 3, 8, 8\) in the place of \(12, 3, 8, 8\)"),
    (lambda: Generated(lambda z: IMAGES * torch.nan, 4)(IMAGES), "made 2304 values that are not finite"),
    (lambda: Generated(Paint(), 4, labels="own")(IMAGES), "Generated needs the classes of the images; pass labels="),
    (lambda: Generated(Paint(), 4)(IMAGES, labels=LABELS), "Generated has no use for labels"),
    (lambda: Generated(Paint(), 4, candidates=2), "several candidates need a score"),
    (lambda: Generated(Paint(), 4, score=torch.sum), "several candidates need a score"),
    (lambda: Generated(Paint(), 4, blend=1.5), r"blend must be in \[0, 1\], got 1.5"),
    (lambda: Generated(Paint(), 4, blend=0.5), "blend=0.5 .* needs an encoder"),
    (lambda: Generated(Paint(), 0), "latent_dim must be a whole number from 1 on, got 0"),
    (lambda: Generated(Paint(), 4, latent_scale=0.0), "latent_scale must be a finite number above 0"),
    (lambda: Generated(Paint(), 4, candidates=0), "candidates must be a whole number from 1 on, got 0"),
    (lambda: Generated(Paint(), 4, generator_range=(1, -1)), "generator_range must be the lowest and the highest"),
    (lambda: Generated(Paint(), 4, generator_range=(1, 1)), r"generator_range must be .*, got \(1, 1\)"),
    (lambda: Generated(Paint(), 4, image_range=1.0), "image_range must be the lowest and the highest .*, got 1.0"),
    (lambda: Generated(Paint(), 4)(IMAGES, features=torch.rand(12, 5)), "give the constructor encoder="),
    (
        lambda: Generated(Paint(), 4, encoder=mean_colours)(IMAGES, features=torch.rand(3, 5)),
        r"^features must .*\(12, 5\).*got \(3, 5\)",
    ),
    (
        lambda: Generated(Paint(), 4, encoder=mean_colours)(IMAGES, {}, features=torch.rand(12, 5)),
        "^params repeat a draw, features included",
    ),
    (lambda: Generated(GeneratorHistory(Paint()), 4)(IMAGES), "no snapshot before update 1000"),
    (lambda: Generated(Paint().to("meta"), 4)(IMAGES), r"Paint is on meta and the images are on cpu.*to\("),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        call()


def test_labels_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="labels must be None"):
        Generated(Paint(), 4, labels="other")


def test_a_policy_cannot_name_a_generator():
    assert str(Generated(Paint(), 4)).startswith("Generated(generator=Paint(")
    with pytest.raises(ValueError, match="unknown negative"):
        nda.from_policy("generated")
