# ruff: noqa: N806 - the names are StyleGAN's
import copy
import os
import pickle
import pkgutil
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nda_augment as nda
from nda_augment.adapters.stylegan import NDAStyleGAN2Loss
from nda_augment.losses import GapWatch
from tests.adapters import stylegan_double as double

ROOT = Path(__file__).parents[2]
CLASS_NAME = "nda_augment.adapters.stylegan.NDAStyleGAN2Loss"
SOURCES = {
    "ada": "STYLEGAN2_ADA_SRC",
    "stylegan3": "STYLEGAN3_SRC",
    "diffaugment": "DIFFAUGMENT_STYLEGAN2_SRC",
    "projected": "PROJECTED_GAN_SRC",
    "xl": "STYLEGAN_XL_SRC",
}
DOUBLES = {
    "ada": double.StyleGAN2AdaLoss,
    "stylegan3": double.StyleGAN3Loss,
    "diffaugment": double.StyleGAN2AdaLoss,
    "projected": double.ProjectedGANLoss,
    "xl": double.StyleGANXLLoss,
}
BY_HAND = ("ada", "diffaugment")  # those that synchronise processes so, and take the generator's two parts
HINGE = ("projected", "xl")
# Of StyleGAN-XL's loss, what guides by a classifier, which is pretrained, and is not looked at here.
UNUSED_BY_XL = ("legacy", "timm", "pg_modules", "pg_modules.blocks", "pg_modules.projector")
TOP_LEVEL = (
    "training",
    "torch_utils",
    "dnnlib",
    "pkg_resources",
    "legacy",
    "timm",
    "pg_modules",
    "DiffAugment_pytorch",
)

D_PHASES, OTHER_PHASES = ("Dmain", "Dboth"), ("Gmain", "Gboth", "Dreg")


class Lab:
    """A checkout that is importable, with the networks and a batch for its loss."""

    def __init__(self, flavour: str, real: bool, networks: str = "double") -> None:
        self.flavour, self.real = flavour, real
        torch.manual_seed(0)
        size = double.SIZE if networks == "double" else 16
        self.real_img = torch.rand(4, 3, size, size) * 2 - 1
        self.real_c, self.gen_c = (torch.eye(double.CLASSES)[torch.randint(double.CLASSES, (4,))] for _ in range(2))
        self.gen_z = torch.randn(4, double.LATENT)
        discriminator = double.ManyOutputs if flavour == "xl" else double.Discriminator
        self.G, self.D = (double.Generator(), discriminator()) if networks == "double" else self.own_networks()
        self.base = f"training.loss.{'ProjectedGANLoss' if flavour in HINGE else 'StyleGAN2Loss'}"

    def own_networks(self) -> tuple[nn.Module, nn.Module]:
        modules = {"ada": "training.networks", "stylegan3": "training.networks_stylegan2"}
        networks = pkgutil.resolve_name(modules[self.flavour])
        common = {"c_dim": double.CLASSES, "img_resolution": 16, "img_channels": 3}
        width = {"channel_base": 128, "channel_max": 8}
        if self.flavour == "ada":
            generator = networks.Generator(z_dim=double.LATENT, w_dim=8, **common, synthesis_kwargs=width)
        else:
            generator = networks.Generator(z_dim=double.LATENT, w_dim=8, **common, **width)
        return generator, networks.Discriminator(**common, **width)

    def loss(self, class_name: str = "", **kwargs: Any) -> Any:
        """Construct a loss as the training loop does, with networks of its own."""
        G, D = copy.deepcopy((self.G, self.D))
        parts = {"G_mapping": G.mapping, "G_synthesis": G.synthesis} if self.flavour in BY_HAND else {"G": G}
        if self.flavour in HINGE:
            parts["G_ema"] = G
            kwargs |= {"nda_base": self.base} if class_name else {}
        class_name = class_name or self.base
        construct = pkgutil.resolve_name(class_name)
        if self.real:
            construct = partial(pkgutil.resolve_name("dnnlib.util.construct_class_by_name"), class_name=class_name)
        made = construct(device="cpu", D=D, **parts, **kwargs)
        made.networks = G, D
        return made

    def step(self, loss: Any, phase: str, gain: float = 1, cur_nimg: int = 0, **changes: Any) -> dict[str, Tensor]:
        """Return the gradients of a phase and the state of the generator of random numbers after it."""
        torch.manual_seed(7)
        G, D = loss.networks
        G.requires_grad_(phase.startswith("G"))
        D.requires_grad_(phase.startswith("D"))
        for net in (G, D):
            net.zero_grad()
        batch = {name: getattr(self, name) for name in ("real_img", "real_c", "gen_z", "gen_c")} | changes
        more = {"sync": True} if self.flavour in BY_HAND else {"cur_nimg": cur_nimg}
        loss.accumulate_gradients(phase=phase, gain=gain, **batch, **more)
        named = {f"{kind}.{name}": p.grad for kind, net in (("G", G), ("D", D)) for name, p in net.named_parameters()}
        grads = {name: grad.clone() for name, grad in named.items() if grad is not None}
        return grads | {"rng": torch.get_rng_state().float()}

    def fakes_are_negatives(self, loss: Any, negatives: Tensor) -> Any:
        """Let a loss of the checkout see negatives, with the labels of their images, where it sees fakes."""
        run_G = loss.run_G

        def instead(*args: Any, **kwargs: Any) -> Any:
            made = run_G(*args, **kwargs)  # after the same random draws
            return negatives if isinstance(made, Tensor) else (negatives, made[1])

        loss.run_G = instead
        return loss


class Brighter(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + 1


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Hide what is imported under the names of a checkout's modules, and forget afterwards what was."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in TOP_LEVEL}
    yield monkeypatch
    for name in [name for name in sys.modules if name.split(".")[0] in TOP_LEVEL]:
        del sys.modules[name]
    sys.modules.update(hidden)


def install(monkeypatch: pytest.MonkeyPatch, flavour: str, real: bool) -> None:
    if real:
        monkeypatch.syspath_prepend(os.environ[SOURCES[flavour]])
        # stylegan3 asks setuptools, which no longer has it, for this one function.
        shim = types.ModuleType("pkg_resources")
        shim.parse_version = pkgutil.resolve_name("packaging.version.Version")
        sys.modules["pkg_resources"] = shim
        if flavour == "xl":
            for name in UNUSED_BY_XL:
                sys.modules[name] = types.ModuleType(name)
            sys.modules["timm"].create_model = lambda *_, **__: nn.Identity()
            sys.modules["pg_modules.blocks"].Interpolate = lambda size: nn.Identity()
            sys.modules["pg_modules.projector"].get_backbone_normstats = lambda name: {"mean": [0.5], "std": [0.5]}
        return
    for name in ("training", "training.loss", "torch_utils", "torch_utils.training_stats"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["training"].loss = sys.modules["training.loss"]
    sys.modules["torch_utils"].training_stats = sys.modules["torch_utils.training_stats"]
    name = "ProjectedGANLoss" if flavour in HINGE else "StyleGAN2Loss"
    setattr(sys.modules["training.loss"], name, DOUBLES[flavour])
    sys.modules["torch_utils.training_stats"].report = double.report
    double.reported.clear()


def labs() -> Iterator[Any]:
    for flavour, variable in SOURCES.items():
        yield pytest.param((flavour, False, "double"), id=f"double of {flavour}")
        absent = pytest.mark.skipif(variable not in os.environ, reason=f"{variable} names no checkout of {flavour}")
        # Their code is of its time.
        old = pytest.mark.filterwarnings("ignore")
        for networks in ("double", "own")[: 2 if flavour in ("ada", "stylegan3") else 1]:
            yield pytest.param((flavour, True, networks), id=f"{flavour} with {networks} networks", marks=[absent, old])


@pytest.fixture(params=labs())
def lab(request: pytest.FixtureRequest, importable: pytest.MonkeyPatch) -> Lab:
    flavour, real, networks = request.param
    install(importable, flavour, real)
    return Lab(flavour, real, networks)


@pytest.fixture(params=["ada", "stylegan3"])
def doubled(request: pytest.FixtureRequest, importable: pytest.MonkeyPatch) -> Lab:
    install(importable, request.param, real=False)
    return Lab(request.param, real=False)


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert len(one) > 4
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=2e-6, rtol=2e-4, msg=name)


class TestGradients:
    @pytest.mark.parametrize("phase", D_PHASES)
    @pytest.mark.parametrize(("weight", "gain"), [(0.25, 1), (0.75, 4)])
    def test_they_are_between_those_of_fakes_and_of_negatives(
        self, lab: Lab, phase: str, weight: float, gain: float
    ) -> None:
        loss = lab.loss(CLASS_NAME, nda_policy=nda.Flip(), nda_fake_weight=weight)
        with_fakes = lab.step(lab.loss(), phase, gain)
        replaced = lab.fakes_are_negatives(lab.loss(), lab.real_img.flip(-2))
        with_negatives = lab.step(replaced, phase, gain, gen_c=lab.real_c.clone())
        blend = {name: weight * grad + (1 - weight) * with_negatives[name] for name, grad in with_fakes.items()}
        assert_close(lab.step(loss, phase, gain), blend)

    @pytest.mark.parametrize("phase", D_PHASES + OTHER_PHASES)
    def test_at_one_they_are_those_of_the_checkout(self, lab: Lab, phase: str) -> None:
        loss = lab.loss(CLASS_NAME, nda_policy="jigsaw,stitch", nda_fake_weight=1)
        stock, ours = lab.step(lab.loss(), phase), lab.step(loss, phase)
        assert stock.keys() == ours.keys()
        assert all(torch.equal(grad, ours[name]) for name, grad in stock.items())

    @pytest.mark.parametrize("phase", OTHER_PHASES)
    def test_other_phases_are_those_of_the_checkout(self, lab: Lab, phase: str) -> None:
        loss = lab.loss(CLASS_NAME, nda_policy="jigsaw,stitch", nda_fake_weight=0.25)
        stock, ours = lab.step(lab.loss(), phase), lab.step(loss, phase)
        assert stock.keys() == ours.keys()
        assert all(torch.equal(grad, ours[name]) for name, grad in stock.items())

    def test_random_negatives_train(self, lab: Lab) -> None:
        loss = lab.loss(CLASS_NAME, nda_policy="jigsaw,stitch")
        stock, ours = lab.step(lab.loss(), "Dmain"), lab.step(loss, "Dmain")
        assert all(grad.isfinite().all() for grad in ours.values())
        assert any(not torch.equal(grad, ours[name]) for name, grad in stock.items())

    def test_blur_reaches_negatives(self, importable: pytest.MonkeyPatch) -> None:
        self.check_blur(importable, real=False)

    @pytest.mark.skipif("STYLEGAN3_SRC" not in os.environ, reason="STYLEGAN3_SRC names no checkout of stylegan3")
    @pytest.mark.filterwarnings("ignore")
    def test_blur_reaches_negatives_of_the_real_loss(self, importable: pytest.MonkeyPatch) -> None:
        self.check_blur(importable, real=True)

    def check_blur(self, importable: pytest.MonkeyPatch, real: bool) -> None:
        install(importable, "stylegan3", real)
        lab = Lab("stylegan3", real)
        blur = {"blur_init_sigma": 2.0} | ({"blur_fade_kimg": 1} if real else {})
        grads = {}
        for cur_nimg in (0, 2000):
            loss = lab.loss(CLASS_NAME, nda_policy=nda.Flip(), nda_fake_weight=0.25, **blur)
            replaced = lab.fakes_are_negatives(lab.loss(**blur), lab.real_img.flip(-2))
            grads[cur_nimg] = lab.step(loss, "Dmain", cur_nimg=cur_nimg)
            with_fakes = lab.step(lab.loss(**blur), "Dmain", cur_nimg=cur_nimg)
            with_negatives = lab.step(replaced, "Dmain", gen_c=lab.real_c.clone(), cur_nimg=cur_nimg)
            blend = {name: 0.25 * grad + 0.75 * with_negatives[name] for name, grad in with_fakes.items()}
            assert_close(grads[cur_nimg], blend)
        assert not torch.allclose(grads[0]["D.head.weight"], grads[2000]["D.head.weight"])


class TestCalls:
    def test_negatives_come_before_fakes_and_the_last_call_synchronises(self, importable: pytest.MonkeyPatch) -> None:
        install(importable, "ada", real=False)
        lab = Lab("ada", real=False)
        loss = lab.loss(CLASS_NAME, nda_policy=nda.Flip())
        lab.step(loss, "Dmain")
        assert loss.base.calls == [{"sync": False}, {"sync": False}, {"sync": True}]
        (negative, negative_c), _, (real, real_c) = loss.D.seen
        assert torch.equal(negative, real.flip(-2))
        assert negative_c is real_c is lab.real_c

    def test_negatives_pass_the_augmentation(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME, nda_policy=nda.Flip(), augment_pipe=Brighter())
        doubled.step(loss, "Dmain")
        assert torch.equal(loss.D.seen[0][0], doubled.real_img.flip(-2) + 1)

    def test_the_checkouts_loss_is_as_it_was_after_a_step(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME)
        before = loss.base.run_D
        doubled.step(loss, "Dmain")
        assert loss.base.run_D == before
        doubled.step(loss, "Gmain")
        assert len(loss.D.seen) == 4

    def test_and_after_an_error(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME, nda_policy="stitch")
        before = loss.base.run_D
        with pytest.raises(ValueError, match="pool"):
            doubled.step(loss, "Dmain", **{name: getattr(doubled, name)[:1] for name in ("real_img", "real_c")})
        assert loss.base.run_D == before

    def test_scores_are_reported(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME, nda_policy=nda.Flip())
        doubled.step(loss, "Dmain")
        scores = double.reported["Loss/scores/negative"]
        assert torch.equal(double.reported["Loss/signs/negative"], scores.sign())
        (negatives, _), (fakes, _), (real, _) = loss.D.seen
        for images, c, kind in (
            (negatives, doubled.real_c, "negative"),
            (fakes, doubled.gen_c, "fake"),
            (real, doubled.real_c, "real"),
        ):
            assert torch.equal(double.reported[f"Loss/scores/{kind}"], loss.D(images, c))
        assert sys.modules["torch_utils.training_stats"].report is double.report

    def test_several_kinds_are_weighed_each(self, doubled: Lab) -> None:
        kinds = {"flip": nda.Flip(), "swap": nda.Swap()}
        weights = {"fake": 0.5, "flip": 0.3, "swap": 0.2}
        found = doubled.step(doubled.loss(CLASS_NAME, nda_policy=kinds, nda_weights=weights), "Dmain")
        single = [
            doubled.step(doubled.loss(CLASS_NAME, nda_policy=kind, nda_fake_weight=0.5), "Dmain")
            for kind in kinds.values()
        ]
        expected = {name: 0.6 * one + 0.4 * single[1][name] for name, one in single[0].items()}
        assert_close(found, expected)
        for kind in kinds:
            gap = double.reported["Loss/scores/real"].mean() - double.reported[f"Loss/scores/{kind}"].mean()
            torch.testing.assert_close(double.reported[f"Loss/gap/{kind}"], gap)

    @pytest.mark.filterwarnings("ignore:the history has no snapshot")
    def test_a_history_without_snapshots_leaves_its_share_to_fakes(self, doubled: Lab) -> None:
        old = nda.Generated(nda.GeneratorHistory(nn.Linear(1, 1)), 1)
        kinds, weights = {"history": old, "flip": nda.Flip()}, {"fake": 0.5, "history": 0.3, "flip": 0.2}
        found = doubled.step(doubled.loss(CLASS_NAME, nda_policy=kinds, nda_weights=weights), "Dmain")
        without = doubled.loss(CLASS_NAME, nda_policy=nda.Flip(), nda_fake_weight=0.8)
        assert_close(found, doubled.step(without, "Dmain"))

    def test_a_wrong_label_is_told_with_the_real_image(self, doubled: Lab) -> None:
        weights = {"fake": 0.5, "wrong": 0.5}
        loss = doubled.loss(CLASS_NAME, nda_policy={"wrong": nda.OtherClass(double.CLASSES)}, nda_weights=weights)
        doubled.step(loss, "Dmain")
        images, c = loss.D.seen[0]
        assert torch.equal(images, doubled.real_img)
        assert c.sum(1).eq(1).all()
        assert not (c.argmax(1) == doubled.real_c.argmax(1)).any()

    def test_partners_by_class(self, doubled: Lab) -> None:
        images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 8, 8)
        labels = torch.eye(double.CLASSES)[[0, 0, 1, 1, 2, 2]]
        loss = doubled.loss(CLASS_NAME, nda_policy="stitch(partner=same_class)")
        doubled.step(loss, "Dmain", real_img=images, real_c=labels)
        found = [sorted(negative.unique().tolist()) for negative in loss.D.seen[0][0]]
        assert found == [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]
        with pytest.raises(ValueError, match="train with labels"):
            doubled.step(loss, "Dmain", real_c=torch.zeros(4, 0))

    def test_the_rest_is_that_of_the_checkouts_loss(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME, r1_gamma=3)
        assert loss.r1_gamma == 3
        assert loss.pl_mean is loss.base.pl_mean
        with pytest.raises(AttributeError, match="missing"):
            _ = loss.missing
        assert copy.copy(loss).base is loss.base
        with pytest.raises(AttributeError, match="base"):
            _ = NDAStyleGAN2Loss.__new__(NDAStyleGAN2Loss).base
        assert pickle.loads(pickle.dumps(loss)).r1_gamma == 3


class TestErrors:
    def test_no_checkout(self, importable: pytest.MonkeyPatch) -> None:
        with pytest.raises(ImportError, match=r"training\.loss\.StyleGAN2Loss.*PYTHONPATH"):
            NDAStyleGAN2Loss(device="cpu")

    def test_another_base(self, doubled: Lab) -> None:
        sys.modules["training.loss"].OtherLoss = sys.modules["training.loss"].StyleGAN2Loss
        assert doubled.loss(CLASS_NAME, nda_base="training.loss.OtherLoss")
        with pytest.raises(ImportError, match=r"training\.loss\.Nothing"):
            doubled.loss(CLASS_NAME, nda_base="training.loss.Nothing")

    def test_settings(self, doubled: Lab) -> None:
        with pytest.raises(ValueError, match="fake_weight"):
            doubled.loss(CLASS_NAME, nda_fake_weight=0)
        with pytest.raises(ValueError, match="did you mean"):
            doubled.loss(CLASS_NAME, nda_policy="jigsaws")

    def test_a_base_that_shows_no_fakes(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME)
        loss.base.accumulate_gradients = lambda **_: None
        with pytest.raises(RuntimeError, match=r"0 times.*with_negatives"):
            doubled.step(loss, "Dmain")

    def test_a_base_that_shows_fakes_and_real_images_before_it_looks_back(self, doubled: Lab) -> None:
        """No place for negatives between the two: their term would be lost without a word."""

        def jointly(*, real_img: Tensor, real_c: Tensor, gen_z: Tensor, gen_c: Tensor, **_: Any) -> None:
            base = loss.base
            fake, real = base.run_D(base.run_G(gen_z, gen_c)[0], gen_c), base.run_D(real_img, real_c)
            (fake - real).mean().backward()

        loss = doubled.loss(CLASS_NAME)
        loss.base.accumulate_gradients = jointly
        with pytest.raises(RuntimeError, match="1 times by run_D, with 0 backward passes before"):
            doubled.step(loss, "Dmain")

    def test_one_tensor_may_be_the_labels_of_both(self, doubled: Lab) -> None:
        loss = doubled.loss(CLASS_NAME, nda_policy=nda.Flip())
        expected = doubled.step(doubled.loss(CLASS_NAME, nda_policy=nda.Flip()), "Dmain", gen_c=doubled.real_c.clone())
        assert_close(doubled.step(loss, "Dmain", gen_c=doubled.real_c), expected)

    def test_arguments_are_named_as_they_are_given(self, doubled: Lab) -> None:
        with pytest.raises(ValueError, match=r"^nda_weights name 'b'"):
            doubled.loss(CLASS_NAME, nda_policy={"a": "jigsaw"}, nda_weights={"fake": 0.5, "b": 0.5})

    def test_a_positive_that_undoes_a_negative(self, doubled: Lab) -> None:
        pipe = nn.Identity()
        pipe.cutout, pipe.rotate90, pipe.xflip = 1.0, 0.0, 1.0
        with pytest.warns(UserWarning, match="'cutout'"):
            doubled.loss(CLASS_NAME, nda_policy="jigsaw,cutout,rotate90", augment_pipe=pipe)
        doubled.loss(CLASS_NAME, nda_policy="jigsaw,rotate90,flip", augment_pipe=pipe)

    def test_so_does_diffaugment(self, doubled: Lab) -> None:
        stock = DOUBLES[doubled.flavour]
        sys.modules["training.loss"].StyleGAN2Loss = lambda diffaugment, **kwargs: stock(**kwargs)
        with pytest.warns(UserWarning, match="'cutout'"):
            doubled.loss(CLASS_NAME, nda_policy="jigsaw,cutout", diffaugment="color,translation,cutout")
        doubled.loss(CLASS_NAME, nda_policy="jigsaw,cutout", diffaugment="color,translation")
        doubled.loss(CLASS_NAME, nda_policy="jigsaw,cutout", diffaugment="")

    @pytest.mark.parametrize("wrap", [lambda net: net, lambda net: types.SimpleNamespace(module=net)])
    def test_and_a_discriminator_that_augments_by_itself(self, importable: pytest.MonkeyPatch, wrap: Any) -> None:
        install(importable, "projected", real=False)
        lab = Lab("projected", real=False)
        settings = {"device": "cpu", "G": lab.G, "nda_base": lab.base, "nda_policy": "roll,jigsaw"}
        lab.D.diffaug = True
        with pytest.warns(UserWarning, match="'translation' .* 'roll'"):
            NDAStyleGAN2Loss(D=wrap(lab.D), **settings)
        lab.D.diffaug = False
        NDAStyleGAN2Loss(D=wrap(lab.D), **settings)

    def test_real_images_that_stay_below_negatives(self, doubled: Lab) -> None:
        class Inverted(double.Discriminator):
            """Calls real what is dark, and its negatives are brighter."""

            def forward(self, img: Tensor, c: Tensor, **_: Any) -> Tensor:
                return img.mean((1, 2, 3))[:, None] * self.head.bias.exp().sum()

        doubled.D = Inverted()
        loss = doubled.loss(CLASS_NAME, nda_policy=nda.AsNegative(Brighter()))
        loss._watches["negative"] = GapWatch(steps=2)
        doubled.step(loss, "Dmain")
        with pytest.warns(UserWarning, match="for 2 steps"):
            doubled.step(loss, "Dmain")
