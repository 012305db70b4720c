"""The README: its snippets run, its numbers are those of the results, its links lead somewhere."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from nda_augment.anomaly import Detector, _training
from nda_augment.registry import NEGATIVES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GAN, CONTRASTIVE, ANOMALY, DIFFUSION, AUGMENTATION = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(block, **names):
    exec(block, names)
    return names


@pytest.mark.parametrize(
    "block",
    [GAN, CONTRASTIVE, ANOMALY, DIFFUSION, AUGMENTATION],
    ids=["gan", "contrastive", "anomaly", "diffusion", "augmentation"],
)
def test_a_patch_has_at_most_ten_lines(block):
    assert len([line for line in block.splitlines() if line]) <= 10


def test_the_gan_learns_to_tell_negatives():
    names = run(GAN)
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    bright = torch.arange(16).view(-1, 1, 1, 1) % 2  # whole images are bright or dark, spliced ones are both
    real, fake = 0.1 * torch.rand(16, 1, 8, 8) + bright, torch.randn(16, 1, 8, 8)

    def gap():
        return (discriminator(real) - discriminator(names["negatives"](real))).mean().item()

    before = gap()
    for _ in range(30):
        optimizer.zero_grad()
        names["discriminator_loss"](discriminator, real, fake).backward()
        optimizer.step()
    assert gap() > before + 0.1


def test_the_contrastive_loss_has_a_gradient():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
    run(CONTRASTIVE)["contrastive_loss"](encoder, torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)).backward()
    assert encoder[1].weight.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of Lightning, about this machine
def test_the_detector_scores(monkeypatch):
    monkeypatch.setattr(_training, "STEPS", 3)
    names = run(ANOMALY, loader=[torch.rand(4, 3, 32, 32)], images=torch.rand(4, 3, 32, 32))
    assert isinstance(names["detector"], Detector)
    assert names["scores"].shape == (4,)


def test_the_denoiser_is_told_of_negatives_and_guided_away_from_them():
    def denoiser(noisy, sigma, kinds):
        return noisy + kinds.view(-1, 1, 1, 1)

    def sampler(guided):
        return guided(torch.zeros(2, 1, 8, 8), 1.0)

    names = {"images": torch.rand(20, 1, 8, 8), "negatives": torch.neg, "denoiser": denoiser, "sampler": sampler}
    names = run(DIFFUSION, **names)
    assert torch.equal((names["images"] < 0).flatten(1).any(1) & (names["kinds"] < 2), names["kinds"] == 1)
    assert (names["sampled"] == -1).all()


def test_the_augmentation_repeats_itself_and_says_where():
    names = run(AUGMENTATION)
    changed = (names["broken"] != names["images"]).any(dim=1, keepdim=True)
    assert not (changed & ~names["where"]).any()


def test_the_number_on_the_first_screen_and_its_baselines_are_measured():
    first, _, _ = README.partition("```")
    results = (ROOT / "docs" / "results" / "anomaly.md").read_text()
    numbers = re.findall(r"\d\d\.\d(?: ± \d\.\d)?", first)
    assert len(numbers) > 1
    for number in numbers:
        assert number in results, number


def test_the_number_of_negatives_is_right():
    assert f"[{len(NEGATIVES)} negatives]" in README


def test_every_link_leads_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in [*pages, *(ROOT / "examples").rglob("*.md")]:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)  # code has no links
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", prose):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_page_of_the_transforms_is_that_of_the_registry():
    from docs.build import table

    page = ROOT / "docs" / "transforms.md"
    assert page.read_text() == table(), "run `python -m docs.build`"
