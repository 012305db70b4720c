import os

import pytest
import torch
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.properties")

# Single-threaded, so that workers of pytest-xdist do not fight for the cores.
torch.set_num_threads(1)

# One derandomised profile: a red run is red again. NDA_EXAMPLES=200 searches longer.
settings.register_profile(
    "nda",
    max_examples=int(os.environ.get("NDA_EXAMPLES", "12")),
    deadline=None,
    derandomize=True,
    print_blob=True,
    # Mutation testing runs the suite several times in one process; without a database there is nothing to mix up.
    suppress_health_check=[HealthCheck.differing_executors],
)
settings.load_profile("nda")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA device")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test starts from the same global generator."""
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def every_compilation_starts_anew(request: pytest.FixtureRequest) -> None:
    """What other tests compiled counts towards the limit on recompilations."""
    if "compil" in request.node.name:
        torch._dynamo.reset()
