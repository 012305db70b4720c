"""The options of the contrastive losses: declared, defaulted and checked once for functions, modules and adapters."""

from typing import Any, Literal, TypedDict, Unpack, cast, get_args

from nda_augment._checks import as_deviation, as_positive, check_word, hint_at

Scope = Literal["own", "batch"]
_SCOPES = get_args(Scope)  # torch 2.5 cannot trace the call


class NegativeOptions(TypedDict, total=False):
    """How a contrastive loss reads its negatives; what the losses of other libraries lack.

    Attributes:
        negative_scale: Factor α of the similarity to negatives, above 0; 1 unless given. It sharpens: where a
            similarity is below 0, a larger α makes the negative count *less*.
        negative_weight: Number of times that each negative counts in the denominator, above 0; 1 unless given. At 2
            the loss is that of every negative given twice.
        scope: Word that says which images see a negative. ``"own"``: the image that it was made of. ``"batch"``: all.
            ``"own"`` unless given, but ``"batch"`` in :func:`sup_con`.
        negative_gradient: Whether gradient flows into negatives. On unless given, but off in :func:`info_nce`, whose
            negatives stand on the side of the keys.
    """

    negative_scale: float
    negative_weight: float
    scope: Scope
    negative_gradient: bool


class ContrastiveOptions(NegativeOptions, total=False):
    """Keyword arguments of every contrastive loss, as a function and as a module.

    Attributes:
        temperature: Temperature τ, above 0, by which similarities are divided. Each loss has its own default.
        concentration: Strength β of the weighting towards hard negatives, 0 or more; 0, none, unless given. Candidates
            other than positives are weighted by ``exp(β s / τ)``, scaled to a mean of 1 (Robinson et al.,
            "Contrastive Learning with Hard Negative Samples", ICLR 2021, without their correction for classes).
        feature_modification: Strength ε of implicit feature modification, 0 or more; 0, none, unless given. The loss
            becomes ``(L + L_ε) / 2``, where ``L_ε`` has the positive's similarity lowered by ε and all others raised by
            ε, against shortcuts (Robinson et al., "Can contrastive learning avoid shortcut solutions?", NeurIPS 2021,
            with ε around 0.1).
        gather_distributed: Whether the candidates of all ranks are joined; off unless given.
    """

    temperature: float
    concentration: float
    feature_modification: float
    gather_distributed: bool


_DEFAULTS: ContrastiveOptions = {
    "temperature": 0.5,
    "negative_scale": 1.0,
    "negative_weight": 1.0,
    "concentration": 0.0,
    "feature_modification": 0.0,
    "scope": "own",
    "negative_gradient": True,
    "gather_distributed": False,
}


def complete(given: ContrastiveOptions, defaults: ContrastiveOptions | None = None) -> ContrastiveOptions:
    """Return all options: those given, then those of a loss, then those of all losses.

    Raises:
        TypeError: If an option is unknown; the message names the nearest known one.
        ValueError: If a number is out of range or ``scope`` is unknown.
    """
    for name in given:
        if name not in _DEFAULTS:
            known = ", ".join(_DEFAULTS)
            raise TypeError(f"a contrastive loss has options {known}, not {name!r}.{hint_at(name, _DEFAULTS)}")
    options: ContrastiveOptions = {**_DEFAULTS, **(defaults or {}), **given}
    as_positive(options["temperature"], "temperature")
    as_positive(options["negative_scale"], "negative_scale")
    as_positive(options["negative_weight"], "negative_weight")
    as_deviation(options["concentration"], "concentration")
    as_deviation(options["feature_modification"], "feature_modification")
    check_word(options["scope"], "scope", _SCOPES)
    return options


class KeepsOptions:
    """Keeps the options of a loss as attributes of a module, which a schedule may set during training."""

    def keep(self, defaults: ContrastiveOptions, **given: Unpack[ContrastiveOptions]) -> None:
        """Check the options and make them attributes."""
        for name, value in complete(given, defaults).items():
            setattr(self, name, value)

    @property
    def options(self) -> ContrastiveOptions:
        """The options as they are now, as the functional form takes them."""
        return cast(ContrastiveOptions, {name: getattr(self, name) for name in _DEFAULTS})

    def extra_repr(self) -> str:
        """The options, as in the constructor."""
        return describe(self.options)


def describe(settings: Any) -> str:
    """Settings as they are written in a constructor."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())
