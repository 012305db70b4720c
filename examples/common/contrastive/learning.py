"""Train and evaluate a contrastive method, of images or clips; what a run writes is said in ``fitting.py``."""

from collections.abc import Callable, Mapping

from rich.console import Console

from examples.common.contrastive import methods
from examples.common.contrastive.evaluate import KNNAccuracy, measures
from examples.common.contrastive.methods import Parts
from examples.common.contrastive.sections import Config
from examples.common.data import Images, check_batch
from examples.common.fitting import Results, Training, first_process, fit

console = Console()


def learn(
    settings: Config,
    load: Callable[[], tuple[Images, Images]],
    parts: Callable[[], Parts],
    known: Mapping[str, type[methods.Contrastive]] = methods.METHODS,
) -> Results:
    """Train to ``OPTIMIZATION.epochs``, from the run's checkpoint if it has one, and evaluate.

    Args:
        settings: A checked config.
        load: Returns the training and the test images; without labels nothing is evaluated.
        parts: Makes the encoder and what goes with it.
        known: Methods by name.

    Returns:
        What ``results.json`` holds: ``evaluate.measures``, and the seconds of the last part of the training. Of several
        processes only the first evaluates.

    Raises:
        ConfigError: If the folder holds a run with other settings or on other images, the data cannot be read, or they
            do not fill a batch.
    """

    def begin() -> Training:
        training, test = load()
        check_batch(training, settings.OPTIMIZATION.batch_size)
        method = methods.make(settings, training, parts, known)
        labelled = training.labels is not None and test.labels is not None and len(test) > 0

        def evaluate() -> Results:
            if labelled:
                return measures(method.backbone, training, test, settings.EVAL, settings.RUN.seed)
            console.print("The images have no labels, or none is held out: nothing is evaluated")
            return {}

        return Training(method, evaluate, [KNNAccuracy(training, test, settings.EVAL)] if labelled else [])

    return fit(settings, begin)


def say(results: Results, settings: Config) -> None:
    """Say what a run found, and where it is."""
    if "linear" in results:
        console.print(f"kNN {results['knn']:.1%}, linear {results['linear']:.1%}")
    if first_process():
        console.print(f"Logs, checkpoint and results are in {settings.RUN.save_dir}")
