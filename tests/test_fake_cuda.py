"""Everything on fake CUDA tensors, on every machine: tensors that have a device, and no values.

Tensors of two devices that meet are an error, and so is asking for a value, which on a GPU would have to be waited for.
What is copied between host and device is counted, in a second call: what depends on sizes alone is made in the first.
Gradients are left to machines with a GPU: torch asks its driver for them.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException

from benchmarks.traffic import Counter, fake_gpu
from nda_augment import losses, metrics
from nda_augment.anomaly import ClassifierDetector, Encoder
from nda_augment.transforms import Jigsaw, Mixture
from tests.cases import CASES, Case, apply


def random(*shape: int) -> Tensor:
    return torch.rand(shape, device="cuda", requires_grad=True)


def crossings(function: Callable[[], object]) -> list[str]:
    """What a second call copies between host and device."""
    with fake_gpu():
        return crossings_here(function)


def crossings_here(function: Callable[[], object]) -> list[str]:
    function()
    with Counter() as counter:
        function()
    assert counter.kernels > 0
    return counter.crossings


@pytest.mark.parametrize("clip", [False, True], ids=["images", "clips"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_transforms(case: Case, dtype: torch.dtype, clip: bool) -> None:
    module = case.make()
    shape = case.shape(5, clip=clip)

    def negatives() -> None:
        images = torch.empty(shape, dtype=dtype, device="cuda")
        apply(module, images)
        assert module(images, params=module._params).device == images.device

    assert crossings(negatives) == []


@pytest.mark.parametrize("case", [case for case in CASES if not case.module.needs_labels], ids=str)
def test_transforms_of_some_images_with_a_mask_and_a_pool(case: Case) -> None:
    module = case.make()
    module.p = 0.5
    shape, others = case.shape(5), case.shape(3)

    def negatives() -> None:
        options = {"return_mask": True} if module.changes_region else {}
        pool = torch.empty(others, device="cuda") if module.uses_partners else None
        module(torch.empty(shape, device="cuda"), pool=pool, **options)

    assert crossings(negatives) == []


@pytest.mark.parametrize("weights", [[1, 2], [1, 0]], ids=str)
def test_a_mixture_of_mixtures(weights: list[int]) -> None:
    members = [case.make() for case in CASES if case.name in ("jigsaw", "cutout", "stitch")]
    module = Mixture([Mixture(members[:2], weights=weights), members[2]])
    assert crossings(lambda: module(torch.empty(8, 3, 8, 8, device="cuda"))) == []


LOSSES: dict[str, Callable[[], Tensor]] = {
    **{
        f"discriminator-{kind}": lambda kind=kind: losses.discriminator_loss(
            random(8), random(8), random(8), kind=kind, fake_weight=0.5
        )
        for kind in ("softplus", "hinge", "least_squares", "wasserstein")
    },
    "generator": lambda: losses.generator_loss(random(8)),
    "info_nce": lambda: losses.info_nce(random(8, 4), random(8, 4), queue=random(16, 4), negatives=random(8, 4)),
    "nt_xent": lambda: losses.nt_xent(random(8, 4), random(8, 4), negatives=random(8, 4)),
    "dcl": lambda: losses.dcl(random(8, 4), random(8, 4), negatives=random(8, 4)),
    "sup_con": lambda: losses.sup_con(random(8, 2, 4), torch.arange(8, device="cuda") % 2, negatives=random(8, 4)),
    "uniform_cross_entropy": lambda: losses.uniform_cross_entropy(random(8, 4)),
    "csi": lambda: losses.csi(random(8, 4, 4), random(8, 4, 4), random(16, 4, 4)),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses(loss: Callable[[], Tensor]) -> None:
    assert crossings(loss) == []


def test_metrics() -> None:
    assert crossings(lambda: metrics.precision_recall_density_coverage(random(64, 8), random(32, 8))) == []


def test_scores_of_a_detector() -> None:
    """Without the checks at its door, which look at values."""
    with fake_gpu(), torch.device("cuda"), torch.no_grad():
        detector = ClassifierDetector(Encoder(channels=3, width=4), 16, [Jigsaw()]).eval()
        assert crossings_here(lambda: detector._score(torch.rand(4, 3, 32, 32))) == []


def test_a_value_that_is_asked_for_is_noticed() -> None:
    with fake_gpu(), pytest.raises(DataDependentOutputException):
        random(3).sum().item()


def test_devices_that_meet_are_noticed() -> None:
    with fake_gpu(), pytest.raises(RuntimeError, match="device"):
        random(3) + torch.rand(3)


def test_a_copy_is_noticed() -> None:
    there = torch.arange(3.0)
    assert len(crossings(lambda: random(3) + there.to("cuda"))) == 1
