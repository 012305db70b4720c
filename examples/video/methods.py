"""SimCLR and MoCo-v2 of ``examples.contrastive`` with an encoder, views and negatives of clips."""

from pytorch_lightning import LightningModule

import nda_augment as nda
from examples.common.data import Images
from examples.common.randomness import seeded
from examples.contrastive import methods
from examples.video.config import Config
from examples.video.encoder import make_encoder
from examples.video.views import Views


class ClipContrastive(methods.Contrastive):
    """What changes when images become clips; a negative is one draw for all frames of a clip.

    Attributes:
        backbone: Clips to features, the part that evaluation looks at.
        features: Number of features.
    """

    settings: Config

    def __init__(self, settings: Config, data: Images) -> None:
        # The parents' constructors would build what belongs to images.
        LightningModule.__init__(self)
        self.settings = settings
        self.data = data
        self.views = Views(settings.AUG, settings.DATA.img_size)  # type: ignore[assignment]
        self.nda_transform = nda.from_policy(settings.AUG.nda_policy) if settings.AUG.apply_nda else None
        self.backbone, self.features = make_encoder(settings.MODEL)


class SimCLR(methods.SimCLR, ClipContrastive):
    """Negatives pass through the encoder that is trained."""


class MoCo(methods.MoCo, ClipContrastive):
    """Negatives pass through the key encoder."""


METHODS: dict[str, type[MoCo] | type[SimCLR]] = {"moco": MoCo, "simclr": SimCLR}


def make(settings: Config, data: Images) -> MoCo | SimCLR:
    """Build the method with weights and queue that depend on the seed only."""
    method = METHODS[settings.MODEL.method]
    with seeded(settings.RUN.seed, "weights"):
        return method(settings, data)
