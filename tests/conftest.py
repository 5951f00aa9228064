"""Settings of every test."""

import os

# One thread per process: `make test` runs one worker per CPU core, and small matrices gain nothing from more.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("WANDB_MODE", "offline")
