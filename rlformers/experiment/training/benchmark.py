"""`rlformers benchmark`: measures how fast training is on this machine.

It times the program of `rlformers train`: acting and learning of all seeds. It leaves out logs,
checkpoints and evaluations, which are rare and run in the background. Other programs on the machine
slow it down. Therefore the best of several repetitions counts, and the table also shows CPU time,
which others change less.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from rlformers.config import ExperimentConfig
from rlformers.config.overrides import parse
from rlformers.cores.cost import num_floats
from rlformers.errors import UserError
from rlformers.experiment.program.build import check
from rlformers.experiment.program.compiled_update import compile_update
from rlformers.experiment.program.devices import device_name
from rlformers.experiment.run_files.provenance import versions
from rlformers.experiment.run_files.run_dir import write_json
from rlformers.experiment.sweeps.multirun import expand

CORES = "core=gru,s5,gtrxl"
REPETITIONS = 5
LEAST_SECONDS = 0.5  # a repetition makes enough updates to take this long

# Columns of the table: heading, key of a row, format.
COLUMNS = (
    ("steps/s", "steps_per_second", ",.0f"),
    ("CPU s/1e6 steps", "cpu_seconds_per_million_steps", ",.1f"),
    ("s/update", "update_seconds", ".4f"),
    ("compile s", "compile_seconds", ".1f"),
    ("parameters", "num_parameters", ",d"),
    ("state", "state_size", ",d"),
)


def benchmark(words: Sequence[str], out: Path | None = None) -> Iterator[str]:
    """Measure, and yield each line of the table as soon as it is known.

    Args:
        words: The words of a sweep, `core=gru,s5 ppo.num_envs=256`. Without a core, it measures
            three different ones.
        out: A JSON file for the numbers with all digits.

    Raises:
        UserError: As in `compose`, before anything compiles; or `out` cannot be written.
    """
    if out is not None and not out.parent.is_dir():
        raise UserError(f"benchmark: --json {out}: there is no directory {out.parent}")
    words = [*words, *([] if any(word.startswith("core=") for word in words) else [CORES])]
    jobs, _ = expand(parse(words))
    for job in jobs:
        check(job.config)
    config = jobs[0].config
    about = {"device": device_name(), "env": config.env, "versions": versions()}
    yield f"{about['device']}; jax {jax.__version__}; {config.env}, steps of all seeds together"
    width = max(len(job.name) for job in jobs) + 2
    yield " " * width + "".join(f"{heading:>17}" for heading, _, _ in COLUMNS)
    rows = []
    for job in jobs:
        rows.append({"name": job.name, "core": job.config.core.name} | measure(job.config))
        yield f"{job.name:{width}}" + "".join(f"{rows[-1][key]:>17{form}}" for _, key, form in COLUMNS)
    if out is not None:
        write_json(out, {"about": about, "rows": rows}, indent=1)
        yield str(out)


def measure(config: ExperimentConfig, repetitions: int = REPETITIONS, least: float = LEAST_SECONDS) -> dict[str, Any]:
    """The numbers of one configuration.

    Args:
        config: Its learner and environment are measured. Its total_steps and run_dir do not matter.
        repetitions: Number of repetitions, of which the best counts.
        least: Least duration of a repetition in seconds.
    """
    compiled = compile_update([config])
    states, _ = jax.block_until_ready(compiled.update(compiled.init(compiled.keys)))  # the first update allocates
    count, taken = 1, list[tuple[float, float]]()
    while len(taken) < repetitions:
        begin, cpu = time.perf_counter(), _cpu_seconds()
        for _ in range(count):
            states, _ = compiled.update(states)
        jax.block_until_ready(states)
        wall, cpu = time.perf_counter() - begin, _cpu_seconds() - cpu
        if wall < least:
            count = max(2 * count, int(count * least / max(wall, 1e-6)) + 1)
        else:
            taken.append((wall / count, cpu / count))
    update_seconds, cpu_seconds = (min(times) for times in zip(*taken, strict=True))
    steps = config.batch_size * config.seeds
    return {
        "steps_per_second": steps / update_seconds,
        "cpu_seconds_per_million_steps": cpu_seconds / steps * 1e6,
        "update_seconds": update_seconds,
        "compile_seconds": compiled.seconds,
        "num_parameters": sum(x.size for x in jax.tree.leaves(compiled.one.agent)) // config.seeds,
        "state_size": num_floats(compiled.one.memory) // (config.seeds * config.ppo.num_envs),
        "seeds": config.seeds,
        "num_envs": config.ppo.num_envs,
        "num_steps": config.ppo.num_steps,
        "num_devices": len(compiled.devices),
    }


def _cpu_seconds() -> float:
    now = os.times()
    return now.user + now.system
