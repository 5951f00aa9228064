"""Trains in forked processes, each of which a signal ends at a random moment, but for the last.

    python lives.py SEED '{"RUN_DIR": [SIGNAL, ...], ...}' train KEY=VALUE ...

does so for every run directory and prints its exit codes as JSON. A signal comes after a random number of further lines
in `metrics.jsonl`, one SIGKILL in five at a random moment of the start instead. Forking spares every life most of the
imports, but is sound only as long as jax has no backend; gymnax, whose import makes arrays, is left to the children.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import distrax  # noqa: F401
import equinox  # noqa: F401
import hydra  # noqa: F401
import jax._src.xla_bridge
import matplotlib.pyplot  # noqa: F401
import optax  # noqa: F401
import orbax.checkpoint  # noqa: F401
import seaborn  # noqa: F401


def lines(run_dir: Path) -> int:
    try:
        return (run_dir / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def live(arguments: list[str], number: int, run_dir: Path, rng: random.Random) -> int:
    """Train; after a random while, send signal `number` (0: none); return the exit code, negative for a signal's."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        from rlformers.command.main import main

        os._exit(main(arguments))
    os.close(write)
    with os.fdopen(read, "rb", buffering=0) as output:
        if number == signal.SIGKILL and rng.random() < 0.2:
            time.sleep(rng.uniform(0, 2))
            os.kill(pid, number)
        elif number:
            while (line := output.readline()) and b"steps" not in line:  # it trains
                pass
            goal = lines(run_dir) + rng.randint(10, 60)
            while lines(run_dir) < goal and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.002)
            os.kill(pid, number)
        output.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    assert not jax._src.xla_bridge._backends, "an import has started jax's threads, which a fork would lose"
    seed, plan, *arguments = sys.argv[1:]
    rng = random.Random(int(seed))
    codes = {
        run_dir: [live([*arguments, f"run_dir={run_dir}"], number, Path(run_dir), rng) for number in [*signals, 0]]
        for run_dir, signals in json.loads(plan).items()
    }
    print(json.dumps(codes))
