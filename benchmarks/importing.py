"""What `import nda_augment` adds to `import torch, kornia`: time of the CPU, each time in a new process."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

LIMIT_MS = 200.0

_PROGRAM = """
import json, sys, time
start = time.process_time()
import torch, kornia
ready, before = time.process_time(), set(sys.modules)
import nda_augment
print(json.dumps([ready - start, time.process_time() - ready, sorted(set(sys.modules) - before)]))
"""


def measure() -> tuple[float, float, list[str]]:
    """Return the seconds of torch and kornia, the seconds that this package adds, and the modules that it adds."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    base, added, modules = json.loads(done.stdout)
    return base, added, modules


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one row: the medians of some processes, after one that warms the disk."""
    measure()
    base, added, modules = zip(*(measure() for _ in range(rounds)), strict=True)
    yield {
        "import": "nda_augment, after torch and kornia",
        "CPU ms": statistics.median(added) * 1e3,
        "at most": LIMIT_MS,
        "torch and kornia, CPU ms": statistics.median(base) * 1e3,
        "modules": len(modules[0]),
    }
