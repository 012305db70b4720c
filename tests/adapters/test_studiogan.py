import gc
import json
import os
import pickle
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nda_augment as nda
from nda_augment.adapters import studiogan
from nda_augment.adapters.studiogan import NDAConfigurations, NDAWorker, attach, detach
from nda_augment.losses import GapWatch
from tests.adapters.studiogan_double import (
    CLASSES,
    D_LOSSES,
    WORKER,
    Configurations,
    identity,
    make_worker,
    state,
    train,
)

ROOT = Path(__file__).parents[2]

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "hinge": {},
    "logistic": {"LOSS": {"adv_loss": "logistic"}},
    "least_square": {"LOSS": {"adv_loss": "least_square"}},
    "wasserstein": {"LOSS": {"adv_loss": "wasserstein"}},
    "PD": {"MODEL": {"d_cond_mtd": "PD"}},
    "MD": {"MODEL": {"d_cond_mtd": "MD"}},
    "AC": {"MODEL": {"d_cond_mtd": "AC"}},
    "ADC": {"MODEL": {"d_cond_mtd": "AC", "aux_cls_type": "ADC"}},
    "MH": {"MODEL": {"d_cond_mtd": "MH"}, "LOSS": {"adv_loss": "MH"}},
    "loops": {"OPTIMIZATION": {"acml_steps": 3, "d_updates_per_step": 2}},
    "loops of MH": {
        "MODEL": {"d_cond_mtd": "MH"},
        "LOSS": {"adv_loss": "MH"},
        "OPTIMIZATION": {"acml_steps": 2, "d_updates_per_step": 2},
    },
    "R1": {"LOSS": {"apply_r1_reg": True}},
    "CR": {"LOSS": {"apply_cr": True}},
    "DiffAug": {"AUG": {"apply_diffaug": True}},
    "ADA": {"AUG": {"apply_ada": True}},
    "one image": {"OPTIMIZATION": {"batch_size": 1}},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def configured(variant: str = "hinge", **model: Any) -> Configurations:
    cfgs = Configurations(VARIANTS[variant])
    vars(cfgs.MODEL).update(model)
    return cfgs


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def first_step(worker: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Return loss and gradients of the discriminator in its first step, before it has changed."""
    torch.manual_seed(6)
    loss = worker.train_discriminator(current_step=0).detach()
    return loss, {name: p.grad for name, p in worker.Dis.named_parameters() if p.grad is not None}


def generator_step(worker: Any) -> Tensor:
    torch.manual_seed(6)
    return worker.train_generator(current_step=0).detach()


def blend(weight: float, one: Any, other: Any) -> tuple[Tensor, dict[str, Tensor]]:
    (loss, grads), (other_loss, other_grads) = one, other
    mixed = {name: weight * grad + (1 - weight) * other_grads[name] for name, grad in grads.items()}
    return weight * loss + (1 - weight) * other_loss, mixed


class TestAttach:
    @every_variant
    def test_at_one_it_is_the_stock_trainer(self, variant: str) -> None:
        stock, attached = make_worker(configured(variant)), make_worker(configured(variant))
        attach(attached, "jigsaw", fake_weight=1)
        assert train(stock, 3) == train(attached, 3)
        assert len(stock.Dis.seen) == len(attached.Dis.seen)
        assert_same(state(stock), state(attached))

    @pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("ADC", "DiffAug", "ADA")])
    @pytest.mark.parametrize("weight", [0.25, 0.75])
    def test_loss_and_gradients_are_between_fakes_and_negatives(self, variant: str, weight: float) -> None:
        """Without power iterations, every pass is of the same network; flips need no random numbers."""
        stock, attached, replaced = (make_worker(configured(variant, normalise=False)) for _ in range(3))
        for worker in (stock, attached, replaced):
            worker.AUG.series_augment = lambda images: 0.5 * images
        attach(attached, nda.Flip(), weight)

        reals = make_worker(configured(variant)).train_iter
        images, labels = next(reals)
        batch = stock.OPTIMIZATION.batch_size
        negatives = iter(zip(images.flip(-2).split(batch), labels.split(batch), strict=True))
        generate = replaced.generate

        def generate_negatives() -> tuple[Tensor, Tensor]:
            generate()  # the same random numbers as its siblings
            return next(negatives)

        replaced.generate = generate_negatives
        if stock.OPTIMIZATION.d_updates_per_step > 1:
            for worker in (stock, attached, replaced):  # gradients of the second update, at the weights of the first
                worker.d_optimizer = torch.optim.SGD(worker.Dis.parameters(), lr=0.0)

        loss, grads = first_step(attached)
        expected_loss, expected_grads = blend(weight, first_step(stock), first_step(replaced))
        torch.testing.assert_close(loss, expected_loss)
        assert grads.keys() == expected_grads.keys()
        for name, grad in grads.items():
            torch.testing.assert_close(grad, expected_grads[name], atol=1e-6, rtol=1e-4)

    @pytest.mark.parametrize("variant", ["hinge", "PD", "MH"])
    def test_several_kinds_are_weighed_each(self, variant: str) -> None:
        """At a weight of one kind it is the single form; at all kinds their mean is between."""

        def gradients(negatives: Any, **given: Any) -> tuple[Tensor, dict[str, Tensor]]:
            worker = make_worker(configured(variant, normalise=False))
            worker.AUG.series_augment = lambda images: 0.5 * images
            attach(worker, negatives, **given)
            return first_step(worker)

        flip, turn = gradients(nda.Flip(), fake_weight=0.5), gradients(nda.Swap(), fake_weight=0.5)
        kinds = {"flip": nda.Flip(), "swap": nda.Swap()}
        both = gradients(kinds, weights={"fake": 0.5, "flip": 0.25, "swap": 0.25})
        expected = blend(0.5, flip, turn)
        torch.testing.assert_close(both[0], expected[0])
        for name, grad in both[1].items():
            torch.testing.assert_close(grad, expected[1][name], atol=1e-6, rtol=1e-4)

    @pytest.mark.filterwarnings("ignore:the history has no snapshot")
    def test_a_history_without_snapshots_leaves_its_share_to_fakes(self) -> None:
        stock, attached = make_worker(configured()), make_worker(configured())
        old = nda.Generated(nda.GeneratorHistory(nn.Linear(1, 1)), 1)
        attachment = attach(attached, {"history": old}, weights={"fake": 0.5, "history": 0.5})
        assert train(stock, 2) == train(attached, 2)
        assert attachment.gaps == {}

    def test_wrong_labels_are_told_with_real_images_and_the_gaps_are_there(self) -> None:
        worker = make_worker(configured("PD"))
        kinds = {"wrong": nda.OtherClass(CLASSES), "jigsaw": "jigsaw"}
        attachment = attach(worker, kinds, weights={"fake": 0.5, "wrong": 0.3, "jigsaw": 0.2})
        first_step(worker)
        real, _, wrong, _ = worker.Dis.seen[:4]
        assert torch.equal(real[0], wrong[0])
        assert not (real[1] == wrong[1]).any()
        assert set(attachment.gaps) == {"wrong", "jigsaw"}

    @pytest.mark.parametrize("method", ["W/O", "AC", "2C", "D2DCE"])
    def test_wrong_labels_are_refused_where_logits_do_not_depend_on_them(self, method: str) -> None:
        worker = make_worker(configured())
        worker.MODEL.d_cond_mtd = method
        with pytest.raises(ValueError, match=f"'wrong' shows .* with d_cond_mtd={method}"):
            attach(worker, {"wrong": nda.OtherClass(CLASSES)}, weights={"fake": 0.5, "wrong": 0.5})

    def test_several_weights_can_change_and_one_cannot(self) -> None:
        attachment = attach(make_worker(configured()), {"flip": "flip"}, weights={"fake": 0.5, "flip": 0.5})
        attachment.weights = {"fake": 0.75, "flip": 0.25}
        assert attachment.fake_weight == 0.75
        with pytest.raises(ValueError, match="set weights"):
            attachment.fake_weight = 0.5
        with pytest.raises(ValueError, match="must sum to 1"):
            attachment.weights = {"fake": 0.75, "flip": 0.5}

    def test_real_images_that_stay_below_negatives(self) -> None:
        worker = make_worker(configured("hinge", normalise=False))
        attachment = attach(worker, nda.Flip(), 0.5)
        watch = attachment._watches["negative"] = GapWatch(steps=2)
        gaps: list[float] = []
        update = watch.update
        watch.update = lambda gap: (gaps.append(float(gap)), update(-gap.abs() - 1))
        with pytest.warns(UserWarning, match="for 2 steps"):
            train(worker, 2)
        assert len(gaps) >= 2

    def test_only_the_adversarial_term_of_adc_has_negatives(self) -> None:
        stock, attached = (make_worker(configured("ADC", normalise=False)) for _ in range(2))
        attach(attached, nda.Flip(), 0.25)
        loss, _ = first_step(attached)
        plain, _ = first_step(stock)
        untrained = make_worker(configured("ADC", normalise=False))
        real, fake, negative = (untrained.Dis(images, labels)["adv_output"] for images, labels, _ in attached.Dis.seen)
        d_hinge = D_LOSSES["hinge"]
        shift = 0.75 * (d_hinge(real, negative, DDP=False) - d_hinge(real, fake, DDP=False))
        torch.testing.assert_close(loss, plain + shift.detach())

    @every_variant
    def test_the_discriminator_sees_negatives_of_the_real_batch_with_its_labels(self, variant: str) -> None:
        worker = make_worker(configured(variant))
        stock_augment = worker.AUG.series_augment
        attach(worker, nda.Flip(), 0.25)
        worker.train_discriminator(current_step=0)
        optimisation = worker.OPTIMIZATION
        updates = optimisation.acml_steps * optimisation.d_updates_per_step
        passes = 4 if worker.LOSS.apply_cr else 3
        assert len(worker.Dis.seen) == passes * updates
        for update in range(updates):
            (real, real_labels, _), _, (negative, labels, adc_fake) = worker.Dis.seen[passes * update :][:3]
            assert torch.equal(labels, real_labels)
            assert adc_fake == (variant == "ADC")
            if stock_augment is identity:
                assert torch.equal(negative, real.flip(-2))

    def test_negatives_are_made_of_clean_images_and_then_augmented(self) -> None:
        worker = make_worker(configured())
        worker.AUG.series_augment = lambda images: images.flip(-2) + 1
        attach(worker, nda.Flip(), 0.25)
        worker.train_discriminator(current_step=0)
        clean = worker.Dis.seen[0][0].sub(1).flip(-2)
        torch.testing.assert_close(worker.Dis.seen[2][0], clean + 1)

    @every_variant
    def test_the_generator_step_is_untouched(self, variant: str) -> None:
        stock, attached = make_worker(configured(variant)), make_worker(configured(variant))
        attach(attached, "jigsaw", 0.25)
        assert torch.equal(generator_step(stock), generator_step(attached))
        assert_same(state(stock), state(attached))

    @every_variant
    def test_trains_on_with_random_negatives(self, variant: str) -> None:
        stock, worker = make_worker(configured(variant)), make_worker(configured(variant))
        attach(worker, "jigsaw,cutout" if variant == "one image" else "jigsaw,stitch")
        losses = train(worker, 3)
        assert all(loss.isfinite() for loss in losses)
        assert losses != train(stock, 3)

    def test_the_weight_can_change_during_training(self) -> None:
        stock, worker = make_worker(configured()), make_worker(configured())
        attachment = attach(worker, "jigsaw", 0.25)
        assert worker.nda is attachment
        attachment.fake_weight = 1
        assert train(stock, 2) == train(worker, 2)
        attachment.fake_weight = 0.5
        before = len(worker.Dis.seen)
        worker.train_discriminator(current_step=2)
        assert len(worker.Dis.seen) == before + 3

    def test_labels_reach_negatives_that_choose_by_class(self) -> None:
        worker = make_worker(configured())
        worker.train_iter = iter([(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))])
        attach(worker, "stitch(partner=same_class)", 0.25)
        worker.train_discriminator(current_step=0)
        negatives = worker.Dis.seen[2][0]
        assert [sorted(negative.unique().tolist()) for negative in negatives] == [[0, 1], [0, 1], [2, 3], [2, 3]]

    def test_works_under_autocast(self) -> None:
        worker = make_worker(configured())
        attach(worker, nda.Flip(), 0.25)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = worker.train_discriminator(current_step=0)
        assert loss.isfinite()
        assert worker.Dis.seen[2][0].dtype == torch.float32

    @pytest.mark.parametrize("around", [nn.DataParallel, lambda module: Around(module)], ids=["DataParallel", "other"])
    def test_works_through_a_module_around_the_discriminator(self, around: Callable[[nn.Module], nn.Module]) -> None:
        wrapped, plain = make_worker(configured()), make_worker(configured())
        wrapped.Dis = around(wrapped.Dis)
        attach(wrapped, nda.Flip(), 0.25)
        attach(plain, nda.Flip(), 0.25)
        assert train(wrapped, 2) == train(plain, 2)

    @pytest.mark.parametrize("variant", ["hinge", "MH", "R1", "ADA", "loops"])
    @pytest.mark.parametrize("weight", [1, 0.25])
    def test_keeps_no_tensor_of_a_step(self, variant: str, weight: float) -> None:
        worker = make_worker(configured(variant))
        attach(worker, nda.Flip(), weight)
        alive: list[weakref.ref[Tensor]] = []

        def watch(module: nn.Module, args: Any, output: dict[str, Tensor]) -> None:
            alive.extend(weakref.ref(tensor) for tensor in (*args[:2], output["adv_output"], output["h"]))

        worker.Dis.register_forward_hook(watch)
        gc.collect()
        gc.disable()
        try:
            train(worker, 2)
            worker.train_generator(current_step=2)
            assert not [reference for reference in alive if reference() is not None]
        finally:
            gc.enable()
        assert len(alive) > 20
        assert not len(worker.nda._origins)
        assert not len(worker.nda._sources)


class Around(nn.Module):
    """Hands out another dictionary, with other tensors, than the module inside; as DistributedDataParallel may."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor | None]:
        output = self.module(*args, **kwargs)
        return {name: value if value is None else value.view_as(value) for name, value in output.items()}


class TestPassThrough:
    def test_attributes_are_those_of_the_augmentation(self) -> None:
        worker = make_worker(configured("ADA"))
        noise = worker.AUG.series_augment
        attach(worker, "jigsaw", 0.25)
        assert worker.AUG.series_augment is not noise
        assert worker.AUG.series_augment.p is noise.p
        worker.AUG.series_augment.p.copy_(torch.tensor(0.5))
        assert noise.p == 0.5
        worker.AUG.series_augment.speed = 3
        assert noise.speed == 3
        with pytest.raises(AttributeError, match="missing"):
            _ = worker.AUG.series_augment.missing


class TestDetach:
    @every_variant
    def test_everything_is_as_before(self, variant: str) -> None:
        stock, worker = make_worker(configured(variant)), make_worker(configured(variant))
        before = {name: dict(vars(getattr(worker, name))) for name in ("LOSS", "AUG", "MODEL", "PRE")}
        attributes = set(vars(worker))
        attach(worker, "jigsaw", 0.25)
        detach(worker)
        for name, values in before.items():
            assert all(value is values[key] for key, value in vars(getattr(worker, name)).items())
        assert set(vars(worker)) == attributes
        assert not worker.Dis._forward_hooks
        assert not worker.Dis._forward_hooks_with_kwargs
        assert train(stock, 2) == train(worker, 2)
        assert_same(state(stock), state(worker))

    def test_can_be_attached_again(self) -> None:
        worker = make_worker(configured())
        attach(worker, "jigsaw", 0.25)
        detach(worker)
        attach(worker, nda.Flip(), 0.5)
        worker.train_discriminator(current_step=0)
        assert torch.equal(worker.Dis.seen[2][0], worker.Dis.seen[0][0].flip(-2))


class TestErrors:
    def test_a_worker_has_one_attachment_or_none(self) -> None:
        worker = make_worker(configured())
        with pytest.raises(ValueError, match="no negatives"):
            detach(worker)
        attach(worker, "jigsaw")
        with pytest.raises(ValueError, match=r"already \(jigsaw\)"):
            attach(worker, "stitch")

    @pytest.mark.parametrize("weight", [0, 1.5, float("nan")])
    def test_weights_out_of_bounds(self, weight: float) -> None:
        worker = make_worker(configured())
        with pytest.raises(ValueError, match="fake_weight"):
            attach(worker, "jigsaw", weight)
        assert not hasattr(worker, "nda")
        with pytest.raises(ValueError, match="fake_weight"):
            attach(worker, "jigsaw").fake_weight = weight

    def test_what_cannot_be_negatives(self) -> None:
        worker = make_worker(configured())
        with pytest.raises(ValueError, match="did you mean"):
            attach(worker, "jigsaws")
        with pytest.raises(ValueError, match="p=1"):
            attach(worker, nda.Jigsaw(p=0.5))
        assert worker.AUG.series_augment is identity

    def test_the_place_was_taken(self) -> None:
        worker = make_worker(configured())
        attach(worker, "jigsaw")
        ours = worker.LOSS.d_loss
        worker.LOSS.d_loss = lambda *args, **kwargs: ours(*args, **kwargs)
        with pytest.raises(RuntimeError, match="taken the place"):
            detach(worker)
        worker.LOSS.d_loss = ours
        detach(worker)

    @pytest.mark.parametrize("augmented", [True, False])
    def test_logits_from_elsewhere(self, augmented: bool) -> None:
        worker = make_worker(configured())
        attach(worker, "jigsaw", 0.25)
        images, labels = next(worker.train_iter)
        logits = worker.Dis(worker.AUG.series_augment(images) if augmented else images, labels)["adv_output"]
        with pytest.raises(RuntimeError, match="cannot find the images"):
            worker.LOSS.d_loss(logits.clone() if augmented else logits, logits, DDP=False)

    def test_multi_hinge_without_a_real_batch(self) -> None:
        worker = make_worker(configured("MH"))
        attach(worker, "jigsaw", 0.25)
        with pytest.raises(RuntimeError, match="cannot find the images"):
            worker.LOSS.d_loss(torch.rand(4, 4), worker.lossy, DDP=False)


class TestWarnings:
    @pytest.mark.parametrize(
        ("settings", "negatives", "operation"),
        [
            ({"AUG": {"apply_diffaug": True, "diffaug_type": "diffaug"}}, "cutout", "cutout"),
            ({"AUG": {"apply_diffaug": True, "diffaug_type": "diffaug"}}, "roll", "translation"),
            ({"AUG": {"apply_ada": True, "ada_aug_type": "blit"}}, "jigsaw,rotate90", "rotate90"),
            ({"AUG": {"apply_ada": True, "ada_aug_type": "geom"}}, "flip", "rotate"),
            ({"AUG": {"apply_ada": True, "ada_aug_type": "bgcfnc"}}, "cutout", "cutout"),
            ({"LOSS": {"apply_cr": True}, "AUG": {"cr_aug_type": "cr"}}, "roll", "translation"),
            ({"LOSS": {"apply_bcr": True}, "AUG": {"bcr_aug_type": "diffaug"}}, "cutout", "cutout"),
            ({"PRE": {"apply_rflip": True}}, "flip(direction=horizontal)", "xflip"),
        ],
        ids=str,
    )
    def test_a_positive_that_undoes_a_negative(
        self, settings: dict[str, dict[str, Any]], negatives: str, operation: str
    ) -> None:
        worker = make_worker(Configurations(settings))
        with pytest.warns(UserWarning, match=f"augmentation '{operation}'") as caught:
            attach(worker, negatives)
        assert {warning.filename for warning in caught} == {__file__}

    def test_nothing_to_warn_of(self) -> None:
        """A type that is set but not applied does nothing; warnings are errors here."""
        cfgs = Configurations({"AUG": {"diffaug_type": "diffaug"}, "PRE": {"apply_rflip": False}})
        attach(make_worker(cfgs), "cutout,roll,rotate90,flip(direction=horizontal)")
        cfgs = Configurations({"AUG": {"apply_diffaug": True, "diffaug_type": "diffaug"}})
        attach(make_worker(cfgs), "jigsaw,stitch,flip")


class TestFactories:
    settings = {"AUG": {"apply_nda": True, "nda_policy": "flip"}, "LOSS": {"nda_fake_weight": 0.5}}  # noqa: RUF012

    def test_the_keys_are_read(self) -> None:
        with pytest.raises(AttributeError, match="apply_nda"):
            Configurations(self.settings)
        cfgs = NDAConfigurations(Configurations)(self.settings)
        assert isinstance(cfgs, Configurations)
        cfgs.check_compatability()
        worker = make_worker(cfgs, NDAWorker(WORKER))
        assert isinstance(worker, WORKER)
        assert str(worker.nda) == "flip"
        assert worker.nda.fake_weight == 0.5

    def test_off_by_default(self) -> None:
        cfgs = NDAConfigurations(Configurations)({})
        assert (cfgs.AUG.apply_nda, cfgs.AUG.nda_policy, cfgs.LOSS.nda_fake_weight) == (False, "jigsaw", 0.75)
        worker = make_worker(cfgs, NDAWorker(WORKER))
        assert not hasattr(worker, "nda")
        stock = make_worker(Configurations({}))
        assert train(stock, 2) == train(worker, 2)

    def test_it_trains_as_if_attached_by_hand(self) -> None:
        by_key = make_worker(NDAConfigurations(Configurations)(self.settings), NDAWorker(WORKER))
        by_hand = make_worker(Configurations({}))
        attach(by_hand, "flip", 0.5)
        assert train(by_key, 2) == train(by_hand, 2)

    def test_kinds_are_read_and_their_gaps_logged(self) -> None:
        class Logging(WORKER):
            told: list[str] = []  # noqa: RUF012

            @property
            def logger(self) -> Any:
                return SimpleNamespace(info=self.told.append)

            def log_train_statistics(self, current_step: int) -> int:
                return current_step

        settings = {"AUG": {"apply_nda": True}, "LOSS": {"nda_weights": {"fake": 0.5, "flip": 0.3, "swap": 0.2}}}
        cfgs = NDAConfigurations(Configurations)(settings)
        cfgs.check_compatability()
        worker = make_worker(cfgs, NDAWorker(Logging))
        train(worker, 1)
        assert worker.log_train_statistics(7) == 7
        assert re.fullmatch(r"NDA, mean real minus mean negative logit: flip -?\d.*, swap -?\d.*", Logging.told[0])

    def test_sections_stay_plain_until_a_worker_is_made(self) -> None:
        cfgs = NDAConfigurations(Configurations)(self.settings)
        assert json.loads(json.dumps([vars(cfgs.AUG), vars(cfgs.LOSS)]))[0]["nda_policy"] == "flip"

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"AUG": {"apply_nda": True, "nda_policy": "flop"}}, "did you mean"),
            ({"AUG": {"apply_nda": True}, "LOSS": {"nda_fake_weight": 2}}, "fake_weight"),
            ({"AUG": {"apply_nda": True}, "LOSS": {"nda_weights": {"fake": 0.5, "flip": 0.4}}}, "nda_weights must sum"),
            ({"OPTIMIZATION": {"batch_size": 0}}, "batch_size"),
        ],
    )
    def test_settings_are_checked_at_the_door(self, settings: dict[str, dict[str, Any]], message: str) -> None:
        cfgs = NDAConfigurations(Configurations)(settings)
        with pytest.raises((ValueError, AssertionError), match=message):
            cfgs.check_compatability()

    def test_a_configuration_that_does_not_know_the_keys(self) -> None:
        with pytest.raises(AttributeError, match="NDAConfigurations"):
            make_worker(Configurations({}), NDAWorker(WORKER))

    def test_one_class_per_base(self) -> None:
        assert NDAConfigurations(Configurations) is NDAConfigurations(Configurations)
        assert NDAWorker(WORKER) is NDAWorker(WORKER)

    def test_configurations_pickle(self) -> None:
        cfgs = NDAConfigurations(Configurations)(self.settings)
        restored = pickle.loads(pickle.dumps(cfgs))
        assert type(restored) is type(cfgs)
        assert vars(restored.AUG) == vars(cfgs.AUG)


CHECKOUT = {
    "config.py": """
        import yaml
        from tests.adapters import studiogan_double as double

        class Configurations(double.Configurations):
            def __init__(self, cfg_file):
                with open(cfg_file) as file:
                    super().__init__(yaml.safe_load(file))
    """,
    "worker.py": """
        from tests.adapters.studiogan_double import WORKER
    """,
    "loader.py": """
        import os
        import torch
        import torch.distributed as dist
        from tests.adapters import studiogan_double as double
        from worker import WORKER

        def make(cfgs, Gen, Dis):
            if cfgs.RUN.distributed_data_parallel:
                Dis = torch.nn.parallel.DistributedDataParallel(Dis)
            return WORKER(cfgs, Gen, Dis)

        def load_worker(local_rank, cfgs, gpus_per_node, run_name, hdf5_path):
            if cfgs.RUN.distributed_data_parallel:
                os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="0")
                store = "file://" + os.path.join(cfgs.RUN.save_dir, "store")
                dist.init_process_group("gloo", init_method=store, rank=local_rank, world_size=gpus_per_node)
            torch.set_num_threads(1)
            worker = double.make_worker(cfgs, make)
            double.train(worker, 2, seed=local_rank)
            saved = {"state": worker.Dis.state_dict(), "nda": str(worker.nda), "run": run_name}
            torch.save(saved, os.path.join(cfgs.RUN.save_dir, f"{local_rank}.pt"))
            if cfgs.RUN.distributed_data_parallel:
                dist.destroy_process_group()
    """,
    "main.py": """
        import argparse
        import config
        import loader

        def load_configs_initialize_training():
            parser = argparse.ArgumentParser()
            parser.add_argument("-t", "--train", action="store_true")
            parser.add_argument("-DDP", "--distributed_data_parallel", action="store_true")
            parser.add_argument("-cfg", "--cfg_file")
            parser.add_argument("-save", "--save_dir")
            args = parser.parse_args()
            cfgs = config.Configurations(args.cfg_file)
            vars(cfgs.RUN).update(vars(args))
            processes = cfgs.OPTIMIZATION.world_size = 2 if args.distributed_data_parallel else 1
            cfgs.check_compatability()
            return cfgs, processes, "a run", None, 0
    """,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a folder that looks like a StudioGAN checkout, and a configuration beside it."""
    (tmp_path / "StudioGAN" / "src").mkdir(parents=True)
    for name, text in CHECKOUT.items():
        (tmp_path / "StudioGAN" / "src" / name).write_text("\n".join(line[8:] for line in text.splitlines()))
    (tmp_path / "nda.yaml").write_text(
        "AUG: {apply_nda: true, nda_policy: 'jigsaw,stitch'}\nLOSS: {nda_fake_weight: 0.5}\n"
    )
    return tmp_path


class TestLauncher:
    def command(self, checkout: Path, *more: str) -> list[str]:
        given = ["-t", "-cfg", str(checkout / "nda.yaml"), "-save", str(checkout), *more]
        return ["--studiogan", str(checkout / "StudioGAN"), "--", *given]

    def test_runs_a_checkout(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(sys, "argv", argv := ["pytest"])
        try:
            studiogan.main(self.command(checkout))
            stock = sys.modules["config"].Configurations.__mro__[1].__module__, sys.modules["loader"].WORKER
        finally:
            for name in ("config", "worker", "loader", "main"):
                sys.modules.pop(name, None)
        saved = torch.load(checkout / "0.pt", weights_only=True)
        assert (saved["nda"], saved["run"]) == ("jigsaw,stitch", "a run")
        by_hand = make_worker(Configurations({}))
        attach(by_hand, "jigsaw,stitch", 0.5)
        train(by_hand, 2, seed=0)
        assert_same(saved["state"], by_hand.Dis.state_dict())
        assert stock == ("tests.adapters.studiogan_double", WORKER)
        assert sys.argv is argv

    def test_survives_the_spawn_of_ddp(self, checkout: Path) -> None:
        module = [sys.executable, "-m", "nda_augment.adapters.studiogan"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(module + self.command(checkout, "-DDP"), env=environment, cwd=checkout, check=True, timeout=120)
        first, second = (torch.load(checkout / f"{rank}.pt", weights_only=True) for rank in range(2))
        assert first["nda"] == second["nda"] == "jigsaw,stitch"
        weights = [name for name in first["state"] if name.endswith(("weight_orig", "bias"))]
        assert len(weights) == 4
        for name in weights:
            assert torch.equal(first["state"][name], second["state"][name])

    def test_no_checkout(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            studiogan.main(["--studiogan", str(tmp_path), "--", "-t"])
        assert "no src/main.py" in capsys.readouterr().err

    @pytest.mark.parametrize("given", [["-t", "-cfg", "a.yaml"], []])
    def test_without_dashes_it_says_what_comes_after_them(
        self, checkout: Path, given: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            studiogan.main(["--studiogan", str(checkout / "StudioGAN"), *given])
        assert "arguments of StudioGAN come after --, such as: --studiogan DIR -- -t -cfg" in capsys.readouterr().err

    def test_help_needs_no_dashes(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            studiogan.main(["--help"])
        assert "a checkout of PyTorch-StudioGAN" in capsys.readouterr().out

    def test_a_library_is_missing(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (checkout / "StudioGAN" / "src" / "main.py").write_text("import pkg_resources_that_is_gone\n")
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(ImportError, match=r"pkg_resources_that_is_gone.*setuptools<81"):
            studiogan.main(["--studiogan", str(checkout / "StudioGAN"), "--", "-t"])


SOURCE = os.environ.get("STUDIOGAN_SRC")
CIFAR10 = sorted(path.stem for path in Path(SOURCE, "src", "configs", "CIFAR10").glob("*.yaml")) if SOURCE else []


@pytest.mark.skipif(not SOURCE, reason="STUDIOGAN_SRC names no checkout of PyTorch-StudioGAN")
@pytest.mark.parametrize("name", CIFAR10 or [None])
def test_shipped_configuration(name: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.adapters.studiogan_real", SOURCE, name],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    report = json.loads(process.stdout.splitlines()[-1])
    assert "exception" not in report, report["traceback"]
    assert report["stock_at_one"], "with fake_weight=1 a step differs from a step without the adapter"
    assert report["negatives"], "not one more pass of the discriminator per real batch"
    assert report["error"] < 1e-4, "the loss is not that of nda_augment.losses on the same logits"
    assert report["finite"]
    assert report["changes"]
    assert report["detached"]
