import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'nda-augment[diffusers]'")

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)

import nda_augment as nda
from nda_augment.adapters.diffusers import (
    GuidedModel,
    NegativePrompt,
    embedding_rows,
    num_class_embeds,
    text_training_loss,
    training_loss,
)
from nda_augment.guidance import Kind, guide
from tests.adapters.diffusers_real import PAGE, apply, patch_of

# Its schedulers in the manner of k-diffusion call NumPy in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SCHEDULERS = {
    "ddpm": DDPMScheduler,
    "ddim, v": lambda: DDIMScheduler(prediction_type="v_prediction"),
    "ddpm, sample": lambda: DDPMScheduler(prediction_type="sample"),
    "heun": HeunDiscreteScheduler,
    "edm": EDMEulerScheduler,
    "flow": FlowMatchEulerDiscreteScheduler,
}


def unet(rows=3, **settings):
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    size = {"sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    return UNet2DModel(**blocks, **size, num_class_embeds=rows, **settings)


def dit(classes):
    torch.manual_seed(0)
    size = {"sample_size": 8, "num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 8, "norm_num_groups": 4}
    model = DiTTransformer2DModel(in_channels=3, out_channels=6, num_embeds_ada_norm=num_class_embeds(classes), **size)
    for name, parameter in model.named_parameters():  # some are made as zeros, which no condition gets through
        if "norm" in name or "proj_out" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def sample(model, scheduler, steps=3, **conditions):
    torch.manual_seed(0)
    scheduler.set_timesteps(steps)
    images = torch.randn(2, 3, 8, 8) * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps:
        inputs = scheduler.scale_model_input(images, timestep) if hasattr(scheduler, "scale_model_input") else images
        with torch.no_grad():
            output = model(inputs, timestep, **conditions).sample
        images = scheduler.step(output, timestep, images).prev_sample
    return images


class Recorder(torch.nn.Module):
    """A model that predicts zeros, or what it is told to, and notes what it is asked."""

    config = unet().config

    def __init__(self, predict=lambda inputs: torch.zeros_like(inputs)):
        super().__init__()
        self.predict = predict

    def forward(self, inputs, timesteps, class_labels):
        self.inputs, self.timesteps, self.rows = inputs, timesteps, class_labels
        return type("Output", (), {"sample": self.predict(inputs)})


@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
class TestEveryScheduler:
    def test_a_training_step_reaches_every_kind(self, scheduler):
        model, images = unet(), torch.rand(40, 3, 8, 8) * 2 - 1
        generator = torch.Generator().manual_seed(0)
        training_loss(model, scheduler(), images, nda.Jigsaw()(images), generator=generator).backward()
        rows = model.class_embedding.weight.grad.abs().sum(1)
        assert (rows > 0).all()

    def test_of_half_precision_only_images_are_rounded(self, scheduler):
        images = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
        images = images.half()
        asked = []
        for dtype in (torch.float16, torch.float32):
            model, draws = Recorder(), torch.Generator().manual_seed(1)
            loss = training_loss(model, scheduler(), images.to(dtype), images.flip(3).to(dtype), generator=draws)
            assert model.inputs.dtype == dtype
            asked.append((model.timesteps, loss))
        torch.testing.assert_close(asked[0][0], asked[1][0], rtol=0, atol=0)
        torch.testing.assert_close(asked[0][1], asked[1][1], rtol=2e-3, atol=0)

    def test_the_generator_decides_the_loss(self, scheduler):
        model, images = unet(), torch.rand(8, 3, 8, 8)
        draws = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
        one, two, other = (training_loss(model, scheduler(), images, images.flip(3), generator=g) for g in draws)
        assert torch.equal(one, two)
        assert not torch.equal(one, other)

    def test_scale_0_samples_what_the_model_samples(self, scheduler):
        model = unet().eval()
        real = torch.full((2,), int(Kind.REAL))
        plain = sample(model, scheduler(), class_labels=real)
        assert torch.equal(sample(GuidedModel(model, scale=0.0), scheduler()), plain)
        guided = sample(GuidedModel(model, scale=1.0), scheduler())
        assert guided.isfinite().all()
        assert not torch.equal(guided, plain)


class TestTrainingLoss:
    def test_a_perfect_model_of_the_noise_has_no_loss(self):
        scheduler, images = DDPMScheduler(), torch.rand(16, 3, 8, 8)
        model = Recorder()
        model.predict = lambda noisy: (
            (noisy - alpha(model.timesteps).sqrt() * images) / (1 - alpha(model.timesteps)).sqrt()
        )
        alpha = lambda timesteps: scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)  # noqa: E731
        assert training_loss(model, scheduler, images, images).item() < 1e-6

    def test_a_perfect_flow_has_no_loss(self):
        torch.manual_seed(0)
        scheduler, images = FlowMatchEulerDiscreteScheduler(shift=3.0), torch.rand(1000, 3, 8, 8)
        model = Recorder()
        model.predict = lambda noisy: (noisy - images) / (model.timesteps / 1000).view(-1, 1, 1, 1)
        assert training_loss(model, scheduler, images, images).item() < 1e-4
        # A shift of 3 moves the mean of uniform times from 1/2 to 3/2 − 3/4 · ln 3.
        assert model.timesteps.mean().item() == pytest.approx(676, abs=25)

    def test_edm_compares_the_denoised_image(self):
        scheduler, images = EDMEulerScheduler(), torch.zeros(512, 3, 8, 8)
        torch.manual_seed(0)
        # Without data a network of zeros leaves c_skip · sigma · noise, whose weighted error is known.
        model = Recorder()
        loss = training_loss(model, scheduler, images, images).item()
        sigma = (4 * model.timesteps).exp()
        assert sigma.log().mean().item() == pytest.approx(-1.2, abs=0.2)
        assert sigma.log().std().item() == pytest.approx(1.2, abs=0.15)
        expected = (0.25 / (sigma.square() + 0.25)).mean().item()
        assert loss == pytest.approx(expected, rel=0.03)

    def test_labels_and_kinds_share_a_table(self):
        model, images, labels = Recorder(), torch.zeros(10, 3, 8, 8), torch.arange(10)
        model.config = unet(num_class_embeds(11)).config
        training_loss(model, DDPMScheduler(), images, images + 1, labels, num_classes=11, share=0.5, drop=0.0)
        assert torch.equal(model.rows % 11, labels)
        assert (model.rows // 11).bincount().tolist() == [5, 5]

    @pytest.mark.parametrize(
        ("scheduler", "message"),
        [
            (
                DDPMScheduler(prediction_type="flow"),
                "prediction_type='flow' of DDPMScheduler is unknown",
            ),
            (
                EDMEulerScheduler(prediction_type="sample"),
                "prediction_type='sample' of EDMEulerScheduler is unknown; use 'epsilon' or 'v_prediction'",
            ),
            (object(), "object is of an unknown family"),
        ],
    )
    def test_unknown_schedulers_are_refused(self, scheduler, message):
        images = torch.zeros(2, 3, 8, 8)
        with pytest.raises(ValueError, match=message):
            training_loss(unet(), scheduler, images, images)

    def test_a_model_that_cannot_be_told_kinds_is_refused(self):
        images = torch.zeros(2, 3, 8, 8)
        with pytest.raises(ValueError, match=r"UNet2DModel has no class embedding; .*num_class_embeds=3"):
            training_loss(unet(None), DDPMScheduler(), images, images)
        with pytest.raises(ValueError, match=r"has 10 rows of classes; .*num_class_embeds=30"):
            GuidedModel(unet(10), scale=1.0, num_classes=10)
        with pytest.raises(ValueError, match=r"DiTTransformer2DModel has 6 rows .*num_embeds_ada_norm=9"):
            GuidedModel(dit(2), scale=1.0, num_classes=3)
        with pytest.raises(ValueError, match="at least 0"):
            GuidedModel(unet(), scale=-1.0)
        with pytest.raises(ValueError, match="labels go with num_classes"):
            embedding_rows(torch.zeros(2), torch.zeros(2))


class TestGuidedModel:
    def test_it_takes_the_models_place_in_ddpms_pipeline(self):
        model = unet().eval()
        pipeline = DDPMPipeline(unet=GuidedModel(model, scale=1.5), scheduler=DDPMScheduler())
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline(
            batch_size=2, num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="pt"
        ).images
        assert images.shape == (2, 3, 8, 8)
        assert images.isfinite().all()

    def test_it_is_the_formula_on_the_models_predictions(self):
        model, noisy, step = unet().eval(), torch.randn(2, 3, 8, 8), torch.tensor(500)
        with torch.no_grad():
            real, negative = (
                model(noisy, step, class_labels=torch.full((2,), int(kind))).sample for kind in (0, Kind.NEGATIVE)
            )
            guided = GuidedModel(model, scale=2.0)(noisy, step).sample
            (as_tuple,) = GuidedModel(model, scale=2.0)(noisy, step, return_dict=False)
        assert torch.allclose(guided, 3 * real - 2 * negative, atol=1e-5)
        assert torch.equal(guided, as_tuple)

    def test_the_interval_is_of_timesteps(self):
        model, noisy = unet().eval(), torch.randn(2, 3, 8, 8)
        inside, plain = GuidedModel(model, 2.0, interval=(100, 500)), GuidedModel(model, 0.0)
        with torch.no_grad():
            same = [torch.equal(inside(noisy, step).sample, plain(noisy, step).sample) for step in (99, 100, 500, 501)]
        assert same == [True, False, False, True]

    def test_dits_pipeline_guides_by_class_as_well(self):
        # DiTPipeline writes 1000 for the empty class: there are 1001, and real images keep their rows.
        model = dit(1001)
        vae = AutoencoderKL(latent_channels=3, block_out_channels=(4,), norm_num_groups=2)
        noise = torch.randn(2, 3, 8, 8)
        labels = torch.tensor([7, 1000])
        with torch.no_grad():
            guided = GuidedModel(model, scale=1.0, num_classes=1001)(noise, torch.tensor(5), labels).sample
            real, negative = (model(noise, torch.full((2,), 5), class_labels=labels + k * 1001).sample for k in (0, 1))
        assert torch.allclose(guided[:, :3], 2 * real[:, :3] - negative[:, :3], atol=1e-5)
        assert torch.allclose(guided[:, 3:], real[:, 3:], atol=1e-6)  # the learned variance
        pipeline = DiTPipeline(
            transformer=GuidedModel(model, scale=1.0, num_classes=1001), vae=vae, scheduler=DDIMScheduler()
        )
        pipeline.set_progress_bar_config(disable=True)
        images = pipeline([7, 8], guidance_scale=2.0, num_inference_steps=2, output_type="np").images
        assert images.shape[0] == 2


def text_unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=8,
        norm_num_groups=4,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )


class TestNegativePrompt:
    texts, empty, images = torch.randn(20, 5, 8), torch.zeros(5, 8), torch.zeros(20, 3, 8, 8)

    def test_it_learns_from_negatives_alone(self):
        model, prompt = text_unet(), NegativePrompt(tokens=5, width=8)
        for kinds, learns in ((torch.tensor([0, 2, 0]), False), (torch.tensor([0, 1, 2]), True)):
            prompt.zero_grad()
            embeds = prompt(self.texts[:3], kinds, empty_embeds=self.empty)
            model(
                self.images[:3], torch.tensor([1, 2, 3]), encoder_hidden_states=embeds
            ).sample.square().sum().backward()
            assert bool(prompt.embedding.grad.any()) == learns

    @pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
    def test_a_step_trains_negatives_under_it_and_images_under_their_texts(self, scheduler):
        asked = []

        class Told(torch.nn.Module):
            def forward(self, inputs, timesteps, encoder_hidden_states):
                asked.append(encoder_hidden_states)
                return type("Output", (), {"sample": inputs * encoder_hidden_states.mean()})

        prompt = NegativePrompt(tokens=5, width=8)
        draws = torch.Generator().manual_seed(0)
        words = {"empty_embeds": self.empty, "share": 0.25, "drop": 0.2, "generator": draws}
        text_training_loss(Told(), scheduler(), self.images, self.images, self.texts, prompt, **words).backward()
        (prompts,) = asked
        is_negative, is_empty, is_text = (
            (prompts == each).flatten(1).all(1) for each in (prompt.embedding, self.empty, self.texts)
        )
        assert (is_negative.int() + is_empty.int() + is_text.int() == 1).all()
        assert 0 < is_negative.sum() <= 5
        assert is_empty.any()
        assert prompt.embedding.grad.any()

    def test_the_empty_prompt_is_asked_for_where_something_is_dropped(self):
        model, prompt = text_unet(), NegativePrompt(5, 8)
        with pytest.raises(ValueError, match=r"drop=0.1 asks for empty_embeds=.*or pass drop=0.0"):
            text_training_loss(model, DDPMScheduler(), self.images, self.images, self.texts, prompt)
        loss = text_training_loss(model, DDPMScheduler(), self.images, self.images, self.texts, prompt, drop=0.0)
        assert loss.isfinite()

    def test_without_an_empty_prompt_what_was_dropped_is_never_called_real(self):
        prompt, texts = NegativePrompt(5, 8), torch.randn(3, 5, 8)
        told = prompt(texts, torch.tensor([Kind.REAL, Kind.NEGATIVE, Kind.ANY]))
        assert torch.equal(told[0], texts[0])
        assert torch.equal(told[1:], prompt.embeds(2))

    def test_where_there_is_no_class_embedding_the_error_says_what_to_call(self):
        with pytest.raises(ValueError, match="UNet2DConditionModel is told by text; train it with text_training_loss"):
            training_loss(text_unet(), DDPMScheduler(), self.images, self.images)

    def test_the_pipelines_guidance_moves_away_from_it(self):
        # What StableDiffusionPipeline computes from negative_prompt_embeds is our formula at guidance_scale = 1 + s.
        text, negative, scale = *torch.randn(2, 4), 1.5
        assert torch.allclose(negative + (1 + scale) * (text - negative), nda.guidance.guide(text, negative, scale))

    def test_bad_prompts_are_named(self):
        with pytest.raises(ValueError, match=r"prompt_embeds must be \(B, 5, 8\)"):
            NegativePrompt(5, 8)(torch.zeros(2, 4, 8), torch.zeros(2))


@pytest.mark.skipif(find_spec("transformers") is None, reason="StableDiffusionPipeline imports transformers")
def test_a_text_pipeline_moves_away_from_the_learned_prompt():
    from diffusers import AutoencoderKL, StableDiffusionPipeline

    model, scheduler, prompt = text_unet().eval(), DDIMScheduler(clip_sample=False), NegativePrompt(tokens=5, width=8)
    parts = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    decoder = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=3)
    pipeline = StableDiffusionPipeline(
        vae=decoder, unet=model, scheduler=scheduler, requires_safety_checker=False, **parts
    )
    texts, noise = torch.randn(2, 5, 8), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        given = {"prompt_embeds": texts, "negative_prompt_embeds": prompt.embeds(batch=2)}
        once = {"num_inference_steps": 1, "latents": noise, "output_type": "latent"}
        latents = pipeline(**given, **once, guidance_scale=2.5).images
        (step,) = scheduler.timesteps
        real, negative = (
            model(noise, step, encoder_hidden_states=each).sample for each in (texts, prompt.embeds(batch=2))
        )
        expected = scheduler.step(guide(real, negative, 1.5), step, noise).prev_sample
    torch.testing.assert_close(latents, expected)


def test_a_scheduler_with_karras_noise_samples_as_well():
    assert sample(GuidedModel(unet().eval(), 1.0), EulerDiscreteScheduler(use_karras_sigmas=True)).isfinite().all()


class TestUnconditionalExample:
    """train_unconditional.py of the library's repository, which DIFFUSERS_SRC names, with the patch of our page."""

    def test_the_patch_is_at_most_ten_lines(self):
        lines = PAGE.read_text().split("```diff")[1].split("```")[0].splitlines()
        assert sum(line.startswith("+") for line in lines) <= 10
        assert len(patch_of(PAGE.read_text())) == 7

    def test_it_trains_samples_and_saves(self, tmp_path):
        if "DIFFUSERS_SRC" not in os.environ:
            pytest.skip("DIFFUSERS_SRC names no checkout")
        example = Path(os.environ["DIFFUSERS_SRC"]) / "examples/unconditional_image_generation/train_unconditional.py"
        script = tmp_path / "train.py"
        script.write_text(apply(patch_of(PAGE.read_text()), example.read_text()))
        (tmp_path / "images").mkdir()
        for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)):
            Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        unet(None).save_config(tmp_path / "tiny")
        words = f"--train_data_dir={tmp_path}/images --output_dir={tmp_path}/out --cache_dir={tmp_path}/cache "
        words += f"--model_config_name_or_path={tmp_path}/tiny --resolution=8 --train_batch_size=2 --num_epochs=1 "
        words += "--eval_batch_size=2 --ddpm_num_inference_steps=2 --lr_warmup_steps=0 --use_ema"
        command = [sys.executable, str(script), *words.split()]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "out/unet/config.json").read_text())["num_class_embeds"] == 3
        saved = GuidedModel(UNet2DModel.from_pretrained(tmp_path / "out", subfolder="unet"), scale=1.0)
        assert sample(saved, DDPMScheduler()).isfinite().all()
