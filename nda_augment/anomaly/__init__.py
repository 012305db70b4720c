"""Anomaly detection with negatives: learn from normal images alone, score any.

Detectors with one interface, ``fit(loader)``, ``score(images)`` and, where there is one, ``heatmap(images)``: for
defects :class:`SegmentationDetector`, that of ``nda-augment detect``, for foreign objects :class:`ShiftDetector`, and
:class:`ClassifierDetector` and :class:`DiscriminatorDetector`; :func:`defect` and :func:`semantic` set two of them up.
:class:`DensityDetector` and :class:`PatchDetector` are baselines without negatives.

Training runs on Lightning Fabric: ``pip install "nda-augment[anomaly]"``. Import this module by name;
``import nda_augment`` leaves it out.

Example:
    >>> import torch
    >>> from nda_augment.anomaly import Encoder, Training, semantic
    >>> encoder = Encoder(channels=3, width=8)
    >>> detector = semantic(encoder, encoder.features, (16, 16), training=Training(epochs=1))
    >>> detector = detector.fit(torch.rand(64, 3, 16, 16).split(32))
    >>> detector.score(torch.rand(5, 3, 16, 16)).shape
    torch.Size([5])
"""

from nda_augment._networks import Encoder
from nda_augment.anomaly._training import Report, Training, Validation
from nda_augment.anomaly.backbones import Features, backbone
from nda_augment.anomaly.blemish import Blemish
from nda_augment.anomaly.classifier import ClassifierDetector
from nda_augment.anomaly.coreset import k_center_greedy
from nda_augment.anomaly.density import DensityDetector, GaussianDensity, ledoit_wolf
from nda_augment.anomaly.detector import Detector
from nda_augment.anomaly.discriminator import DiscriminatorDetector
from nda_augment.anomaly.files import load
from nda_augment.anomaly.measures import auroc, average_precision, per_region_overlap
from nda_augment.anomaly.patches import PatchDetector
from nda_augment.anomaly.pixels import Derivatives, PixelNet
from nda_augment.anomaly.places import usual_map
from nda_augment.anomaly.presets import defect, defect_negatives, rising_views, semantic, simclr_views
from nda_augment.anomaly.segmentation import SegmentationDetector
from nda_augment.anomaly.shifted import ShiftDetector
from nda_augment.anomaly.shifts import BANKS, corruptions, cut_perms, rotations
from nda_augment.anomaly.unet import UNet

__all__ = [
    "BANKS",
    "Blemish",
    "ClassifierDetector",
    "DensityDetector",
    "Derivatives",
    "Detector",
    "DiscriminatorDetector",
    "Encoder",
    "Features",
    "GaussianDensity",
    "PatchDetector",
    "PixelNet",
    "Report",
    "SegmentationDetector",
    "ShiftDetector",
    "Training",
    "UNet",
    "Validation",
    "auroc",
    "average_precision",
    "backbone",
    "corruptions",
    "cut_perms",
    "defect",
    "defect_negatives",
    "k_center_greedy",
    "ledoit_wolf",
    "load",
    "per_region_overlap",
    "rising_views",
    "rotations",
    "semantic",
    "simclr_views",
    "usual_map",
]
