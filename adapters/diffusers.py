"""Guidance away from negatives for Hugging Face diffusers: UNet2DModel, DiTTransformer2DModel, text-conditioned UNets.

A model tells kinds apart by its class embedding, three rows for every class (:func:`num_class_embeds`), real images in
the first; a text-conditioned model by a learned prompt (:class:`NegativePrompt`). Schedulers stay as they are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nda_augment import sampling
from nda_augment.adapters._optional import optional_import
from nda_augment.guidance import Guided, Kind, mix_kinds
from nda_augment.losses.diffusion import denoising_loss, denoising_target, edm_weight

with optional_import("diffusers"):
    from diffusers.utils.outputs import BaseOutput

# The mean and deviation of the logarithm of EDM's noise levels in training (Karras et al., 2022, table 1).
_EDM_LOG_SIGMA = (-1.2, 1.2)


def num_class_embeds(num_classes: int = 1) -> int:
    """Return the rows that a class embedding needs.

    They are ``num_class_embeds=`` of UNet2DModel and ``num_embeds_ada_norm=`` of DiTTransformer2DModel.

    Args:
        num_classes: Number of classes, an empty class for classifier-free guidance included; 1 without classes.

    Returns:
        Three times that number: row ``kind · num_classes + label``, so that real images keep their labels.

    Example:
        >>> num_class_embeds(), num_class_embeds(1001)
        (3, 3003)
    """
    return len(Kind) * num_classes


def embedding_rows(kinds: Tensor, labels: Tensor | None = None, num_classes: int = 1) -> Tensor:
    """Return ``class_labels=`` of a model for images of these kinds and classes.

    Args:
        kinds: int64 ``(B,)`` kinds, of :func:`nda_augment.guidance.mix_kinds`.
        labels: int64 ``(B,)`` classes in ``0..num_classes - 1``; not given without classes.
        num_classes: Number of classes, as of :func:`num_class_embeds`.

    Returns:
        int64 ``(B,)`` rows of the class embedding.

    Raises:
        ValueError: If there are classes and no labels, or labels and no classes.

    Example:
        >>> embedding_rows(torch.tensor([0, 1]), labels=torch.tensor([4, 4]), num_classes=10).tolist()
        [4, 14]
    """
    if (labels is not None) != (num_classes > 1):
        raise ValueError(f"labels go with num_classes, the number of classes, got num_classes={num_classes}")
    return kinds * num_classes + (0 if labels is None else labels)


def training_loss(
    model: Any,
    scheduler: Any,
    images: Tensor,
    negatives: Tensor,
    labels: Tensor | None = None,
    *,
    num_classes: int = 1,
    share: float = 0.15,
    drop: float = 0.1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the loss of one training step in which a share of the batch are negatives.

    Noise levels are drawn as the scheduler's family is trained: uniform steps for DDPM and its relatives, log-normal
    for EDM, uniform times (with the scheduler's shift) for flow matching.

    Args:
        model: UNet2DModel or DiTTransformer2DModel with a class embedding of :func:`num_class_embeds` rows.
        scheduler: Scheduler of diffusers that has ``alphas_cumprod`` (DDPM, DDIM, Heun, ...), EDM preconditioning, or
            flow matching.
        images: ``(B, C, H, W)`` clean images, usually in [−1, 1].
        negatives: Tensor like ``images``, one negative per image.
        labels: int64 ``(B,)`` classes, for class-conditional models.
        num_classes: Number of classes, as of :func:`num_class_embeds`.
        share: Share of negatives, see :func:`~nda_augment.guidance.mix_kinds`.
        drop: Probability of a dropped kind, likewise.
        generator: Source of all draws; ``None`` is torch's global one.

    Returns:
        Scalar.

    Raises:
        ValueError: If the model has no class embedding or too small a one, or the scheduler predicts something
            unknown.
    """
    check_class_embedding(model, num_classes)
    mixed, kinds = mix_kinds(images, negatives, share, drop, generator=generator)
    step = _noised(scheduler, mixed, generator)
    output = model(step.inputs, step.timesteps, class_labels=embedding_rows(kinds, labels, num_classes)).sample
    return step.loss(output)


class GuidedModel(nn.Module):
    """A trained model in its own place in a pipeline: without a kind to give, and guided away from negatives.

    Guiding what the model predicts guides the image, since the one is affine in the other for every scheduler.
    ``DDPMPipeline(unet=GuidedModel(unet, scale=1.0), scheduler=scheduler)`` samples as ever. In a pipeline with
    classifier-free guidance (DiTPipeline) both act: the pipeline's on the predictions that this one guided.

    Args:
        model: UNet2DModel or DiTTransformer2DModel trained with kinds.
        scale: Strength of the guidance, at least 0; at 0 this is the model under the kind ``REAL``, bit for bit.
        interval: Lowest and highest timestep, as the model is given it, at which guidance acts.
        num_classes: Number of classes, as of :func:`num_class_embeds`.

    Raises:
        ValueError: If ``scale`` is negative, the interval empty, or the class embedding missing or too small.
    """

    def __init__(
        self, model: Any, scale: float, interval: tuple[float, float] | None = None, num_classes: int = 1
    ) -> None:
        super().__init__()
        check_class_embedding(model, num_classes)
        self.model = model
        self.num_classes = num_classes
        self._guided = Guided(self._predict, scale, interval)

    @property
    def config(self) -> Any:
        """The model's configuration, which pipelines read."""
        return self.model.config

    @property
    def dtype(self) -> torch.dtype:
        """The model's dtype."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def device(self) -> torch.device:
        """The model's device."""
        device: torch.device = self.model.device
        return device

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Return the guided prediction as the model would: an output with ``sample``, or a tuple.

        Args:
            sample: ``(B, C, H, W)`` noisy images, as the scheduler scales them.
            timestep: Timestep of the whole batch, a number or a tensor of equal ones.
            class_labels: int64 ``(B,)`` classes, without kinds.
            return_dict: ``False`` for a tuple.
        """
        level = timestep.flatten()[0] if isinstance(timestep, Tensor) else timestep
        labels = {} if class_labels is None else {"labels": class_labels}
        prediction = self._guided(sample, level, **labels)
        return BaseOutput(sample=prediction) if return_dict else (prediction,)

    def _predict(self, noisy: Tensor, timestep: Tensor | float, kinds: Tensor, labels: Tensor | None = None) -> Tensor:
        steps = torch.as_tensor(timestep, device=noisy.device).expand(len(noisy))
        rows = embedding_rows(kinds, labels, self.num_classes)
        prediction: Tensor = self.model(noisy, steps, class_labels=rows).sample
        return prediction


class NegativePrompt(nn.Module):
    """A learned prompt that stands for "not the data", for text-conditioned models.

    In training it takes the place of the prompts of negatives; in sampling it is the pipeline's
    ``negative_prompt_embeds``, the branch that classifier-free guidance moves away from. There
    ``guidance_scale = 1 + scale``.

    Args:
        tokens: Number of tokens of a prompt, 77 for Stable Diffusion.
        width: Width of a token, the model's ``cross_attention_dim``.

    Example:
        >>> prompt = NegativePrompt(tokens=77, width=32)
        >>> embeds = prompt(torch.zeros(2, 77, 32), kinds=torch.tensor([0, 1]))
        >>> embeds[0].any().item(), embeds[1].any().item()
        (False, True)
        >>> prompt.embeds(batch=4).shape  # negative_prompt_embeds of a pipeline
        torch.Size([4, 77, 32])
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        # The scale of a freshly made token embedding.
        self.embedding = nn.Parameter(0.02 * torch.randn(tokens, width))

    def forward(self, prompt_embeds: Tensor, kinds: Tensor, empty_embeds: Tensor | None = None) -> Tensor:
        """Return the prompts with which a batch of kinds is trained.

        Args:
            prompt_embeds: ``(B, tokens, width)`` encoded prompts of the images.
            kinds: int64 ``(B,)`` kinds, of :func:`~nda_augment.guidance.mix_kinds`.
            empty_embeds: ``(tokens, width)`` encoded empty prompt, for images whose kind was dropped; without it they
                get the learned prompt, since one of them may be a negative.

        Returns:
            Tensor like ``prompt_embeds``.

        Raises:
            ValueError: If the prompts have other sizes than the learned one.
        """
        if prompt_embeds.shape[1:] != self.embedding.shape:
            raise ValueError(
                f"prompt_embeds must be (B, {', '.join(map(str, self.embedding.shape))}), as the learned prompt, got "
                f"{tuple(prompt_embeds.shape)}"
            )
        kind, learned = kinds.view(-1, 1, 1), self.embedding.to(prompt_embeds.dtype)
        prompts = torch.where(kind == Kind.REAL, prompt_embeds, learned)
        return prompts if empty_embeds is None else torch.where(kind == Kind.ANY, empty_embeds, prompts)

    def embeds(self, batch: int) -> Tensor:
        """Return the learned prompt for every image of a batch, ``(batch, tokens, width)``."""
        return self.embedding.expand(batch, -1, -1)


def text_training_loss(
    model: Any,
    scheduler: Any,
    images: Tensor,
    negatives: Tensor,
    prompt_embeds: Tensor,
    negative_prompt: NegativePrompt,
    *,
    empty_embeds: Tensor | None = None,
    share: float = 0.15,
    drop: float = 0.1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the loss of one training step of a text-conditioned model in which a share of the batch are negatives.

    Negatives are trained under the learned prompt, and images under their own.

    Args:
        model: UNet2DConditionModel.
        scheduler: Scheduler, see :func:`training_loss`.
        images: ``(B, C, H, W)`` clean images, or the latents that the model denoises.
        negatives: Tensor like ``images``, one negative per image; of latents, the encoded negatives of the images.
        prompt_embeds: ``(B, tokens, width)`` encoded prompts of the images.
        negative_prompt: Prompt that stands for "not the data"; its parameters are trained with the model's, or alone.
        empty_embeds: ``(tokens, width)`` encoded empty prompt; needed unless ``drop`` is 0.
        share: Share of negatives, see :func:`~nda_augment.guidance.mix_kinds`.
        drop: Probability with which the empty prompt takes the place of either.
        generator: Source of all draws; ``None`` is torch's global one.

    Returns:
        Scalar.

    Raises:
        ValueError: If ``drop`` is above 0 without ``empty_embeds``, or the scheduler predicts something unknown.
    """
    if drop and empty_embeds is None:
        raise ValueError(f"drop={drop} asks for empty_embeds=, the encoded empty prompt; or pass drop=0.0")
    mixed, kinds = mix_kinds(images, negatives, share, drop, generator=generator)
    step = _noised(scheduler, mixed, generator)
    prompts = negative_prompt(prompt_embeds, kinds, empty_embeds)
    return step.loss(model(step.inputs, step.timesteps, encoder_hidden_states=prompts).sample)


def check_class_embedding(model: Any, num_classes: int = 1) -> None:
    """Raise ValueError, with the argument that mends it, unless a model can be told kinds and classes."""
    name = "num_embeds_ada_norm" if "num_embeds_ada_norm" in model.config else "num_class_embeds"
    rows, needed = model.config.get(name), num_class_embeds(num_classes)
    if rows is None and "encoder_hid_dim" in model.config:
        raise ValueError(f"{type(model).__name__} is told by text; train it with text_training_loss")
    if rows is None or rows < needed:
        raise ValueError(
            f"{type(model).__name__} has {'no class embedding' if rows is None else f'{rows} rows of classes'}; to be "
            f"told kinds it needs {name}={needed}, which is num_class_embeds({num_classes})"
        )


class _Step(NamedTuple):
    """A noisy batch, as the model takes it, and what its output is compared with."""

    inputs: Tensor
    timesteps: Tensor
    target: Tensor
    predicted: Callable[[Tensor], Tensor] = lambda output: output
    weight: Tensor | None = None

    def loss(self, output: Tensor) -> Tensor:
        """Compare the model's output, a learned variance left out, with the target."""
        return denoising_loss(self.predicted(output[:, : self.target.shape[1]]), self.target, self.weight)


def _noised(scheduler: Any, images: Tensor, generator: torch.Generator | None) -> _Step:
    """Draw noise and noise levels for a batch as the scheduler's family is trained."""
    source: sampling.Source = {"generator": generator, "device": images.device}
    noise = sampling.normal(*images.shape, **source).to(images.dtype)
    if hasattr(scheduler, "precondition_outputs"):
        return _edm_step(scheduler, images, noise, source)
    if hasattr(scheduler, "alphas_cumprod"):
        return _ddpm_step(scheduler, images, noise, source)
    if hasattr(scheduler, "scale_noise"):
        return _flow_step(scheduler, images, noise, source)
    raise ValueError(
        f"{type(scheduler).__name__} is of an unknown family; known are schedulers with alphas_cumprod (DDPM, DDIM, "
        "Heun), with EDM's preconditioning (EDMEulerScheduler) and of flow matching (FlowMatchEulerDiscreteScheduler)"
    )


def _ddpm_step(scheduler: Any, images: Tensor, noise: Tensor, source: sampling.Source) -> _Step:
    prediction = _prediction(scheduler, "epsilon", "sample", "v_prediction")
    timesteps = sampling.integers(0, scheduler.config.num_train_timesteps, len(images), **source)
    kept = scheduler.alphas_cumprod.to(images.device)[timesteps].to(_full(images))
    signal, sigma = kept.sqrt(), (1 - kept).sqrt()
    target = denoising_target(images, noise, prediction, signal=signal, sigma=sigma)
    noisy = _per_image(signal) * images + _per_image(sigma) * noise
    return _Step(noisy.to(images.dtype), timesteps, target)


def _edm_step(scheduler: Any, images: Tensor, noise: Tensor, source: sampling.Source) -> _Step:
    _prediction(scheduler, "epsilon", "v_prediction")  # how it preconditions; the target is the image for both
    mean, deviation = _EDM_LOG_SIGMA
    sigma = (mean + deviation * sampling.normal(len(images), **source)).exp().to(_full(images))
    noisy = images + _per_image(sigma) * noise
    return _Step(
        scheduler.precondition_inputs(noisy, _per_image(sigma)).to(images.dtype),
        scheduler.precondition_noise(sigma),
        target=images,
        predicted=lambda output: scheduler.precondition_outputs(noisy, output, _per_image(sigma)),
        weight=edm_weight(sigma, scheduler.config.sigma_data),
    )


def _flow_step(scheduler: Any, images: Tensor, noise: Tensor, source: sampling.Source) -> _Step:
    shift, times = scheduler.config.shift, sampling.uniform(len(images), **source)
    sigma = (shift * times / (1 + (shift - 1) * times)).to(_full(images))
    noisy = (1 - _per_image(sigma)) * images + _per_image(sigma) * noise
    times = sigma * scheduler.config.num_train_timesteps
    return _Step(noisy.to(images.dtype), times, denoising_target(images, noise, "flow"))


def _prediction(scheduler: Any, *known: Any) -> Any:
    """Return the ``prediction_type`` of a scheduler, which must be one of those known for its family."""
    prediction = scheduler.config.prediction_type
    if prediction not in known:
        right = " or ".join(map(repr, known))
        raise ValueError(f"prediction_type={prediction!r} of {type(scheduler).__name__} is unknown; use {right}")
    return prediction


def _full(images: Tensor) -> torch.dtype:
    """Return the dtype of noise levels: in half precision low ones are none, and those near 1 are 1."""
    return torch.promote_types(images.dtype, torch.float32)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
