"""Losses that use negatives: logits or embeddings in, a scalar out.

``gan`` has the discriminator's and the generator's losses, ``kinds`` weighs several kinds of negatives in them,
``any_loss`` puts negatives into a discriminator loss of your own, ``gap_watch`` watches the logits, ``rumi`` is an
alternative to ``gan``. ``contrastive`` has the losses on embeddings, ``dense`` that on feature maps, with the
``options`` that they share; ``repulsion`` is for methods whose loss has no denominator, ``hard_negatives`` mixes
further negatives in feature space. ``one_class`` learns a single class, ``classification`` has the terms for a
classifier, ``mixed`` one for mixed images as positives, ``multi_head`` several heads that learn their temperatures.
Each loss is a function, with an ``nn.Module`` of the same settings. None knows where the negatives come from:
augmentation, another data set, a memory.
"""

from nda_augment.losses.any_loss import with_negatives
from nda_augment.losses.classification import (
    ClassificationLoss,
    NegativeTerm,
    classification_loss,
    probability_distance,
    uniform_cross_entropy,
)
from nda_augment.losses.contrastive import (
    DCLLoss,
    InfoNCELoss,
    NTXentLoss,
    SupConLoss,
    dcl,
    hardness,
    info_nce,
    negative_logits,
    nt_xent,
    sup_con,
)
from nda_augment.losses.dense import DenseInfoNCELoss, DenseProbabilities, dense_info_nce, dense_probabilities
from nda_augment.losses.diffusion import (
    denoising_loss,
    denoising_target,
    edm_loss,
    edm_weight,
    repulsion_from_negatives,
)
from nda_augment.losses.gan import (
    FAKE_WEIGHT,
    DiscriminatorLoss,
    DiscriminatorTerms,
    GANKind,
    GeneratorLoss,
    discriminator_loss,
    discriminator_terms,
    generator_loss,
)
from nda_augment.losses.gap_watch import GapWatch
from nda_augment.losses.hard_negatives import HardNegativeMixing, mix_hard_negatives
from nda_augment.losses.kinds import TermsOfKinds
from nda_augment.losses.mixed import DecoupledMixupLoss, decoupled_mixup
from nda_augment.losses.multi_head import AdaptiveMultiHead
from nda_augment.losses.one_class import CSILoss, UniCLRLoss, csi, uniclr
from nda_augment.losses.options import ContrastiveOptions, NegativeOptions, Scope
from nda_augment.losses.repulsion import RepulsionLoss, repulsion
from nda_augment.losses.rumi import (
    RumiDiscriminatorLoss,
    RumiGeneratorLoss,
    RumiKind,
    RumiLabels,
    rumi_discriminator_loss,
    rumi_generator_loss,
)

__all__ = [
    "FAKE_WEIGHT",
    "AdaptiveMultiHead",
    "CSILoss",
    "ClassificationLoss",
    "ContrastiveOptions",
    "DCLLoss",
    "DecoupledMixupLoss",
    "DenseInfoNCELoss",
    "DenseProbabilities",
    "DiscriminatorLoss",
    "DiscriminatorTerms",
    "GANKind",
    "GapWatch",
    "GeneratorLoss",
    "HardNegativeMixing",
    "InfoNCELoss",
    "NTXentLoss",
    "NegativeOptions",
    "NegativeTerm",
    "RepulsionLoss",
    "RumiDiscriminatorLoss",
    "RumiGeneratorLoss",
    "RumiKind",
    "RumiLabels",
    "Scope",
    "SupConLoss",
    "TermsOfKinds",
    "UniCLRLoss",
    "classification_loss",
    "csi",
    "dcl",
    "decoupled_mixup",
    "denoising_loss",
    "denoising_target",
    "dense_info_nce",
    "dense_probabilities",
    "discriminator_loss",
    "discriminator_terms",
    "edm_loss",
    "edm_weight",
    "generator_loss",
    "hardness",
    "info_nce",
    "mix_hard_negatives",
    "negative_logits",
    "nt_xent",
    "probability_distance",
    "repulsion",
    "repulsion_from_negatives",
    "rumi_discriminator_loss",
    "rumi_generator_loss",
    "sup_con",
    "uniclr",
    "uniform_cross_entropy",
    "with_negatives",
]
