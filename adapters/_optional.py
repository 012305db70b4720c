"""What to say when the library of an adapter is missing or does not load."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def optional_import(library: str) -> Iterator[None]:
    """Turn the failed import of an adapter's library into an error that names the fix.

    A build of torchvision that does not match torch raises RuntimeError, a missing shared library OSError; for the
    user all of them mean the same.

    Args:
        library: Name of the library, which is also the name of this package's extra.

    Raises:
        ImportError: If the body raises ImportError, RuntimeError or OSError.

    Example:
        >>> with optional_import("torchvision"):
        ...     raise RuntimeError("operator torchvision::nms does not exist")
        Traceback (most recent call last):
        ...
        ImportError: nda_augment.adapters.torchvision needs torchvision, which could not be imported (operator \
torchvision::nms does not exist). Install it with: pip install "nda-augment[torchvision]"
    """
    try:
        yield
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError(
            f"nda_augment.adapters.{library} needs {library}, which could not be imported ({error}). "
            f'Install it with: pip install "nda-augment[{library}]"'
        ) from error
