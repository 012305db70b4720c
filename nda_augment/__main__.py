"""The ``nda-augment`` command, and ``python -m nda_augment``."""

import sys


def main() -> None:
    """Run the command line, or say in one line what it needs."""
    try:
        from nda_augment.cli import app
    except (ImportError, RuntimeError, OSError) as error:
        sys.exit(f'the command line needs its extra: pip install "nda-augment[cli]" ({error})')
    app(prog_name="nda-augment")


if __name__ == "__main__":
    main()
