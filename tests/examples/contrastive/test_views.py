import torch

from examples.common.contrastive.views import plain
from examples.common.randomness import seeded
from examples.contrastive.config import Augmentation
from examples.contrastive.views import Views

IMAGES = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_views_differ_and_keep_the_shape() -> None:
    x0, x1 = Views(Augmentation(blur=0.5), 16)(IMAGES)
    assert x0.shape == x1.shape == IMAGES.shape
    assert not torch.equal(x0, x1)


def test_without_any_change_a_view_is_the_plain_image() -> None:
    nothing = Augmentation(min_scale=1.0, flip=0.0, jitter=0.0, grayscale=0.0)
    views = Views(nothing, 16)
    views.random = torch.nn.Sequential(*list(views.random.children())[1:])  # all but the crop, whose aspect is random
    x0, x1 = views(IMAGES)
    assert torch.equal(x0, plain(IMAGES))
    assert torch.equal(x1, x0)
    assert x0.min() >= -2
    assert x0.max() <= 2


def test_views_are_a_function_of_the_seed_and_the_place_and_leave_the_generator_alone() -> None:
    views, state = Views(Augmentation(), 16), torch.get_rng_state()

    def draw(seed: int, number: int) -> torch.Tensor:
        with seeded(seed, "views", number):
            return views(IMAGES)[0]

    assert torch.equal(draw(0, 3), draw(0, 3))
    assert not torch.equal(draw(0, 3), draw(0, 4))
    assert not torch.equal(draw(0, 3), draw(1, 3))
    assert torch.equal(torch.get_rng_state(), state)
