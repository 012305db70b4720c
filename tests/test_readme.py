import re
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_gan_example_trains():
    torch.manual_seed(0)
    names = {}
    exec(BLOCKS[0], names)
    discriminator, generator = nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), nn.Unflatten(1, (1, 8, 8))
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    real, latents = torch.rand(16, 1, 8, 8) + torch.arange(8.0), torch.randn(16, 64)
    gaps = [names["discriminator_step"](discriminator, generator, real, latents, optimizer) for _ in range(30)]
    assert gaps[-1].logit_gap > gaps[0].logit_gap + 0.1


def test_the_other_example_runs():
    exec(BLOCKS[1], {})
    assert len(BLOCKS) == 2


def test_the_number_of_negatives_is_right():
    from nda_augment.registry import ENTRIES

    assert f"[{len(ENTRIES)} negatives]" in README


def test_every_link_leads_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_page_of_the_transforms_is_that_of_the_registry():
    from docs.build import table

    page = ROOT / "docs" / "transforms.md"
    assert page.read_text() == table(), "run `python -m docs.build`"
