"""Sweeps in which a sweeper of Hydra, such as Optuna's, chooses the values of the next run from the returns so far.

The objective is the mean final return of a run. Every trial is a run of its own, in
`SWEEP_DIR/<number>`. The same command continues the sweep: a trial that computes the same as an
existing run continues it, or gets its return at once if it is finished. So a sweeper with a seed
reaches the point where it stopped.
"""

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override

from rlformers.config.compose import Composer
from rlformers.config.overrides import parse
from rlformers.errors import UserError
from rlformers.experiment.run_files.run_dir import is_new, locked
from rlformers.experiment.sweeps.checks import check_once
from rlformers.experiment.sweeps.hydra_settings import HydraSettings
from rlformers.experiment.sweeps.record import Job, Outcome, Sweep, create, results, summary_of
from rlformers.experiment.sweeps.worker import train_jobs
from rlformers.experiment.training.stop_request import Interrupted, StopRequest


def search(overrides: Sequence[Override], hydra: HydraSettings, command: Sequence[str]) -> Outcome:
    """Train the runs that a sweeper asks for.

    Args:
        overrides: Fixed values, and ranges and choices: `ppo.lr=interval(1e-4,1e-2)`,
            `core=gru,s5`.
        hydra: Hydra's settings, entered.
        command: The words, for the record.

    Raises:
        UserError: As in `compose`, for the first value of every choice; or the directory contains
            something else.
    """
    swept = [override for override in overrides if override.is_sweep_override()]
    if not swept:
        raise UserError("hydra/sweeper: no values to choose from; give some, e.g. ppo.lr=interval(1e-4,1e-2)")
    first = [_first(override) if override in swept else override for override in overrides]
    example = Composer()(first)
    check_once([Job("", example)])
    fixed = [str(override.input_line) for override in overrides if override not in swept]
    base = None if example.run_dir is None else Path(example.run_dir)
    if base is not None and base.exists() and not is_new(base):
        if not (base / "sweep.json").exists():
            raise UserError(
                f"run_dir: {base} exists and is not a sweep; nothing is ever overwritten; give another run_dir="
            )
        sweep = Sweep(base)
        if _but_run_dir(sweep.command) != _but_run_dir(command):
            raise UserError(
                f"run_dir: {base} is the sweep of another command: {' '.join(sweep.command)}; give another run_dir="
            )
        print(f"continuing the sweep in {base}; another run_dir= starts anew")
    else:
        sweep, _ = create([], base, command)
    with locked(sweep.directory):
        sweep.stop_file.unlink(missing_ok=True)
        task = partial(trial, fixed=fixed, directory=sweep.directory, process=os.getpid())
        words = [_renamed(str(override.input_line)) for override in swept]
        keys = [word.partition("=")[0].lstrip("+") for word in words]
        with StopRequest(announce=sweep.stop_file) as stop:
            try:
                hydra.launch(task, words, sweep.directory / "launcher", stop, keys)
            except Interrupted:
                again = f"the same command with run_dir={sweep.directory}"
                raise Interrupted(f"the sweep in {sweep.directory} is not finished; {again} continues it") from None
    return Outcome(sweep.directory, results(sweep))


def trial(config: Any, fixed: Sequence[str], directory: Path, process: int) -> float:
    """Train one run and return its mean final return, NaN if there is none. The launcher chooses the process.

    Args:
        config: Hydra's configuration.
        fixed: Words that all runs share.
        directory: The directory of the sweep.
        process: The id of the process of the sweeper.

    Raises:
        Interrupted: The sweep was asked to stop; raised only in the process of the sweeper.
    """
    del config
    stopped = Interrupted() if os.getpid() == process else None
    sweep = Sweep(directory)
    with StopRequest(watch=sweep.stop_file) as stop:
        if stop.received and stopped:
            raise stopped
        if stop.received:
            return math.nan
        chosen = [_named(word) for word in HydraConfig.get().overrides.task]
        name = " ".join(chosen)
        number, job = sweep.add(name, Composer()(parse([*fixed, *chosen])))
        summary = summary_of(job)
        print(f"[{number + 1}] {name}{': finished' if summary else ''}", flush=True)
        if summary is None:
            sweep.set(number, "running")
            ((status, error),) = train_jobs([job], sweep.group)
            sweep.set(number, status, error)
            if status == "stopped" and stopped:
                raise stopped
            summary = summary_of(job)
    mean = summary["final_return"]["mean"] if summary else None
    return math.nan if mean is None else float(mean)


def _but_run_dir(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("run_dir=")]


def _first(override: Override) -> Override:
    """The override with one of its possible values."""
    key = override.get_key_element()
    if override.is_interval_sweep():
        return parse([f"{key}={override._value.start}"])[0]  # type: ignore[union-attr]
    return parse([f"{key}={next(iter(override.sweep_string_iterator()))}"])[0]


# Hydra does not know our schema: for it, the name of the core is a key beside the options of the
# core.
def _renamed(word: str) -> str:
    return f"core.name={word.partition('=')[2]}" if word.partition("=")[0] == "core" else word


def _named(word: str) -> str:
    return f"core={word.partition('=')[2]}" if word.partition("=")[0] == "core.name" else word
