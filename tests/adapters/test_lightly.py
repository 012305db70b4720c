import copy
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightly.loss import DCLLoss, DCLWLoss, NTXentLoss
from lightly.loss.dcl_loss import negative_mises_fisher_weights
from lightly.transforms import SimCLRTransform
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import nda_augment as nda
from nda_augment.adapters.lightly import (
    NDADCLLoss,
    NDADCLWLoss,
    NDAMultiViewTransform,
    NDANTXentLoss,
    NegativesOnDevice,
)
from tests.adapters import lightly_ranks as ranks

B, D, K = 4, 8, 16
BANK = (K, D)


def squared_distance(out0: Tensor, out1: Tensor) -> Tensor:
    return ((out0 - out1) ** 2).sum(dim=1)


# A loss of ours and what it stands in for, with the same arguments.
PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "in batch": (NDANTXentLoss, NTXentLoss, {"temperature": 0.2}),
    "bank": (NDANTXentLoss, NTXentLoss, {"temperature": 0.2, "memory_bank_size": BANK}),
    "decoupled": (NDADCLLoss, DCLLoss, {"temperature": 0.2}),
    "decoupled, weighted": (NDADCLLoss, DCLLoss, {"temperature": 0.2, "weight_fn": squared_distance}),
    "von Mises-Fisher": (NDADCLWLoss, DCLWLoss, {"temperature": 0.2, "sigma": 0.7}),
}

# Lightly itself copies a tensor in a way that torch advises against.
lightly_warns = pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")


def build(kind: str, **settings: Any) -> tuple[nn.Module, nn.Module]:
    """Our loss and its parent, with equal banks."""
    ours, parent, arguments = PAIRS[kind]
    pair = []
    for cls, more in ((ours, settings), (parent, {})):
        torch.manual_seed(3)
        pair.append(cls(**arguments, **more))
    return pair[0], pair[1]


def outputs(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def bank_of(criterion: nn.Module) -> Tensor:
    return criterion.memory_bank.bank.clone()


# Without negatives


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("autocast", [False, True])
def test_without_negatives_it_is_the_parent_bit_for_bit(kind: str, autocast: bool) -> None:
    results = []
    for criterion in build(kind):
        out0, out1 = outputs((B, D), (B, D))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses = [criterion(out0, out1) for _ in range(3)]
        losses[-1].backward()
        results.append([*losses, out0.grad, out1.grad, *([bank_of(criterion)] if kind == "bank" else [])])
    for ours, parents in zip(*results, strict=True):
        assert torch.equal(ours, parents)
        assert ours.dtype == parents.dtype


@pytest.mark.parametrize("kind", PAIRS)
def test_the_state_is_the_parents(kind: str) -> None:
    ours, parent = build(kind)
    assert ours.state_dict().keys() == parent.state_dict().keys()
    assert isinstance(ours, type(parent))


# With negatives


def reference(kind: str, out0: Tensor, out1: Tensor, extra: Any, bank: Tensor, mask: Tensor | None = None) -> Tensor:
    """The losses anchor by anchor; ``extra(i)`` are the scaled similarities that image i has to its negatives."""
    tau = 0.2
    counts = mask if mask is not None else torch.ones(len(out0), max(len(out0), len(bank)), dtype=torch.bool)
    out0, out1 = F.normalize(out0, dim=1), F.normalize(out1, dim=1)
    losses = []
    for mine, other in [(out0, out1)] if kind == "bank" else [(out0, out1), (out1, out0)]:
        weights = torch.ones(len(mine))
        if kind == "decoupled, weighted":
            weights = squared_distance(mine, other)
        elif kind == "von Mises-Fisher":
            weights = negative_mises_fisher_weights(mine, other, sigma=0.7)
        for i, anchor in enumerate(mine):
            positive = anchor @ other[i]
            if kind == "bank":
                candidates = [anchor @ row for j, row in enumerate(bank) if counts[i, j]]
            else:
                candidates = [
                    anchor @ row for view in (mine, other) for j, row in enumerate(view) if j != i and counts[i, j]
                ]
            if kind in ("in batch", "bank"):
                candidates.append(positive)
            total = sum(torch.exp(similarity / tau) for similarity in [*candidates, *extra(anchor, i)])
            losses.append(torch.log(total) - weights[i] * positive / tau)
    return torch.stack(losses).mean()


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("shape", "scope"),
    [((B, D), "own"), ((B, 3, D), "own"), ((B, D), "batch"), ((B, 3, D), "batch"), ((5, D), "batch")],
)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_negatives_enter_the_denominator_and_nothing_else(
    kind: str, shape: tuple[int, ...], scope: nda.losses.Scope, scale: float
) -> None:
    criterion, _ = build(kind, scope=scope, negative_scale=scale)
    out0, out1, negatives = outputs((B, D), (B, D), shape)
    bank = bank_of(criterion) if kind == "bank" else torch.empty(0)

    def extra(anchor: Tensor, i: int) -> list[Tensor]:
        seen = negatives.reshape(-1, D) if scope == "batch" else negatives.reshape(B, -1, D)[i]
        return [scale * F.cosine_similarity(anchor, each, dim=0) for each in seen]

    loss = criterion(out0, out1, negatives)
    torch.testing.assert_close(loss, reference(kind, out0, out1, extra, bank))


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
def test_a_call_with_negatives_leaves_no_trace_in_the_next_one_without(kind: str) -> None:
    ours, parent = build(kind)
    out0, out1, negatives = outputs((B, D), (B, D), (B, D))
    ours(out0, out1, negatives)
    parent(out0, out1)
    copy.deepcopy(ours)  # torch copies no tensor that has a graph behind it, so none is left
    assert torch.equal(ours(out0, out1), parent(out0, out1))


def test_the_memory_bank_takes_in_keys_and_never_negatives() -> None:
    ours, parent = build("bank", scope="batch")
    for _ in range(5):
        out0, out1 = torch.randn(2, B, D, requires_grad=True)
        ours(out0, out1, torch.randn(7, D))
        parent(out0, out1)
        assert torch.equal(bank_of(ours), bank_of(parent))


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("asked", [None, True, False])
def test_gradient_reaches_negatives_in_the_batch_and_not_beside_a_bank(kind: str, asked: bool | None) -> None:
    criterion, _ = build(kind, **({} if asked is None else {"negative_gradient": asked}))
    out0, out1, negatives = outputs((B, D), (B, D), (B, D))
    criterion(out0, out1, negatives).backward()
    expected = kind != "bank" if asked is None else asked
    assert (negatives.grad is not None) == expected
    assert out0.grad is not None


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("given", [True, False])
def test_autocast_changes_nothing_with_negatives_or_where_full_precision_is_asked_for(
    kind: str, dtype: torch.dtype, given: bool
) -> None:
    ours, _, arguments = PAIRS[kind]
    losses = []
    for autocast in (False, True):
        torch.manual_seed(3)
        criterion = ours(**{**arguments, "temperature": 0.05}, full_precision=not given)
        out0, out1, negatives = outputs((B, D), (B, D), (B, D))
        with torch.autocast("cpu", dtype, enabled=autocast):
            losses.append(criterion(out0, out1, negatives if given else None))
    assert torch.equal(*losses)


def test_half_precision_is_the_parents_unless_asked_otherwise() -> None:
    ours, parent = build("in batch")
    halves = [output.bfloat16() for output in outputs((B, D), (B, D))]
    assert ours(*halves).dtype == parent(*halves).dtype == torch.bfloat16
    exact = NDANTXentLoss(0.2, full_precision=True)(*halves)
    assert torch.equal(exact, parent(*[half.float() for half in halves]))


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
def test_negatives_count_whatever_the_parent_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later Lightly may compute its loss in other steps; ours must not rely on them."""
    criterion, parent = build(kind)
    out0, out1, negatives = outputs((B, D), (B, D), (B, D))
    with_negatives = criterion(out0, out1, negatives)
    criterion, parent = build(kind)
    monkeypatch.setattr(type(parent), "forward", lambda self, out0, out1: (out0 * out1).sum())
    assert torch.equal(criterion(out0, out1, negatives), with_negatives)


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
def test_masked_and_weighted_negatives(kind: str) -> None:
    out0, out1, negatives = outputs((B, D), (B, D), (B, 2, D))
    counted = torch.tensor([[True, False]] * B)
    masked = build(kind, negative_weight=2.0)[0](out0, out1, negatives, counted)
    twice = build(kind)[0](out0, out1, negatives[:, [0, 0]])
    torch.testing.assert_close(masked, twice)


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("given", [True, False])
def test_candidates_that_do_not_count_are_left_out_image_by_image(kind: str, given: bool) -> None:
    columns = K if kind == "bank" else B
    mask = torch.rand(B, columns, generator=torch.Generator().manual_seed(5)) < 0.5
    criterion, _ = build(kind)
    out0, out1, negatives = outputs((B, D), (B, D), (B, D))
    bank = bank_of(criterion) if kind == "bank" else torch.empty(0)

    def extra(anchor: Tensor, i: int) -> list[Tensor]:
        return [F.cosine_similarity(anchor, negatives[i], dim=0)] if given else []

    loss = criterion(out0, out1, negatives if given else None, candidate_mask=mask)
    torch.testing.assert_close(loss, reference(kind, out0, out1, extra, bank, mask=mask))


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
def test_a_mask_that_is_all_true_changes_nothing(kind: str) -> None:
    all_true = torch.ones(B, K if kind == "bank" else B, dtype=torch.bool)
    out0, out1, negatives = outputs((B, D), (B, D), (B, D))
    masked, plain = (build(kind)[0](out0, out1, negatives, candidate_mask=mask) for mask in (all_true, None))
    assert torch.equal(masked, plain)
    ours, parent = build(kind)
    torch.testing.assert_close(ours(out0, out1, candidate_mask=all_true), parent(out0, out1))
    if kind == "bank":
        assert torch.equal(bank_of(ours), bank_of(parent))


@lightly_warns
@pytest.mark.parametrize("kind", PAIRS)
def test_masks_that_fit_nothing_are_refused(kind: str) -> None:
    criterion, _ = build(kind)
    out0, out1 = outputs((B, D), (B, D))
    with pytest.raises(ValueError, match="negative_mask says which negatives count, but there are none"):
        criterion(out0, out1, negative_mask=torch.ones(B, dtype=torch.bool))
    with pytest.raises(ValueError, match=rf"candidate_mask must have shape .*, got \({B}, {B + 1}\)"):
        criterion(out0, out1, candidate_mask=torch.ones(B, B + 1, dtype=torch.bool))


@pytest.mark.parametrize("kind", PAIRS)
def test_the_settings_show_in_the_representation(kind: str) -> None:
    criterion, _ = build(kind, negative_scale=2.0, scope="batch")
    assert "temperature=0.2, negative_scale=2.0, negative_weight=1.0, scope='batch'" in repr(criterion)


# Two ranks


@pytest.mark.slow
def test_two_ranks_equal_one_process_on_the_joined_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(ranks.run, (tmp_path,), nprocs=ranks.WORLD_SIZE)
    joined = ranks.measure(ranks.make_batch(), gather=False)
    for rank in range(ranks.WORLD_SIZE):
        share = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for form, expected in joined.items():
            torch.testing.assert_close(share[form], expected, msg=lambda text, form=form: f"{form}: {text}")


# Bad input


@pytest.mark.parametrize("kind", PAIRS)
class TestErrors:
    def call(self, kind: str, negatives: Tensor, **settings: Any) -> None:
        criterion, _ = build(kind, **settings)
        out0, out1 = outputs((B, D), (B, D))
        criterion(out0, out1, negatives)

    pytestmark = lightly_warns

    def test_another_feature_size(self, kind: str) -> None:
        with pytest.raises(ValueError, match=f"negatives must have {D} features, got shape \\({B}, 3\\)"):
            self.call(kind, torch.randn(B, 3))

    @pytest.mark.parametrize("shape", [(B + 1, D), (B - 1, 2, D)])
    def test_another_batch_size(self, kind: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r'each of the 4 images its own negatives.*pass scope="batch"'):
            self.call(kind, torch.randn(shape))

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_values_that_are_not_finite(self, kind: str, value: float) -> None:
        with pytest.raises(ValueError, match="negatives has 8 values that are not finite"):
            self.call(kind, torch.full((B, D), 1.0).index_fill(0, torch.tensor([1]), value))

    def test_a_wrong_rank_or_type(self, kind: str) -> None:
        with pytest.raises(ValueError, match="negatives must have shape"):
            self.call(kind, torch.randn(D))
        with pytest.raises(TypeError, match="negatives must be floating point"):
            self.call(kind, torch.ones(B, D, dtype=torch.long))

    def test_a_temperature_that_only_the_parent_tolerates(self, kind: str) -> None:
        criterion, _ = build(kind)
        criterion.temperature = -1.0
        out0, out1 = outputs((B, D), (B, D))
        criterion(out0, out1)
        with pytest.raises(ValueError, match=r"temperature must be a finite number above 0, got -1\.0"):
            criterion(out0, out1, torch.randn(B, D))

    def test_settings(self, kind: str) -> None:
        with pytest.raises(ValueError, match="negative_scale must be a finite number above 0, got 0"):
            build(kind, negative_scale=0.0)
        with pytest.raises(ValueError, match=r"scope must be one of 'own', 'batch'.*Did you mean 'batch'"):
            build(kind, scope="bach")


def test_a_zero_temperature_is_refused_as_by_the_parent() -> None:
    with pytest.raises(ValueError, match="temperature"):
        NDANTXentLoss(temperature=0.0)


def test_a_single_image_can_be_decoupled_from_its_negative() -> None:
    out0, out1, negatives = outputs((1, D), (1, D), (1, D))
    assert NDADCLLoss()(out0, out1, negatives).isfinite()


def test_the_memory_bank_refuses_keys_in_eval_mode_and_can_be_used_without_gradient() -> None:
    criterion, _ = build("bank")
    criterion.eval()
    out0, out1 = outputs((B, D), (B, D))
    before = bank_of(criterion)
    for negatives in (None, torch.randn(B, D)):
        with pytest.raises(RuntimeError, match="in eval mode the memory bank must not take in keys"):
            criterion(out0, out1, negatives)
        criterion(out0.detach(), out1.detach(), negatives)
    assert torch.equal(bank_of(criterion), before)
    NDANTXentLoss().eval()(out0, out1)


def test_the_memory_bank_takes_in_no_keys_of_a_call_that_fails() -> None:
    criterion, _ = build("bank")
    out0, out1 = outputs((B, D), (B, D))
    before = bank_of(criterion)
    with pytest.raises(ValueError, match="candidate_mask"):
        criterion(out0, out1, candidate_mask=torch.ones(B, K + 1, dtype=torch.bool))
    assert torch.equal(bank_of(criterion), before)


# Views


def picture(seed: int = 0, size: int = 40) -> Image.Image:
    pixels = torch.randint(256, (size, size, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def test_lightlys_views_and_a_negative_of_the_first() -> None:
    transform = NDAMultiViewTransform(SimCLRTransform(input_size=32), nda.Jigsaw())
    x0, x1, negative = transform(picture())
    assert not torch.equal(x0, x1)
    assert not torch.equal(x0, negative)
    assert torch.equal(x0.flatten().sort().values, negative.flatten().sort().values)


def test_the_views_pass_through_a_data_loader() -> None:
    transform = NDAMultiViewTransform(SimCLRTransform(input_size=32), nda.Jigsaw())
    loader = DataLoader([(transform(picture(seed)), seed) for seed in range(4)], batch_size=4)
    views, labels = next(iter(loader))
    assert [tuple(view.shape) for view in views] == [(4, 3, 32, 32)] * 3
    assert labels.tolist() == [0, 1, 2, 3]


def test_a_pair_transform_borrows_from_the_pool() -> None:
    zeros, ones = torch.zeros(3, 8, 8), torch.ones(1, 3, 8, 8)
    _, negative = NDAMultiViewTransform([nn.Identity()], nda.Stitch(), pool=ones)(zeros)
    assert negative.mean() == 0.5


def test_bad_views_are_refused() -> None:
    with pytest.raises(ValueError, match="views must hold at least one transform"):
        NDAMultiViewTransform([], nda.Jigsaw())
    with pytest.raises(TypeError):
        NDAMultiViewTransform([nn.Identity()], nn.Identity())
    with pytest.raises(ValueError, match="pool"):
        NDAMultiViewTransform([nn.Identity()], nda.Stitch())(torch.zeros(3, 8, 8))


# On the device


def test_behind_the_module_it_would_be_silent() -> None:
    with pytest.raises(TypeError, match="Swapped must have NegativesOnDevice before LightningModule"):
        type("Swapped", (LightningModule, NegativesOnDevice), {})


class Recorder(NegativesOnDevice, LightningModule):
    """Keeps what it is handed, and under which autocast its negatives are made and its steps run."""

    def __init__(self, nda_transform: nda.NegativeTransform | None) -> None:
        super().__init__()
        self.nda_transform = nda_transform
        self.layer = nn.Linear(3 * 8 * 8, 2)
        self.batches: dict[str, Any] = {}
        self.autocast: dict[str, bool] = {}
        self.gradient: bool | None = None

    def make_negatives(self, images: Tensor) -> Tensor:
        self.autocast["negatives"] = torch.is_autocast_enabled("cpu")
        self.gradient = torch.is_grad_enabled()
        return super().make_negatives(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.autocast["step"] = torch.is_autocast_enabled("cpu")
        self.batches["training"] = batch
        return self.layer(batch[0][0].flatten(1)).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.batches["validation"] = batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def fit(tmp_path: Path) -> Any:
    def run(module: LightningModule, samples: list[Any], **settings: Any) -> None:
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            default_root_dir=tmp_path,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
        loader = DataLoader(samples, batch_size=4)
        trainer.fit(module, loader, loader)

    return run


# Lightning uses what torch is about to rename, and advises workers that these few images have no use for.
lightning_warns = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec", "ignore:.*does not have many workers"
)


def two_views(images: int = 4) -> list[Any]:
    return [([torch.randn(3, 8, 8), torch.randn(3, 8, 8)], number, f"{number}.png") for number in range(images)]


@lightning_warns
def test_negatives_are_made_in_training_only_and_outside_autocast(fit: Any) -> None:
    module = Recorder(nda.Jigsaw())
    fit(module, two_views(), precision="bf16-mixed")
    (x0, _, negatives), labels, names = module.batches["training"]
    assert negatives.shape == x0.shape
    assert torch.equal(negatives.flatten(1).sort().values, x0.flatten(1).sort().values)
    assert not (negatives == x0).flatten(1).all(dim=1).any()
    assert labels.tolist() == [0, 1, 2, 3]
    assert len(names) == 4
    assert len(module.batches["validation"][0]) == 2
    assert module.autocast == {"negatives": False, "step": True}
    assert module.gradient is False


@lightning_warns
def test_no_transform_is_training_without_negatives(fit: Any) -> None:
    module = Recorder(None)
    fit(module, two_views())
    assert len(module.batches["training"][0]) == 2


@lightning_warns
def test_what_leaves_an_image_as_it_is_makes_no_negative(fit: Any) -> None:
    with pytest.raises(ValueError, match=r"nda_transform: .*p=0\.5 and leaves images as they are"):
        fit(Recorder(nda.Jigsaw(p=0.5)), two_views())
    with pytest.raises(ValueError, match=r"negative: .*p=0\.5 and leaves images as they are"):
        NDAMultiViewTransform([nn.Identity()], nda.Jigsaw(p=0.5))


@lightning_warns
def test_batches_of_another_form_are_refused(fit: Any) -> None:
    with pytest.raises(TypeError, match=r"batches \[views, labels, ...\].*got list that starts with Tensor"):
        fit(Recorder(nda.Jigsaw()), [(torch.randn(3, 8, 8), 0)] * 4)
    with pytest.raises(TypeError, match="got Tensor"):
        fit(Recorder(nda.Jigsaw()), [torch.randn(3, 8, 8)] * 4)


# The package around it


class Broken:
    """An import hook that breaks Lightly."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "lightly":
            raise ModuleNotFoundError("No module named 'lightly'")


def test_a_missing_lightly_is_an_error_that_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "lightly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "nda_augment.adapters.lightly")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[lightly\]"'):
        __import__("nda_augment.adapters.lightly")
