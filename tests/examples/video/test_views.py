import torch

from examples.common.contrastive.views import plain
from examples.common.randomness import seeded
from examples.video.config import Augmentation
from examples.video.views import Views

CLIPS = torch.randint(256, (4, 5, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
STRONG = Augmentation(flip=0.5, jitter=1.0, grayscale=0.2)


def test_views_differ_and_keep_the_shape() -> None:
    x0, x1 = Views(STRONG, 5, 16)(CLIPS)
    assert x0.shape == x1.shape == CLIPS.shape
    assert not torch.equal(x0, x1)


def test_a_clip_has_one_draw_for_all_of_its_frames() -> None:
    still = CLIPS[:, :1].expand(-1, 5, -1, -1, -1)
    x0, _ = Views(STRONG, 5, 16)(still)
    assert torch.equal(x0, x0[:, :1].expand_as(x0))
    alike = CLIPS[:1].expand_as(CLIPS)
    x0, _ = Views(STRONG, 5, 16)(alike)
    assert not torch.equal(x0[0], x0[1])


def test_frames_keep_their_order() -> None:
    bright = 50 * torch.arange(5, dtype=torch.uint8).view(1, 5, 1, 1, 1).expand(4, -1, 3, 16, 16)
    for view in Views(Augmentation(), 5, 16)(bright):
        assert (view.mean(dim=(2, 3, 4)).diff(dim=1) > 0.5).all()


def test_nothing_is_mirrored_unless_asked_for() -> None:
    lopsided = torch.zeros(64, 2, 3, 16, 16, dtype=torch.uint8)
    lopsided[..., 8:] = 255
    for view in Views(Augmentation(), 2, 16)(lopsided):
        left, right = view.mean(dim=(1, 2, 3)).tensor_split(2, dim=1)
        assert (left.mean(1) <= right.mean(1)).all()


def test_plain_clips_are_normalised() -> None:
    assert torch.equal(plain(CLIPS), (CLIPS.float() / 255 - 0.5) / 0.25)


def test_views_are_a_function_of_the_seed_and_the_place() -> None:
    views = Views(STRONG, 5, 16)

    def draw(seed: int, number: int) -> torch.Tensor:
        with seeded(seed, "views", number):
            view: torch.Tensor = views(CLIPS)[0]
            return view

    assert torch.equal(draw(0, 3), draw(0, 3))
    assert not torch.equal(draw(0, 3), draw(0, 4))
    assert not torch.equal(draw(0, 3), draw(1, 3))


def test_a_view_is_a_window_of_frames_in_a_row_at_any_place() -> None:
    counted = torch.arange(7, dtype=torch.uint8).view(1, 7, 1, 1, 1).expand(200, -1, 3, 8, 8)
    with seeded(0, "windows"):
        windows = Views(Augmentation(), 4, 8).cut(counted)[:, :, 0, 0, 0].long()
    assert (windows.diff(dim=1) == 1).all()
    assert sorted(set(windows[:, 0].tolist())) == [0, 1, 2, 3]
    assert Views(Augmentation(), 7, 8).cut(counted) is counted
