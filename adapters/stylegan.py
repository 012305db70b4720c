"""Negatives in the official StyleGAN trainers: a loss that their ``loss_kwargs.class_name`` can name.

Made for ``stylegan2-ada-pytorch`` and ``stylegan3``, and for what was built upon them: DiffAugment's StyleGAN2,
projected-gan, StyleGAN-XL. In ``train.py``::

    c.loss_kwargs.class_name = "nda_augment.adapters.stylegan.NDAStyleGAN2Loss"
    c.loss_kwargs.nda_policy = "jigsaw"
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from nda_augment.losses.gan import FAKE_WEIGHT, check_fake_weight
from nda_augment.losses.gap_watch import GapWatch
from nda_augment.transforms import NegativeTransform

from ._gan import as_negatives, make_negatives, warn_undone

_ADA = ("xflip", "rotate90", "xint", "rotate", "xfrac", "cutout")

_STATS = "torch_utils.training_stats"

# What the discriminators of projected-gan and StyleGAN-XL do to images unless their ``diffaug`` is off.
_PROJECTED = "color,translation,cutout"


class _Shown(Exception):  # noqa: N818 - no error: it ends a step that has done what it was for
    """Negatives have had their backward pass, and what follows is that of real images."""


class NDAStyleGAN2Loss:
    """StyleGAN's loss with a third kind of sample for the discriminator.

    In the phases ``Dmain`` and ``Dboth`` the discriminator minimises ``L_real + λ · L_fake + (1 − λ) · L_negative``
    with the terms of the checkout's own loss, whatever they are; regularisation and the generator's phases are
    untouched. It holds that loss and lets it take a step with negatives in the place of generated images: they are
    blurred, augmented, penalised and kept from synchronising just as the generated images of the same step are.

    Args:
        nda_policy: The negatives: a policy string, or a transform.
        nda_fake_weight: λ, in (0, 1]. At 1 the checkout's loss runs alone, bit for bit.
        nda_base: Dotted name of the checkout's loss, imported when this one is made.
        **kwargs: Arguments of the checkout's loss.

    Raises:
        ImportError: If the checkout's loss cannot be imported.
        ValueError: If the policy cannot be read or λ is out of bounds.

    Warns:
        UserWarning: If ADA or DiffAugment show as real what a negative shows as not real; and, once, if the logits of
            real images stay below those of negatives.

    Convention:
        - ``Loss/scores/negative`` and ``Loss/signs/negative`` are reported to ``training_stats``, with those of real
          and fake images; ``Loss/D/loss`` stays the checkout's, unweighted and without negatives.
        - other attributes are those of the checkout's loss.

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, for the objective.
    """

    def __init__(
        self,
        *,
        nda_policy: str | NegativeTransform = "jigsaw",
        nda_fake_weight: float = FAKE_WEIGHT,
        nda_base: str = "training.loss.StyleGAN2Loss",
        **kwargs: Any,
    ) -> None:
        self.negatives = as_negatives(nda_policy)
        check_fake_weight(nda_fake_weight, "nda_fake_weight")
        self.fake_weight = nda_fake_weight
        self.base = _from_checkout(nda_base)(**kwargs)
        _from_checkout(_STATS)
        self._watch = GapWatch()
        self._pulls = 0
        warn_undone(self.negatives, _operations(kwargs))

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
        if phase not in ("Dmain", "Dboth") or self.fake_weight == 1:
            step()
        else:
            self._step_with_negatives(step, real_img, real_c, gen_c)

    def _step_with_negatives(self, step: Callable[[], None], real_img: Tensor, real_c: Tensor, gen_c: Tensor) -> None:
        """Take a step in which fakes count λ, and just before them take one with negatives in their place."""
        run_d, run_g, generated, shown = self.base.run_D, self.base.run_G, None, 0
        means: dict[str, Tensor] = {}

        def generate(*args: Any, **kwargs: Any) -> Any:
            nonlocal generated
            generated = run_g(*args, **kwargs)
            return generated

        def negatives_in_their_place(img: Any, c: Tensor, *args: Any, **kwargs: Any) -> Any:
            if c is not gen_c:
                raise _Shown
            negatives = make_negatives(self.negatives, real_img, self._classes(real_c))
            logits = run_d(negatives, real_c, *args, **kwargs)
            means["negative"] = _mean(logits)
            return self._weighed(logits, 1 - self.fake_weight)

        def negatives_beside(img: Any, c: Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal shown
            if c is not gen_c:
                logits = run_d(img, c, *args, **kwargs)
                means["real"] = _mean(logits)
                return logits
            shown += 1
            # Their backward pass comes before those of the base: the last of all is the one that synchronises.
            with (
                _in_place(self.base, run_G=lambda *_, **__: generated, run_D=negatives_in_their_place),
                _reporting_negatives(),
                suppress(_Shown),
            ):
                step()
            return self._weighed(run_d(img, c, *args, **kwargs), self.fake_weight)

        self._pulls = 0
        with _in_place(self.base, run_G=generate, run_D=negatives_beside):
            step()
        if shown != 1 or self._pulls != 2:
            raise RuntimeError(
                f"{type(self.base).__name__} showed generated images to the discriminator {shown} times by run_D, with "
                f"{self._pulls // 2} backward passes before the real ones, not once with one; so negatives cannot take "
                "their place. nda_augment.losses.with_negatives gives any loss of your own negatives"
            )
        if len(means) == 2:
            self._watch.update(means["real"] - means["negative"])

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

    def _classes(self, real_c: Tensor) -> Tensor | None:
        if not self.negatives.needs_labels:
            return None
        if real_c.shape[1] < 2:
            raise ValueError(
                f"{self.negatives} chooses partners by class, but the labels are {tuple(real_c.shape)}, not one-hot "
                "(B, K): train with labels, or let partners be any"
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
def _reporting_negatives() -> Iterator[None]:
    """Report what the checkout says of fakes, which are negatives for the time, under a name of their own."""
    stats = _from_checkout(_STATS)
    report = stats.report

    def renamed(name: str, value: Any) -> Any:
        return report(name.replace("fake", "negative"), value) if "fake" in name else value

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
