"""Settings of every test."""

import gc
import os
import sys
from itertools import count
from pathlib import Path

import pytest

# One thread per process: `make test` runs one worker per CPU core, and small matrices gain nothing from more.
FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
FINISHED = count(1)  # tests of this process
MAPS = Path("/proc/self/maps")

os.environ.setdefault("WANDB_MODE", "offline")


def pytest_configure(config):
    """Most of the time goes into compiling programs that run once: `make test` does that with little optimisation.

    `make test-all` compiles as users do.
    """
    os.environ.setdefault("XLA_FLAGS", FLAGS)
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # nobody reads these programs: 3 % of the time
    if config.getoption("markexpr") == "not slow":
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def pytest_collection_finish():
    """The collector of garbage need not look at what was imported and collected: 3 % of the time."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What a module makes once for its tests, it makes once: those that use it run in one worker."""
    for item in items:
        shared = any(fixtures[-1].scope == "module" for fixtures in item._fixtureinfo.name2fixturedefs.values())
        if shared and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


def pytest_runtest_teardown():
    """Every compiled program takes some of the 65530 mappings that Linux allows a process. LLVM crashes without any.

    The kernel takes 20 ms to list them, so not after each test.
    """
    due = next(FINISHED) % 10 == 0 and "jax" in sys.modules and MAPS.exists()
    if due and MAPS.read_bytes().count(b"\n") > 40_000:
        sys.modules["jax"].clear_caches()
