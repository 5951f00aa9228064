"""Settings of every test."""

import os

# One thread per process: `make test` runs one worker per CPU core, and small matrices gain nothing from more.
FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

os.environ.setdefault("WANDB_MODE", "offline")


def pytest_configure(config):
    """Most of the time goes into compiling programs that run once: `make test` does that with little optimisation.

    `make test-all` compiles as users do.
    """
    os.environ.setdefault("XLA_FLAGS", FLAGS)
    if config.getoption("markexpr") == "not slow":
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
