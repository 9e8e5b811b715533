"""What all tests share: no network, no cache outside the test run, two threads at most."""

import contextlib
import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Nothing is read from or written to the caches of whoever runs the tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("GFNET_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("GFNET_BENCH_DATA", "GFNET_BENCH_PLUGINS"):
        patch.delenv(name, raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def one_thread():
    """Networks as small as those of `mini` wait for a second thread longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def photographs():
    """The folder of real photographs and weights, for tests marked `data`."""
    folder = os.environ.get("GFNET_BENCH_TEST_DATA")
    if not folder:
        pytest.skip("GFNET_BENCH_TEST_DATA does not name the folder of real photographs and weights")
    return Path(folder).resolve()


@pytest.fixture
def holding():
    """`holding(registry, name, thing)`: as long as the test runs, a name stands for that, or for nothing (None)."""
    with contextlib.ExitStack() as stack:
        yield lambda registry, name, thing: stack.enter_context(registry.holding(name, thing))


def pytest_runtest_setup(item):
    """Tests marked `gpu` need one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
