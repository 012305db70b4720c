"""Negatives in PyTorch-StudioGAN, without a change to its files.

Three ways in, from the inside out: :func:`attach` gives a worker negatives; :func:`NDAWorker` and
:func:`NDAConfigurations` make of StudioGAN's own classes ones that read three more keys from the YAML file; and the
launcher does all of it from the command line::

    python -m nda_augment.adapters.studiogan --studiogan PyTorch-StudioGAN -- -t -cfg SNGAN-NDA.yaml -data data

What stands after ``--`` is for StudioGAN. The keys, with their defaults::

    AUG:
      apply_nda: false
      nda_policy: "jigsaw"
    LOSS:
      nda_fake_weight: 0.75
      nda_weights: {}

With ``nda_weights: {fake: 0.7, jigsaw: 0.1, wrong_label: 0.2}`` there are several kinds of negatives, each a policy or
``wrong_label``, and the other two of ``nda_`` are not used.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

from nda_augment.losses.any_loss import with_negatives
from nda_augment.losses.gan import FAKE_WEIGHT
from nda_augment.losses.gap_watch import GapWatch
from nda_augment.losses.kinds import FAKE, Weights
from nda_augment.transforms import NegativeTransform, OtherClass

from ._gan import Kind, Weighed, as_kinds, make_kind, warn_undone

_KEYS = ("LOSS.nda_fake_weight", "LOSS.nda_weights")
_TOLD = ("PD", "SPD", "MD", "MH")  # values of d_cond_mtd with which the adversarial logit depends on the class
_WRONG_LABEL = "wrong_label"  # of LOSS.nda_weights: the kind that is no policy

# What StudioGAN's augmentation types consist of, by the names of ADA and DiffAugment.
_CR = frozenset({"xflip", "translation"})
_BLIT = frozenset({"xflip", "rotate90", "xint"})
_GEOM = frozenset({"rotate", "xfrac"})
_OPERATIONS = {
    "cr": _CR,
    "bcr": _CR,
    "diffaug": frozenset({"translation", "cutout"}),
    "simclr_hq_cutout": frozenset({"xflip", "cutout"}),
    "blit": _BLIT,
    "geom": _GEOM,
    "cutout": frozenset({"cutout"}),
    **dict.fromkeys(("bg", "bgc", "bgcf", "bgcfn"), _BLIT | _GEOM),
    "bgcfnc": _BLIT | _GEOM | {"cutout"},
}


def attach(
    worker: Any,
    negatives: NegativeTransform | str | Mapping[str, Kind | str],
    fake_weight: float | None = None,
    *,
    weights: Weights | None = None,
) -> "Attachment":
    """Give a worker negatives: from now on its discriminator minimises ``L_real + λ · L_fake + (1 − λ) · L_negative``.

    Every ``L`` is the worker's own, whichever its ``adv_loss``; the multi-hinge loss too. Negatives are made of the
    clean real images, then meet the augmentation that real and generated images meet, and have a discriminator pass
    of their own with the labels of their images. All other terms (classification, consistency, gradient penalties,
    LeCam) and the generator's step see real and generated images only.

    Args:
        worker: A StudioGAN ``WORKER``, or an object with its attributes ``Dis``, ``LOSS``, ``AUG``, ``PRE`` and
            ``adc_fake``.
        negatives: A transform, or a policy string such as ``"jigsaw,stitch"``; or several kinds, by name, each with
            a discriminator pass of its own. :class:`~nda_augment.OtherClass` is a kind too: real images with a wrong
            label. One that is :class:`~nda_augment.Generated` by a history is left out until the first snapshot.
        fake_weight: λ, in (0, 1], with negatives of one kind; 3/4 unless given. 1 is StudioGAN itself: no further pass,
            no random draw, the same numbers bit for bit.
        weights: Share of generated images (``"fake"``) and of each kind, with several kinds; they sum to 1.

    Returns:
        The attachment, also found as ``worker.nda``; its ``fake_weight``, or its ``weights``, can be set during
        training, and ``gaps`` holds the last gap of each kind for a log.

    Raises:
        TypeError: If ``negatives`` is neither a transform nor a string, nor a mapping to them.
        ValueError: If the worker has negatives already, a policy cannot be read, λ is out of bounds, weights do not
            fit the kinds, or a kind is an :class:`~nda_augment.OtherClass` where the logits do not depend on the label.

    Warns:
        UserWarning: If an augmentation of the worker shows as real what a negative shows as not real; and, once, if the
            logits of real images stay below those of negatives.

    Example:
        >>> from types import SimpleNamespace as Section
        >>> class Discriminator(nn.Linear):
        ...     def forward(self, x, label, eval=False, adc_fake=False):
        ...         return {"adv_output": super().forward(x.flatten(1)).squeeze(1), "label": label}
        >>> worker = Section(
        ...     Dis=Discriminator(48, 1), adc_fake=False, PRE=Section(apply_rflip=True),
        ...     LOSS=Section(adv_loss="wasserstein", d_loss=lambda real, fake, DDP: (fake - real).mean(),
        ...                  apply_cr=False, apply_bcr=False),
        ...     AUG=Section(series_augment=lambda images: images, apply_diffaug=False, apply_ada=False),
        ... )
        >>> attachment = attach(worker, "jigsaw,stitch", fake_weight=0.25)
        >>> real, fake, label = torch.rand(4, 3, 4, 4), torch.zeros(4, 3, 4, 4), torch.zeros(4, dtype=torch.long)
        >>> logits = [worker.Dis(worker.AUG.series_augment(x), label)["adv_output"] for x in (real, fake)]
        >>> loss = worker.LOSS.d_loss(*logits, DDP=False)  # of real images, generated images and negatives
        >>> detach(worker)

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021.
    """
    if hasattr(worker, "nda"):
        raise ValueError(f"the worker has negatives already ({worker.nda}); detach(worker) removes them")
    kinds, shares = as_kinds(negatives, fake_weight, weights)
    _check_labels_matter(worker, kinds)
    worker.nda = attachment = Attachment(worker, kinds, shares)
    warn_undone(attachment.kinds.values(), _operations(worker))
    return attachment


def detach(worker: Any) -> None:
    """Take a worker's negatives away and leave it as it was before :func:`attach`.

    Args:
        worker: A worker that went through :func:`attach`.

    Raises:
        ValueError: If it has no negatives.
        RuntimeError: If something else has since taken the place of its loss or augmentation.
    """
    if not hasattr(worker, "nda"):
        raise ValueError("the worker has no negatives; attach(worker, negatives) gives it some")
    worker.nda.remove()
    del worker.nda


def _nothing() -> None:
    """Stand for a reference to a tensor that was freed."""


# A tensor if it is still there; and the images behind logits, before augmentation, with their labels.
_Reference = Callable[[], Tensor | None]
_Origin = tuple[_Reference, _Reference]
_UNKNOWN: _Origin = (_nothing, _nothing)


class Attachment(Weighed):
    """What :func:`attach` puts on a worker: a hook on its discriminator, a loss and an augmentation in their place.

    The loss is given logits only. To make negatives of the images behind them it follows the real logits back, to the
    call of the discriminator that returned them and from there to the images before augmentation. What hook and
    augmentation remember are weak references: no image and no graph lives longer than the worker lets it.

    Attributes:
        gaps: Mean real logit minus mean logit of each kind, detached, of the last step that had it; none with MH.
    """

    def __init__(self, worker: Any, kinds: Mapping[str, Kind], weights: Weights) -> None:
        super().__init__(kinds, weights)
        self.gaps: dict[str, Tensor] = {}
        self._worker = worker
        self._stock_loss: Callable[..., Tensor] = worker.LOSS.d_loss
        self._stock_augment: Callable[[Tensor], Tensor] = worker.AUG.series_augment
        self._sources: MutableMapping[Tensor, _Reference] = WeakTensorKeyDictionary()
        self._origins: MutableMapping[Tensor, _Origin] = WeakTensorKeyDictionary()
        self._last_real = _UNKNOWN
        self._watches: defaultdict[str, GapWatch] = defaultdict(GapWatch)

        self._loss = self._multi_hinge if worker.LOSS.adv_loss == "MH" else self._separable
        self._augment = _PassThrough(self._stock_augment, self._remember_source)
        worker.LOSS.d_loss, worker.AUG.series_augment = self._loss, self._augment
        # On the outermost module, which may be DistributedDataParallel: its outputs are what the loss is given.
        self._handle = worker.Dis.register_forward_hook(self._remember_origin, with_kwargs=True)

    def remove(self) -> None:
        """Put the worker's own loss and augmentation back; see :func:`detach`."""
        worker = self._worker
        if worker.LOSS.d_loss != self._loss or worker.AUG.series_augment is not self._augment:
            raise RuntimeError(
                "something else has taken the place of worker.LOSS.d_loss or worker.AUG.series_augment since attach; "
                "undo that first"
            )
        worker.LOSS.d_loss, worker.AUG.series_augment = self._stock_loss, self._stock_augment
        self._handle.remove()

    def _separable(self, real_logits: Tensor, fake_logits: Tensor, **kwargs: Any) -> Tensor:
        """Stand for a loss ``d_loss(real, fake)``."""
        stock = partial(self._stock_loss, **kwargs)
        negatives = self._negative_logits(self._origins.get(real_logits, _UNKNOWN), real_logits)
        return with_negatives(stock, real_logits, fake_logits, negatives, weights=self.weights)

    def _multi_hinge(self, adv_output: Tensor, label: Tensor, **kwargs: Any) -> Tensor:
        """Stand for the loss of MHGAN, which is called for real images first, then with one label for all fakes."""
        if label is not self._worker.lossy:
            self._last_real = self._origins.get(adv_output, _UNKNOWN)
            return self._stock_loss(adv_output, label, **kwargs)

        def stock(label: Tensor, logits: Tensor) -> Tensor:
            return self._stock_loss(logits, label, **kwargs)

        negatives = self._negative_logits(self._last_real, None)
        return with_negatives(stock, label, adv_output, negatives, weights=self.weights)

    def _negative_logits(self, origin: _Origin, real_logits: Tensor | None) -> dict[str, Callable[[], Tensor | None]]:
        """Return a function for each kind, called where it has a weight."""
        return {name: partial(self._logits_of, name, origin, real_logits) for name in self.kinds}

    def _logits_of(self, name: str, origin: _Origin, real_logits: Tensor | None) -> Tensor | None:
        images, labels = (reference() for reference in origin)
        if images is None or labels is None:
            raise RuntimeError(
                "cannot find the images behind the real logits: worker.LOSS.d_loss must be given what worker.Dis "
                "returned for images that passed worker.AUG.series_augment, and those must still be there"
            )
        made = make_kind(self.kinds[name], images, labels)
        if made is None:
            return None
        negatives, told = self._stock_augment(made[0]), made[1]
        logits: Tensor = self._worker.Dis(negatives, told, adc_fake=self._worker.adc_fake)["adv_output"]
        if real_logits is not None:
            self.gaps[name] = real_logits.detach().mean() - logits.detach().mean()
            self._watches[name].update(self.gaps[name])
        return logits

    def _remember_source(self, images: Tensor, augmented: Tensor) -> None:
        self._sources[augmented] = TensorWeakRef(images)

    def _remember_origin(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: dict[str, Any]) -> None:
        augmented, labels = (*args, *kwargs.values())[:2]
        self._origins[output["adv_output"]] = self._sources.get(augmented, _nothing), TensorWeakRef(labels)


class _PassThrough:
    """An augmentation that tells what it was given and what it made of it, and is the original in all else."""

    def __init__(self, stock: Callable[[Tensor], Tensor], tell: Callable[[Tensor, Tensor], None]) -> None:
        vars(self).update(stock=stock, tell=tell)

    def __call__(self, images: Tensor) -> Tensor:
        augmented: Tensor = vars(self)["stock"](images)
        vars(self)["tell"](images, augmented)
        return augmented

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["stock"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["stock"], name, value)


def _operations(worker: Any) -> frozenset[str]:
    """Return what the worker's augmentations are made of."""
    aug, loss = worker.AUG, worker.LOSS
    types = [
        aug.diffaug_type if aug.apply_diffaug else None,
        aug.ada_aug_type if aug.apply_ada else None,
        aug.cr_aug_type if loss.apply_cr else None,
        aug.bcr_aug_type if loss.apply_bcr else None,
    ]
    found: frozenset[str] = frozenset().union(*(_OPERATIONS.get(kind, ()) for kind in types if kind))
    return found | {"xflip"} if worker.PRE.apply_rflip else found


@cache
def NDAWorker(base: type) -> type:  # noqa: N802 - it stands for the class that it makes
    """Make a worker class that attaches the negatives of its configuration to itself.

    Args:
        base: StudioGAN's ``worker.WORKER``.

    Returns:
        A subclass, the same one at every call. Use it as ``loader.WORKER = NDAWorker(loader.WORKER)``, with
        configurations of :func:`NDAConfigurations`.

    Example:
        >>> from types import SimpleNamespace as Section
        >>> class WORKER:
        ...     def __init__(self, cfgs):
        ...         self.AUG, self.LOSS = cfgs.AUG, cfgs.LOSS
        >>> plain = NDAWorker(WORKER)(cfgs=Section(AUG=Section(apply_nda=False), LOSS=Section()))
        >>> isinstance(plain, WORKER), hasattr(plain, "nda")
        (True, False)
    """

    class NDAWorker(base):  # type: ignore[misc]  # known at run time only
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if not hasattr(self.AUG, "apply_nda"):
                raise AttributeError(
                    "the configuration has no AUG.apply_nda; read it with NDAConfigurations(config.Configurations)"
                )
            if self.AUG.apply_nda:
                attach(self, **_settings(self))

        def log_train_statistics(self, *args: Any, **kwargs: Any) -> Any:
            logged = super().log_train_statistics(*args, **kwargs)
            gaps = getattr(self, "nda", None) and self.nda.gaps
            if gaps:
                told = ", ".join(f"{name} {gap.item():.3f}" for name, gap in gaps.items())
                self.logger.info(f"NDA, mean real minus mean negative logit: {told}")
            return logged

    return NDAWorker


@cache
def NDAConfigurations(base: type) -> type:  # noqa: N802 - it stands for the class that it makes
    """Make a configuration class that knows ``AUG.apply_nda``, ``AUG.nda_policy`` and the two keys of ``LOSS``.

    Args:
        base: StudioGAN's ``config.Configurations``.

    Returns:
        A subclass, the same one at every call. ``check_compatability`` also checks the keys. Its instances
        pickle, and are restored in processes that can import ``base``.

    Example:
        >>> from types import SimpleNamespace as Section
        >>> class Configurations:
        ...     def __init__(self):
        ...         self.load_base_cfgs()
        ...     def load_base_cfgs(self):
        ...         self.AUG, self.LOSS = Section(), Section()
        >>> cfgs = NDAConfigurations(Configurations)()
        >>> cfgs.AUG.apply_nda, cfgs.AUG.nda_policy, cfgs.LOSS.nda_fake_weight
        (False, 'jigsaw', 0.75)
    """

    class NDAConfigurations(base):  # type: ignore[misc]  # known at run time only
        def load_base_cfgs(self) -> None:
            super().load_base_cfgs()
            self.AUG.apply_nda = False
            self.AUG.nda_policy = "jigsaw"
            self.LOSS.nda_fake_weight = FAKE_WEIGHT
            self.LOSS.nda_weights = {}

        def check_compatability(self) -> None:
            super().check_compatability()
            if self.AUG.apply_nda:
                settings = _settings(self)
                _check_labels_matter(self, as_kinds(**settings, names=_KEYS)[0])

        def __reduce__(self) -> tuple[Any, ...]:
            # By name, since the launcher puts this class in the place of its base.
            return _restore, (base.__module__, base.__qualname__, vars(self))

    return NDAConfigurations


def _check_labels_matter(owner: Any, kinds: Mapping[str, Kind]) -> None:
    """Refuse real images with a wrong label where the adversarial logit is the same with any: they would be fakes."""
    method = getattr(getattr(owner, "MODEL", None), "d_cond_mtd", None)
    for name, kind in kinds.items():
        if isinstance(kind, OtherClass) and method not in (None, *_TOLD):
            raise ValueError(
                f"{name!r} shows real images with another class, but with d_cond_mtd={method} the discriminator's "
                f"logits do not depend on the class; that is so with {', '.join(_TOLD)}"
            )


def _settings(owner: Any) -> dict[str, Any]:
    """Return the arguments of :func:`attach` that the configuration of a worker asks for."""
    weights = owner.LOSS.nda_weights
    if not weights:
        return {"negatives": owner.AUG.nda_policy, "fake_weight": owner.LOSS.nda_fake_weight, "weights": None}
    kinds: dict[str, Kind | str] = {name: name for name in weights if name != FAKE}
    if _WRONG_LABEL in kinds:
        kinds[_WRONG_LABEL] = OtherClass(owner.DATA.num_classes)
    return {"negatives": kinds, "fake_weight": None, "weights": weights}


def _restore(module: str, name: str, state: dict[str, Any]) -> Any:
    cls: Any = NDAConfigurations(getattr(import_module(module), name))
    configurations = cls.__new__(cls)
    vars(configurations).update(state)
    return configurations


def load_worker(local_rank: int, cfgs: Any, gpus_per_node: int, run_name: str, hdf5_path: str | None) -> None:
    """Do what StudioGAN's ``loader.load_worker`` does, with the worker of :func:`NDAWorker`.

    A process started by ``torch.multiprocessing.spawn`` imports everything again; what its parent has put in the place
    of ``loader.WORKER`` is unknown to it. So this function goes there, and puts it in place again.

    Args:
        local_rank: Number of the process on its machine, as StudioGAN counts.
        cfgs: Made by :func:`NDAConfigurations`.
        gpus_per_node: Number of GPUs of a machine.
        run_name: Name of the run, as StudioGAN makes it.
        hdf5_path: Path of the data as HDF5, or ``None``.
    """
    loader = import_module("loader")
    with _in_place_of(loader, "WORKER", NDAWorker(loader.WORKER)):
        loader.load_worker(
            local_rank=local_rank, cfgs=cfgs, gpus_per_node=gpus_per_node, run_name=run_name, hdf5_path=hdf5_path
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run StudioGAN with negatives; see the module for the command line.

    Args:
        arguments: The command line, that of the process by default.

    Raises:
        SystemExit: If the arguments make no sense.
        ImportError: If StudioGAN, or a library of its, cannot be imported.
    """
    parser = argparse.ArgumentParser("python -m nda_augment.adapters.studiogan", description=__doc__.split("\n")[0])
    parser.add_argument("--studiogan", type=Path, required=True, metavar="DIR", help="a checkout of PyTorch-StudioGAN")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="-- ...", help="arguments of StudioGAN's main.py")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--" not in words and not {"-h", "--help"} & set(words):
        parser.error("arguments of StudioGAN come after --, such as: --studiogan DIR -- -t -cfg FILE.yaml -data DIR")
    given = parser.parse_args(words)
    source = (given.studiogan / "src").resolve()
    if not (source / "main.py").is_file():
        parser.error(f"--studiogan: {given.studiogan} is no checkout of PyTorch-StudioGAN, it has no src/main.py")
    # First of all places, since the names of its modules (config, utils, models) are anybody's.
    sys.path.insert(0, str(source))
    studiogan, config = _import_studiogan("main"), _import_studiogan("config")
    rest = given.rest[1:] if given.rest[:1] == ["--"] else given.rest
    with (
        _in_place_of(sys, "argv", [str(source / "main.py"), *rest]),
        _in_place_of(config, "Configurations", NDAConfigurations(config.Configurations)),
    ):
        cfgs, gpus_per_node, run_name, hdf5_path, rank = studiogan.load_configs_initialize_training()
    if cfgs.RUN.distributed_data_parallel and cfgs.OPTIMIZATION.world_size > 1:
        torch.multiprocessing.set_start_method("spawn", force=True)
        spawn(load_worker, (cfgs, gpus_per_node, run_name, hdf5_path), nprocs=gpus_per_node)  # type: ignore[no-untyped-call]
    else:
        load_worker(rank, cfgs, gpus_per_node, run_name, hdf5_path)


def _import_studiogan(module: str) -> Any:
    try:
        return import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        raise ImportError(
            f"StudioGAN's {module}.py could not be imported ({error}). It needs: pip install tqdm h5py matplotlib "
            'pandas scikit-learn scipy seaborn wandb PyYAML timm "setuptools<81", the last for pkg_resources'
        ) from error


@contextmanager
def _in_place_of(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


if __name__ == "__main__":
    # Not this module's own main: what is sent to other processes must be found there under the module's name.
    import_module("nda_augment.adapters.studiogan").main()
