"""Images of a generator in the place of real ones: negatives that come near, and positives."""

from collections.abc import Callable
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment import sampling
from nda_augment._checks import as_positive, as_share, as_whole, check_parameter
from nda_augment._networks import evaluating
from nda_augment._tracing import is_plain
from nda_augment.functional._layout import in_layout_of
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, DrawContext, NegativeTransform, Params, select
from nda_augment.transforms.history import GeneratorHistory
from nda_augment.transforms.labels import OtherClass, OtherLabel

__all__ = ["Generated"]

Range = tuple[float, float]
_UINT8: Range = (0.0, 255.0)


class Generated(NegativeTransform):
    """Put an image of a generator in the place of an image, with or without something of it as the condition.

    A *positive*, if the generator is good and its condition is the image's own: its features (an instance-conditioned
    GAN), its class, or both. It keeps the image's label, and other augmentations come after it. A *negative*, if the
    condition is wrong (another class, a mixture with another instance), latents lie far outside what the generator was
    trained on, or the generator is an early one (:class:`GeneratorHistory`).

    Only the chosen images are generated, without gradient and in eval mode, in the range and size of the images. Unlike
    other negatives this one says nothing about how it differs from the data: the generator decides. Below ``p=1`` the
    chosen are asked of the device, which is waited for; a generator is rarely compiled with the rest.

    Args:
        generator: Callable ``(latents, *conditions)`` on batches, on the images' device; of a module the mode is put
            back. Conditions are the labels, then the features, as far as there are any. A
            :class:`GeneratorHistory` draws a snapshot for each image.
        latent_dim: Length of a latent vector; latents are normal.
        labels: Class that the generator is told: the image's own (``"own"``), or a wrong one, drawn by an
            :class:`OtherClass` or :class:`OtherLabel`. ``None`` tells none; else ``labels=`` is needed at the call.
        encoder: Callable from images to the features ``(B, D)`` that the generator is told; of a module the mode is put
            back. ``None`` tells none.
        blend: Share of another instance in the features, in [0, 1]: 1/2 is a mixture of the two. The features keep
            their length. Other instances are those of the batch, or of ``pool=``.
        latent_scale: Standard deviation of the latents, above 0. Below 1 samples are more typical; a generator has
            hardly seen latents of scale 3.
        score: Callable from candidates ``(N, C, H, W)``, as the generator makes them, and the conditions that it was
            told, to one number each; the candidate with the highest is taken: ``lambda images: -D(images)`` for the
            one that a discriminator thinks worst of, or a density's distance of features. Of a module the mode is put
            back.
        candidates: Number of images that are generated for each one that is taken; more than 1 with a score only.
        generator_range: Range of the generator's values.
        image_range: Range of the images' values: the generator's by default, and 0 to 255 for uint8.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If an argument is out of bounds; or a network is on another device than the images; or the
            generator makes images that are not as many, have other channels, or, on the CPU, are not finite.
        TypeError: If ``labels`` is none of the above.

    Shape:
        ``(B, C, H, W)`` to the same, and clips if the generator makes clips. Parameters: ``latents``, and as far as
        they are used ``snapshots``, ``labels``, ``partners``, and ``features``, if they were given at the call. A draw
        repeats exactly while generator, encoder and score stay as they are.

    Example:
        >>> icgan = nn.Bilinear(8, 3, 12)  # stands for a generator that is told the features of an instance
        >>> swap = Generated(lambda z, h: icgan(z, h).view(-1, 3, 2, 2), 8, encoder=lambda x: x.mean((2, 3)), p=0.3)
        >>> views = swap(torch.rand(16, 3, 32, 32))
        >>> views.shape, swap._params["batch_prob"].shape
        (torch.Size([16, 3, 32, 32]), torch.Size([16]))

    Source: as a positive, after Astolfi et al., DA_IC-GAN, 2023, with the generator of Casanova et al., NeurIPS 2021;
    as a negative, after Ding et al., Dual-NDA, AAAI 2024.
    """

    def __init__(
        self,
        generator: Callable[..., Tensor],
        latent_dim: int,
        labels: Literal["own"] | OtherClass | OtherLabel | None = None,
        encoder: Callable[[Tensor], Tensor] | None = None,
        blend: float = 0.0,
        latent_scale: float = 1.0,
        score: Callable[..., Tensor] | None = None,
        candidates: int = 1,
        generator_range: Range = (-1.0, 1.0),
        image_range: Range | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if not (labels is None or labels == "own" or isinstance(labels, OtherClass | OtherLabel)):
            raise TypeError(f'labels must be None, "own", or an OtherClass or OtherLabel, got {labels!r}')
        self.generator, self.labels, self.encoder, self.score = generator, labels, encoder, score
        self.latent_dim = as_whole(latent_dim, "latent_dim", 1)
        self.latent_scale = as_positive(latent_scale, "latent_scale")
        self.blend = as_share(blend, "blend")
        self.candidates = as_whole(candidates, "candidates", 1)
        self.generator_range = _as_value_range(generator_range, "generator_range")
        self.image_range = None if image_range is None else _as_value_range(image_range, "image_range")
        if (candidates > 1) != (score is not None):
            raise ValueError(
                f"candidates={candidates} and score={score!r}: several candidates need a score, and one none"
            )
        if blend and encoder is None:
            raise ValueError(f"blend={blend} mixes the features of two instances; it needs an encoder")
        self.needs_labels = labels is not None
        self.uses_partners = blend > 0

    def forward(
        self,
        input: Tensor,  # noqa: A002 - the base's name
        params: Params | None = None,
        *,
        features: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Return a batch in which the chosen images are generated ones.

        Args:
            input: Images, see the convention of :class:`NegativeTransform`.
            params: A draw to repeat, as recorded in ``_params``.
            features: ``(B, D)`` of the images, such as ``table[index]``, in the place of what the encoder would
                compute.
            **options: ``generator``, ``labels`` and, without features, ``pool`` as in the base.

        Returns:
            Tensor like ``input``.

        Raises:
            ValueError: As the base; and if there are features for a generator that is told none, that come with a
                draw to repeat, or are not one row per image.
        """
        if features is not None:
            params, options = self._with_features(input, params, features, **options), {}
        swapped: Tensor = super().forward(input, params, **options)  # type: ignore[assignment]  # without a mask
        return swapped

    def ready(self) -> bool:
        """Tell whether there is a generator: of a history, its first snapshot; :meth:`GeneratorHistory.ready` warns."""
        return not isinstance(self.generator, GeneratorHistory) or self.generator.ready()

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw latents, and snapshots of a history."""
        several = (self.candidates,) if self.candidates > 1 else ()
        drawn = {"latents": self.latent_scale * sampling.normal(shape[0], *several, self.latent_dim, **source)}
        if isinstance(self.generator, GeneratorHistory):
            drawn["snapshots"] = self.generator.draw(shape[0], **source)
        return drawn

    def draw_kernel_params(self, context: DrawContext) -> Params:
        """Draw what is random, and keep the labels that the generator is told."""
        drawn = super().draw_kernel_params(context)
        if self.needs_labels:
            drawn["labels"] = self._told(context)
        if self.uses_partners:
            pool_size = None if context.pool is None else len(context.pool)
            drawn["partners"] = sampling.partners(
                context.batch, pool_size, same_on_batch=context.same_on_batch, **context.source
            )
            drawn |= {} if context.pool is None else {"pool": context.pool}
        return drawn

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Generate images in the place of the chosen ones."""
        if self.p == 1.0 or "batch_prob" not in params:
            return self._generated(images, images, params)
        index = (params["batch_prob"] > 0.5).nonzero().squeeze(1)
        if not len(index):
            return images
        own = select(params, index)
        own.setdefault("pool", images)
        return images.index_copy(0, index, self._generated(images[index], images, own))

    def __str__(self) -> str:
        """Return the representation: a policy string cannot name a generator."""
        return repr(self)

    def _with_features(
        self,
        images: Tensor,
        params: Params | None,
        features: Tensor,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
    ) -> Params:
        """Draw for images whose features are at hand."""
        if params is not None:
            raise ValueError("params repeat a draw, features included; pass them alone")
        if self.encoder is None or self.uses_partners:
            raise ValueError(
                "features take the place of what an encoder would compute of the images themselves; give the "
                "constructor encoder=, and blend=0"
            )
        images = self.transform_tensor(images)
        self._check_options(images, generator, None, labels, None)
        check_parameter(features, "features", (len(images), *features.shape[1:]))
        drawn = self.draw(images.shape, generator=generator, device=images.device, labels=labels)
        return {**drawn, "features": features.detach()}

    def _told(self, context: DrawContext) -> Tensor:
        labels = context.labels
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} needs labels=, which kornia's containers cannot pass; call it directly"
            )
        if not isinstance(self.labels, nn.Module):
            return labels
        wrong: Tensor = self.labels(labels, generator=context.generator)
        return wrong

    @torch.no_grad()
    def _generated(self, images: Tensor, batch: Tensor, params: Params) -> Tensor:
        if not len(images):
            return images.clone()
        parts = [part for part in (self.generator, self.encoder, self.score) if isinstance(part, nn.Module)]
        _check_devices(parts, images.device)
        with evaluating(*parts):
            conditions = [params["labels"]] if self.needs_labels else []
            if self.encoder is not None:
                conditions.append(self._features(images, params.get("pool", batch), params))
            made = self._made(params["latents"], conditions, params.get("snapshots"))
            self._check(made, images)
            return in_layout_of(images, self._adapted(made, images))

    def _features(self, images: Tensor, pool: Tensor, params: Params) -> Tensor:
        assert self.encoder is not None
        if "features" in params:
            return params["features"]
        features: Tensor = self.encoder(images)
        if not self.uses_partners:
            return features
        mixed = features.lerp(self.encoder(pool[params["partners"]]), self.blend)
        length: Tensor = features.norm(dim=-1, keepdim=True)
        return F.normalize(mixed, dim=-1) * length

    def _made(self, latents: Tensor, conditions: list[Tensor], snapshots: Tensor | None) -> Tensor:
        """Return an image per image: the worst of its candidates, where there are several."""
        count = self.candidates
        batches = [value.repeat_interleave(count, 0) for value in conditions]
        more = {} if snapshots is None else {"snapshots": snapshots.repeat_interleave(count, 0)}
        made: Tensor = self.generator(latents.flatten(0, -2), *batches, **more)
        if self.score is None:
            return made
        scores = self.score(made, *batches)
        if scores.numel() != len(latents) * count:
            raise ValueError(
                f"score must give one number per candidate, {len(latents) * count}, got {tuple(scores.shape)}"
            )
        best = scores.view(-1, count).argmax(dim=1)
        return made[torch.arange(len(latents), device=best.device) * count + best]

    def _check(self, made: Tensor, images: Tensor) -> None:
        if made.ndim != images.ndim or made.shape[:-2] != images.shape[:-2]:
            raise ValueError(
                f"the generator made {tuple(made.shape)} in the place of {tuple(images.shape)}: only height and width "
                "may differ; wrap it in a function that returns as many images, channels and frames"
            )
        if made.device.type == "cpu" and is_plain(made) and not made.isfinite().all():
            raise ValueError(f"the generator made {int((~made.isfinite()).sum())} values that are not finite")

    def _adapted(self, made: Tensor, images: Tensor) -> Tensor:
        """Bring generated images to the size, the range and the dtype of the images."""
        if made.shape[-2:] != images.shape[-2:]:
            flat = made.reshape(-1, *made.shape[-3:]).float()
            flat = F.interpolate(flat, images.shape[-2:], mode="bilinear", antialias=True)
            made = flat.view(images.shape)
        whole = images.dtype == torch.uint8
        low, high = self.generator_range
        to_low, to_high = self.image_range or (_UINT8 if whole else self.generator_range)
        if (low, high) != (to_low, to_high):
            made = to_low + (made - low) * ((to_high - to_low) / (high - low))
        return made.round().clamp(*_UINT8).to(images.dtype) if whole else made.to(images.dtype)


def _check_devices(parts: list[nn.Module], device: torch.device) -> None:
    for part in parts:
        own = next((parameter.device for parameter in part.parameters()), device)
        if own != device:
            raise ValueError(
                f"{type(part).__name__} is on {own} and the images are on {device}; move one of them, the "
                f'networks with Generated(...).to("{device}")'
            )


def _as_value_range(value: Any, name: str) -> Range:
    low, high = value if isinstance(value, tuple | list) and len(value) == 2 else (0.0, 0.0)
    if not float("-inf") < low < high < float("inf"):
        raise ValueError(f"{name} must be the lowest and the highest value, such as (-1, 1), got {value!r}")
    return float(low), float(high)
