"""A DCGAN for 16 pixels, small enough for some ten milliseconds a step on one core."""

import copy
from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

LATENT = 64
_WIDTHS = (48, 24)  # of the generator, at 4 and 8 pixels
_D_WIDTHS = (16, 48)  # of the discriminator, at 8 and 4 pixels


def generator(channels: int) -> nn.Module:
    """Latents ``(B, LATENT)`` to images ``(B, channels, 16, 16)`` in [-1, 1]."""
    wide, narrow = _WIDTHS
    return nn.Sequential(
        nn.Linear(LATENT, wide * 16, bias=False),
        nn.BatchNorm1d(wide * 16, track_running_stats=False),
        nn.ReLU(),
        nn.Unflatten(1, (wide, 4, 4)),
        nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(narrow, track_running_stats=False),
        nn.ReLU(),
        nn.ConvTranspose2d(narrow, channels, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def discriminator(channels: int) -> nn.Module:
    """Images ``(B, channels, 16, 16)`` to logits ``(B,)``."""
    narrow, wide = _D_WIDTHS
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(narrow, wide, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(wide * 16, 1),
        nn.Flatten(0),
    )


class Lanes:
    """Networks of one shape with weights of their own, run side by side: five cost as much as three one by one.

    Attributes:
        weights: Each parameter of all networks, ``(lanes, ...)``.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.weights, _ = stack_module_state(list(networks))
        shape = copy.deepcopy(networks[0]).to("meta")

        def run(weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
            result: Tensor = functional_call(shape, weights, (inputs,))
            return result

        self._run = vmap(run)

    def __call__(self, inputs: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Run each network on its own inputs, ``(lanes, B, ...)``, with its own weights or with those given."""
        outputs: Tensor = self._run(self.weights if weights is None else weights, inputs)
        return outputs

    def frozen(self) -> dict[str, Tensor]:
        """Return the weights, without gradient."""
        return {name: weight.detach() for name, weight in self.weights.items()}
