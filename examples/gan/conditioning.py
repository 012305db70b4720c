"""How a discriminator uses classes: what its head says of an image, and the loss that ties it to the label.

``W/O`` not at all; ``AC`` an auxiliary classifier (Odena et al. 2017); ``PD`` projection (Miyato & Koyama 2018); ``2C``
the conditional contrastive loss (Kang & Park 2020); ``D2DCE`` data-to-data cross-entropy (Kang et al. 2021); ``MH`` the
multi-hinge loss (Kavalerov et al. 2021).

What negatives do in each: they are judged with the label of the image they were made from (another label would be a
mismatch that is easy to see), and enter the adversarial loss alone. No class loss ever sees them, nor does the
similarity matrix of 2C and D2DCE. With MH, where the class loss *is* the adversarial one, they belong to the class
beyond the last, as generated images do.

Beside the class, or without, both players may be told the features of an instance (IC-GAN, Casanova et al. 2021); the
discriminator projects on them as ``PD`` does on the class, and negatives are judged with those of their source.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.common.data import Images


class Told(NamedTuple):
    """What players are told of a batch of images.

    Attributes:
        labels: ``(B,)``, their classes.
        features: ``(B, D)`` of the instances whose neighbours they are.
    """

    labels: Tensor | None = None
    features: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Told":
        """Change what there is."""
        return Told(*(None if each is None else change(each) for each in self))

    def where(self, chosen: Tensor, other: "Told") -> "Told":
        """What ``other`` says of the chosen images, bool ``(B,)``, and this of the rest."""
        return Told(
            *(
                mine if mine is None or theirs is None else torch.where(_column(chosen, mine), theirs, mine)
                for mine, theirs in zip(self, other, strict=True)
            )
        )


@dataclass(frozen=True)
class Batch(Images):
    """The real images of all processes.

    Attributes:
        features: ``(B, D)`` of the instances whose neighbours they are, in a run that has instances.
    """

    features: Tensor | None = None

    @property
    def told(self) -> Told:
        """What the discriminator is told of them."""
        return Told(self.labels, self.features)


class Judgement(NamedTuple):
    """What a discriminator says of images.

    Attributes:
        logits: ``(B,)``, high means real; with MH ``(B, classes + 1)``, the last for "not real".
        classes: Logits ``(B, classes)`` of the classifier of AC.
        embeddings: ``(B, E)`` of 2C and D2DCE.
        proxies: ``(B, E)`` of their labels.
        told: By family, which draw augmented the images, as AugSelf-GAN's head takes it.
    """

    logits: Tensor
    classes: Tensor | None = None
    embeddings: Tensor | None = None
    proxies: Tensor | None = None
    told: dict[str, Tensor] | None = None

    @property
    def realness(self) -> Tensor:
        """One logit per image ``(B,)``: with MH how far its best class is ahead of "not real"."""
        if self.logits.ndim == 1:
            return self.logits
        return self.logits[:, :-1].amax(dim=1) - self.logits[:, -1]


class Head(nn.Module):
    """Features ``(B, F)`` of images, and what is told of them, to a judgement.

    Args:
        features: F.
        method: ``W/O``, ``AC``, ``PD``, ``2C``, ``D2DCE`` or ``MH``.
        classes: Number of classes.
        embed_dim: Length of the embeddings of 2C and D2DCE.
        instance: Length of an instance's features; 0 without instances.
    """

    def __init__(self, features: int, method: str, classes: int, embed_dim: int, instance: int = 0) -> None:
        super().__init__()
        self.logits = nn.Linear(features, 1 + classes if method == "MH" else 1)
        self.classify = nn.Linear(features, classes, bias=False) if method == "AC" else None
        self.project = nn.Embedding(classes, features) if method == "PD" else None
        contrasts = method in ("2C", "D2DCE")
        self.embed = nn.Linear(features, embed_dim) if contrasts else None
        self.proxies = nn.Embedding(classes, embed_dim) if contrasts else None
        self.match = nn.Linear(instance, features) if instance else None

    def forward(self, features: Tensor, labels: Tensor | None, instances: Tensor | None = None) -> Judgement:
        """Judge a batch."""
        logits: Tensor = self.logits(features)
        if logits.shape[1] == 1:
            logits = logits.squeeze(1)
        if self.project is not None:
            logits = logits + (self.project(labels) * features).sum(dim=1)
        if self.match is not None:
            logits = logits + (self.match(instances) * features).sum(dim=1)
        return Judgement(
            logits,
            None if self.classify is None else self.classify(features),
            None if self.embed is None else self.embed(features),
            None if self.proxies is None else self.proxies(labels),
        )


def class_loss(
    judgement: Judgement, labels: Tensor | None, *, method: str, temperature: float, margin: float
) -> Tensor | None:
    """The loss of what a discriminator says of the classes, a scalar; ``None`` for methods that have none.

    Args:
        judgement: Of real images (discriminator) or of generated ones (generator); never of negatives.
        labels: ``(B,)``.
        method: As in :class:`Head`.
        temperature: Of the similarities of 2C and D2DCE.
        margin: m of D2DCE: pairs of a class count as one from a cosine of m on, others as apart up to 1 - m.
    """
    if judgement.classes is not None and labels is not None:
        return F.cross_entropy(judgement.classes, labels)
    if judgement.embeddings is None or judgement.proxies is None or labels is None:
        return None
    if method == "2C":
        return contrastive_loss(judgement.embeddings, judgement.proxies, labels, temperature)
    return cross_entropy_of_pairs(judgement.embeddings, judgement.proxies, labels, temperature, margin)


def contrastive_loss(embeddings: Tensor, proxies: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """ContraGAN's loss (Kang & Park 2020, eq. 8): near the proxy and the images of one's class, far from all others.

    The similarities are those within the batch of a process.

    Args:
        embeddings: ``(B, E)``.
        proxies: ``(B, E)``, of the labels.
        labels: ``(B,)``.
        temperature: Divides the cosines.
    """
    to_proxy, to_others = _similarities(embeddings, proxies)
    to_proxy, to_others = to_proxy / temperature, to_others / temperature
    same = labels.unsqueeze(1) == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    near = to_others.masked_fill(~same | itself, -torch.inf)
    anyone = to_others.masked_fill(itself, -torch.inf)
    numerator = torch.cat([to_proxy.unsqueeze(1), near], dim=1).logsumexp(dim=1)
    return (torch.cat([to_proxy.unsqueeze(1), anyone], dim=1).logsumexp(dim=1) - numerator).mean()


def cross_entropy_of_pairs(
    embeddings: Tensor, proxies: Tensor, labels: Tensor, temperature: float, margin: float
) -> Tensor:
    """ReACGAN's data-to-data cross-entropy (Kang et al. 2021, eq. 7), within the batch of a process.

    Args:
        embeddings: ``(B, E)``.
        proxies: ``(B, E)``, of the labels.
        labels: ``(B,)``.
        temperature: Divides the cosines.
        margin: A cosine of ``margin`` to the proxy is enough, and one of ``1 - margin`` to other classes is no fault.
    """
    to_proxy, to_others = _similarities(embeddings, proxies)
    easy = (to_proxy - margin).clamp(max=0) / temperature
    hard = (to_others - (1 - margin)).clamp(min=0) / temperature
    hard = hard.masked_fill(labels.unsqueeze(1) == labels, -torch.inf)
    return (torch.cat([easy.unsqueeze(1), hard], dim=1).logsumexp(dim=1) - easy).mean()


def multi_hinge(logits: Tensor, classes: Tensor) -> Tensor:
    """Crammer and Singer's hinge: the right class has to be ahead of every other by one.

    Args:
        logits: ``(B, K)``.
        classes: ``(B,)`` in [0, K).
    """
    right = F.one_hot(classes, logits.shape[1]).bool()
    best_wrong = logits.masked_fill(right, -torch.inf).amax(dim=1)
    ahead = logits.gather(1, classes.unsqueeze(1)).squeeze(1) - best_wrong
    return F.relu(1 - ahead).mean()


def _similarities(embeddings: Tensor, proxies: Tensor) -> tuple[Tensor, Tensor]:
    embeddings, proxies = F.normalize(embeddings.float()), F.normalize(proxies.float())
    return (embeddings * proxies).sum(dim=1), embeddings @ embeddings.T


def _column(chosen: Tensor, like: Tensor) -> Tensor:
    return chosen.view(-1, *(1,) * (like.ndim - 1))
