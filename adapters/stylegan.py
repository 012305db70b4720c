"""Negatives in the official StyleGAN trainers: a loss that their ``loss_kwargs.class_name`` can name.

Made for ``stylegan2-ada-pytorch`` and ``stylegan3``, and for what was built upon them: DiffAugment's StyleGAN2,
projected-gan, StyleGAN-XL. In ``train.py``::

    c.loss_kwargs.class_name = "nda_augment.adapters.stylegan.NDAStyleGAN2Loss"
    c.loss_kwargs.nda_policy = "jigsaw"
"""

import pkgutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils._pytree import tree_leaves

from nda_augment.losses.gap_watch import GapWatch
from nda_augment.losses.kinds import FAKE, Weights
from nda_augment.transforms import NegativeTransform, OtherClass

from ._gan import Kind, Weighed, as_kinds, make_kind, warn_undone

_ADA = ("xflip", "rotate90", "xint", "rotate", "xfrac", "cutout")

_STATS = "torch_utils.training_stats"
_REAL = "real images"  # beside the kinds of negatives

# What the discriminators of projected-gan and StyleGAN-XL do to images unless their ``diffaug`` is off.
_PROJECTED = "color,translation,cutout"


class _Shown(Exception):  # noqa: N818 - no error: it ends a step that has done what it was for
    """Negatives have had their backward pass, and what follows is that of real images."""


class NDAStyleGAN2Loss(Weighed):
    """StyleGAN's loss with a third kind of sample for the discriminator.

    In the phases ``Dmain`` and ``Dboth`` the discriminator minimises ``L_real + λ · L_fake + (1 − λ) · L_negative``
    with the terms of the checkout's own loss, whatever they are; regularisation and the generator's phases are
    untouched. It holds that loss and lets it take a step with negatives in the place of generated images: they are
    blurred, augmented, penalised and kept from synchronising just as the generated images of the same step are.

    Args:
        nda_policy: The negatives: a policy string, or a transform; or several kinds, by name.
            :class:`~nda_augment.OtherClass` is a kind too: real images with a wrong label. One that is
            :class:`~nda_augment.Generated` by a history is left out until the first snapshot.
        nda_fake_weight: λ, in (0, 1], with negatives of one kind; 3/4 unless given. At 1 the checkout's loss runs
            alone, bit for bit.
        nda_weights: Share of generated images (``"fake"``) and of each kind, with several; they sum to 1.
        nda_base: Dotted name of the checkout's loss, imported when this one is made.
        **kwargs: Arguments of the checkout's loss.

    Raises:
        ImportError: If the checkout's loss cannot be imported.
        ValueError: If a policy cannot be read, λ is out of bounds, or weights do not fit the kinds.

    Warns:
        UserWarning: If ADA or DiffAugment show as real what a negative shows as not real; and, once, if the logits of
            real images stay below those of negatives.

    Convention:
        - ``Loss/scores/negative`` and ``Loss/signs/negative`` are reported to ``training_stats``, with those of real
          and fake images, with several kinds under their names; ``Loss/gap/negative``, or of each kind, is the mean
          real minus the mean negative logit; ``Loss/D/loss`` stays the checkout's, unweighted and without negatives.
        - other attributes are those of the checkout's loss.

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, for the objective.
    """

    def __init__(
        self,
        *,
        nda_policy: str | NegativeTransform | Mapping[str, Kind | str] = "jigsaw",
        nda_fake_weight: float | None = None,
        nda_weights: Weights | None = None,
        nda_base: str = "training.loss.StyleGAN2Loss",
        **kwargs: Any,
    ) -> None:
        names = ("nda_fake_weight", "nda_weights")
        super().__init__(*as_kinds(nda_policy, nda_fake_weight, nda_weights, names))
        self.base = _from_checkout(nda_base)(**kwargs)
        _from_checkout(_STATS)
        self._watches: defaultdict[str, GapWatch] = defaultdict(GapWatch)
        self._pulls = 0
        warn_undone(self.kinds.values(), _operations(kwargs))

    def __getattr__(self, name: str) -> Any:
        # Not found here, so the checkout's; without a base yet (a copy being made) there is nobody to ask.
        if name == "base":
            raise AttributeError(name)
        return getattr(self.base, name)

    def accumulate_gradients(
        self, phase: str, real_img: Tensor, real_c: Tensor, gen_z: Tensor, gen_c: Tensor, gain: float, **kwargs: Any
    ) -> None:
        """Add the gradients of a phase, as the training loop asks for them.

        Args:
            phase: ``Gmain``, ``Greg``, ``Gboth``, ``Dmain``, ``Dreg`` or ``Dboth``.
            real_img: Real images, ``(B, C, H, W)``.
            real_c: Their labels, ``(B, K)``, one-hot or without columns.
            gen_z: Latents of the images to generate.
            gen_c: Their labels.
            gain: Factor of all gradients.
            **kwargs: Arguments that the checkout's loss takes besides: ``sync``, or ``cur_nimg``.

        Raises:
            RuntimeError: If the checkout's loss does not show generated images to the discriminator once, by
                ``run_D`` and before the real ones, with a backward pass of their own.
        """
        # Labels tell generated images from real ones below, so they are an object of their own, whatever was given.
        gen_c = gen_c.view_as(gen_c)
        step = partial(
            self.base.accumulate_gradients,
            **{"phase": phase, "real_img": real_img, "real_c": real_c, "gen_z": gen_z, "gen_c": gen_c, "gain": gain},
            **kwargs,
        )
        asked = {name: kind for name, kind in self.kinds.items() if self.weights[name]}
        made = self._made(asked, real_img, real_c) if phase in ("Dmain", "Dboth") else {}
        if made:
            self._step_with_negatives(step, made, gen_c)
        else:
            step()

    def _made(self, kinds: Mapping[str, Kind], real_img: Tensor, real_c: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the negatives of each kind that has some, with labels ``(B, K)``."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for name, kind in kinds.items():
            told = isinstance(kind, OtherClass)
            classes = self._classes(kind, real_c) if told or kind.needs_labels else None
            made = make_kind(kind, real_img, classes)
            if made is not None:
                wrong = made[1] if told else None
                labels = real_c if wrong is None else one_hot(wrong, real_c.shape[1]).to(real_c)
                found[name] = made[0], labels
        return found

    def _step_with_negatives(
        self, step: Callable[[], None], made: Mapping[str, tuple[Tensor, Tensor]], gen_c: Tensor
    ) -> None:
        """Take a step in which fakes have their share, and just before them one with each kind in their place."""
        run_d, run_g, generated, shown = self.base.run_D, self.base.run_G, None, 0
        means: dict[str, Tensor] = {}
        absent = sum(weight for name, weight in self.weights.items() if name not in (FAKE, *made))
        fake_weight = self.weights[FAKE] + absent

        def generate(*args: Any, **kwargs: Any) -> Any:
            nonlocal generated
            generated = run_g(*args, **kwargs)
            return generated

        def negatives_in_their_place(name: str, img: Any, c: Tensor, *args: Any, **kwargs: Any) -> Any:
            if c is not gen_c:
                raise _Shown
            logits = run_d(*made[name], *args, **kwargs)
            means[name] = _mean(logits)
            return self._weighed(logits, self.weights[name])

        def negatives_beside(img: Any, c: Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal shown
            if c is not gen_c:
                logits = run_d(img, c, *args, **kwargs)
                means[_REAL] = _mean(logits)
                return logits
            shown += 1
            # Their backward pass comes before those of the base: the last of all is the one that synchronises.
            for name in made:
                instead = partial(negatives_in_their_place, name)
                with (
                    _in_place(self.base, run_G=lambda *_, **__: generated, run_D=instead),
                    _reporting(name),
                    suppress(_Shown),
                ):
                    step()
            return self._weighed(run_d(img, c, *args, **kwargs), fake_weight)

        self._pulls = 0
        with _in_place(self.base, run_G=generate, run_D=negatives_beside):
            step()
        if shown != 1 or self._pulls != 1 + len(made):
            raise RuntimeError(
                f"{type(self.base).__name__} showed generated images to the discriminator {shown} times by run_D, with "
                f"{self._pulls // (1 + len(made))} backward passes before the real ones, not once with one; so "
                "negatives cannot take their place. nda_augment.losses.with_negatives gives any loss of your own "
                "negatives"
            )
        for name in made if _REAL in means else ():
            gap = means[_REAL] - means[name]
            _from_checkout(_STATS).report(f"Loss/gap/{name}", gap)
            self._watches[name].update(gap)

    def _weighed(self, logits: Any, weight: float) -> Any:
        """Let what the base computes of logits count as much as a weight says: scale the gradient that comes back."""

        def scale(gradient: Tensor) -> Tensor:
            return gradient * weight

        leaves = tree_leaves(logits)
        leaves[0].register_hook(self._count_pull)
        for leaf in leaves:
            leaf.register_hook(scale)
        return logits

    def _count_pull(self, gradient: Tensor) -> None:
        self._pulls += 1

    def _classes(self, kind: Kind, real_c: Tensor) -> Tensor:
        if real_c.shape[1] < 2:
            raise ValueError(
                f"{kind} needs classes, but the labels are {tuple(real_c.shape)}, not one-hot (B, K): train with "
                "labels, or let partners be any"
            )
        return real_c.argmax(1)


@contextmanager
def _in_place(owner: Any, **values: Any) -> Iterator[None]:
    """Give an object attributes for a while."""
    own = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in own.items():
            setattr(owner, name, value)


@contextmanager
def _reporting(kind: str) -> Iterator[None]:
    """Report what the checkout says of fakes, which are negatives for the time, under the name of their kind."""
    stats = _from_checkout(_STATS)
    report = stats.report

    def renamed(name: str, value: Any) -> Any:
        return report(name.replace("fake", kind), value) if "fake" in name else value

    with _in_place(stats, report=renamed):
        yield


def _mean(logits: Any) -> Tensor:
    """Return the mean of one tensor or of several, detached."""
    return torch.cat([leaf.detach().flatten() for leaf in tree_leaves(logits)]).mean()


def _operations(settings: Mapping[str, Any]) -> set[str]:
    """Return what a loss's augmentations consist of: ADA's pipe, DiffAugment's string, a discriminator's own."""
    pipe, discriminator = settings.get("augment_pipe"), settings.get("D")
    found = {name for name in _ADA if getattr(pipe, name, 0) > 0}
    found.update(str(settings.get("diffaugment") or "").split(","))
    # DistributedDataParallel holds the module that knows.
    if getattr(getattr(discriminator, "module", discriminator), "diffaug", False):
        found.update(_PROJECTED.split(","))
    return found


def _from_checkout(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise ImportError(
            f"nda_augment.adapters.stylegan needs {name}, which could not be imported ({error}). Run from a checkout "
            "of stylegan2-ada-pytorch or stylegan3, or put one on PYTHONPATH; nda_base= names another loss"
        ) from error
