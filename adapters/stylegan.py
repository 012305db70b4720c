"""Negatives in the official StyleGAN trainers: a loss that their ``loss_kwargs.class_name`` can name.

Made for ``stylegan2-ada-pytorch`` and ``stylegan3``, and for what was built upon them with the same loss. In
``train.py``::

    c.loss_kwargs.class_name = "nda_augment.adapters.stylegan.NDAStyleGAN2Loss"
    c.loss_kwargs.nda_policy = "jigsaw"
"""

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses.gan import FAKE_WEIGHT, check_fake_weight
from nda_augment.transforms import NegativeTransform

from ._gan import as_negatives, make_negatives, warn_undone

_ADA = ("xflip", "rotate90", "xint", "rotate", "xfrac", "cutout")


class NDAStyleGAN2Loss:
    """StyleGAN's loss with a third kind of sample for the discriminator.

    In the phases ``Dmain`` and ``Dboth`` the discriminator minimises ``L_real + λ · L_fake + (1 − λ) · L_negative``
    with StyleGAN's ``softplus`` terms; regularisation and the generator's phases are untouched. It holds the
    checkout's own loss and works through its ``run_D``: negatives are blurred, augmented and kept from synchronising
    just as the generated images of the same step are.

    Args:
        nda_policy: The negatives: a policy string, or a transform.
        nda_fake_weight: λ, in (0, 1]. At 1 the checkout's loss runs alone, bit for bit.
        nda_base: Dotted name of the checkout's loss, imported when this one is made.
        **kwargs: Arguments of the checkout's loss.

    Raises:
        ImportError: If the checkout's loss cannot be imported.
        ValueError: If the policy cannot be read or λ is out of bounds.

    Convention:
        - ``Loss/scores/negative`` and ``Loss/signs/negative`` are reported to ``training_stats``, beside those of real
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
        self.report = _from_checkout("torch_utils.training_stats.report")
        pipe = kwargs.get("augment_pipe")
        warn_undone(self.negatives, {name for name in _ADA if getattr(pipe, name, 0) > 0})

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
            **kwargs: What else the checkout's loss takes: ``sync``, or ``cur_nimg``.

        Raises:
            RuntimeError: If the checkout's loss showed no generated images to the discriminator by ``run_D``.
        """
        plain = phase not in ("Dmain", "Dboth") or self.fake_weight == 1
        with nullcontext() if plain else self._negatives_beside_fakes(real_img, real_c, gen_c, gain):
            self.base.accumulate_gradients(
                phase=phase, real_img=real_img, real_c=real_c, gen_z=gen_z, gen_c=gen_c, gain=gain, **kwargs
            )

    @contextmanager
    def _negatives_beside_fakes(self, real_img: Tensor, real_c: Tensor, gen_c: Tensor, gain: float) -> Iterator[None]:
        """Where the base shows fakes to the discriminator, show it negatives first, and weigh both."""
        run_d, shown = self.base.run_D, 0

        def run_both(img: Tensor, c: Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal shown
            if c is not gen_c:
                return run_d(img, c, *args, **kwargs)
            shown += 1
            # Its own backward pass, before those of the base: the last of them is the one that synchronises.
            negatives = make_negatives(self.negatives, real_img, self._classes(real_c))
            negative = run_d(negatives, real_c, *args, **kwargs)
            self.report("Loss/scores/negative", negative)
            self.report("Loss/signs/negative", negative.sign())
            term: Any = F.softplus(negative).mean().mul((1 - self.fake_weight) * gain)
            term.backward()
            logits = run_d(img, c, *args, **kwargs)
            # The base computes the term of the fakes from these logits, so to weigh their gradient is to weigh it.
            logits.register_hook(lambda gradient: gradient * self.fake_weight)
            return logits

        self.base.run_D = run_both
        try:
            yield
        finally:
            self.base.run_D = run_d
        if shown != 1:
            raise RuntimeError(
                f"{type(self.base).__name__} showed generated images to the discriminator {shown} times by run_D, "
                "not once, so the negative term has no place in it"
            )

    def _classes(self, real_c: Tensor) -> Tensor | None:
        if not self.negatives.needs_labels:
            return None
        if real_c.shape[1] < 2:
            raise ValueError(
                f"{self.negatives} chooses partners by class, but the labels are {tuple(real_c.shape)}, not one-hot "
                "(B, K): train with labels, or let partners be any"
            )
        return real_c.argmax(1)


def _from_checkout(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise ImportError(
            f"nda_augment.adapters.stylegan needs {name}, which could not be imported ({error}). Run from a checkout "
            "of stylegan2-ada-pytorch or stylegan3, or put one on PYTHONPATH; nda_base= names another loss"
        ) from error
