"""Whether this process is a fork of another one, and has not the threads that it had."""

import os

_forked = False


def is_forked() -> bool:
    """Tell whether this process was forked since this module was imported."""
    return _forked


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
