"""Sweeps: every combination is checked before the first one trains, then Hydra's launcher runs them.

The launcher is chosen as in any Hydra application: `hydra/launcher=joblib`, `hydra/launcher=submitit_slurm`.
A sweep is idempotent: the same command again goes on with what is not finished.
"""

from collections.abc import Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from rlformers.compose import compose, one_line, parse, session
from rlformers.experiment.run_dir import create_run_dir, locked
from rlformers.experiment.stop import Interrupted, StopRequest
from rlformers.experiment.sweep import Job, Sweep, create, find, summary_of


class Result(NamedTuple):
    """What became of a run."""

    run_dir: Path
    status: str  # as in the record of the sweep
    summary: dict[str, Any] | None  # of a finished one
    error: str | None  # of a failed one


class Outcome(NamedTuple):
    """What became of a sweep."""

    directory: Path
    results: list[Result]


def multirun(overrides: Sequence[str], new: bool = False) -> Outcome:
    """Train every combination of comma-separated values; a run that fails does not stop the others.

    If the newest sweep of the same combinations, or the one in `run_dir`, is not finished, it is gone on with: finished
    runs are left alone, stopped ones resume, failed ones are tried again.

    Args:
        overrides: Words of the command line.
        new: Start anew, whatever there is.

    Raises:
        ValueError: Something is wrong with at least one combination, or another process is at this sweep, and nothing
            has run; one line.
    """
    with session() as parser:
        parsed = parse(list(overrides), parser)
        own = [override for override in parsed if not _is_hydras(override)]
        jobs, base = expand(own)
        launch = [str(override.input_line) for override in parsed if _is_hydras(override)]
        launch += ["hydra/hydra_logging=none", "hydra/job_logging=none", "hydra.output_subdir=null"]
        hydra: Any = GlobalHydra.instance().hydra
        try:
            hydra.compose_config("train", launch, RunMode.MULTIRUN, with_log_configuration=False)
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(f"hydra/launcher: {one_line(error)}; is its plug-in installed?") from error
        if any(_is_hydras(override) for override in parsed):
            # The workers need the accelerator, which this process would hold from its first array on.
            import jax

            jax.config.update("jax_platforms", "cpu")

        found = None if new and base is None else find(jobs, base)
        if found and new:
            raise ValueError(f"run_dir: {base} is a sweep already; --new needs another directory")
        if found:
            sweep, jobs = found
            done = [summary_of(job) is not None for job in jobs]
            if all(done) and base is None:
                found, done = None, []
            elif all(done):
                print(f"the sweep in {base} is finished; another run_dir= or --new without one starts anew")
                return Outcome(sweep.directory, results(sweep, jobs))
        left = [number for number in range(len(jobs)) if not (found and done[number])]
        _check([jobs[number] for number in left])
        if not found:
            sweep, jobs = create(jobs, base, overrides)
        with locked(sweep.directory):
            if found:
                anew = "another run_dir=" if base else "--new"
                print(f"going on with the sweep in {sweep.directory}; {anew} starts anew")
                for number in sorted(set(range(len(jobs))) - set(left)):
                    print(f"[{number + 1}/{len(jobs)}] {jobs[number].name}: finished, {jobs[number].config.run_dir}")
            sweep.stop_file.unlink(missing_ok=True)
            launch += [f"hydra.sweep.dir={_quoted(sweep.directory / 'launcher')}", "hydra.sweep.subdir=."]
            task = partial(run, jobs=jobs, directory=sweep.directory)
            with StopRequest(announce=sweep.stop_file) as stop:
                _launch(hydra, task, [f"+number={','.join(map(str, left))}", *launch], stop)
    return Outcome(sweep.directory, results(sweep, jobs))


def expand(overrides: Sequence[Override]) -> tuple[list[Job], Path | None]:
    """The combinations, in the order in which Hydra's sweeper numbers them, and the directory of all.

    Raises:
        ValueError: As in `compose`, and for values that are no choices.
    """
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise ValueError(f"{override.key_or_group}: need values to choose from, e.g. 0.1,0.2, got an interval")
    try:
        combinations = BasicSweeper.split_arguments(list(overrides), None)[0]
    except HydraException as error:
        raise ValueError(str(error).splitlines()[0]) from error
    swept = [override.is_sweep_override() for override in overrides]
    jobs = [Job(" ".join(compress(words, swept)), compose(words)) for words in combinations]
    bases = list({job.config.run_dir: None for job in jobs})
    if len(bases) > 1:
        raise ValueError(f"run_dir: a sweep has one, with a numbered folder per run; got {bases[0]} and {bases[1]}")
    return jobs, None if bases[0] is None else Path(bases[0])


def run(config: Any, jobs: Sequence[Job], directory: Path) -> None:
    """Train one run and write down what became of it; called in the process in which the launcher wants it.

    Args:
        config: Hydra's, with the number of the run.
        jobs: All of the sweep.
        directory: Of the sweep.
    """
    sweep, number = Sweep(directory), int(config.number)
    with StopRequest(watch=sweep.stop_file) as stop:
        if stop.received:
            return
        job = jobs[number]
        print(f"[{number + 1}/{len(jobs)}] {job.name}", flush=True)
        sweep.set(number, "running")
        try:
            from rlformers.experiment.train import train

            train(job.config, create_run_dir(job.config), sweep.group)
            sweep.set(number, "finished")
        except Interrupted:
            sweep.set(number, "stopped")
        except Exception as error:  # one run must not take the others with it
            message = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            print(f"FAILED ({message})", flush=True)
            sweep.set(number, "failed", message)


def results(sweep: Sweep, jobs: Sequence[Job]) -> list[Result]:
    """What became of every run, so far."""
    found = []
    for job, entry in zip(jobs, sweep.runs, strict=True):
        summary = summary_of(job)
        status = "finished" if summary else entry["status"]
        found.append(Result(Path(entry["run_dir"]), status, summary, None if summary else entry["error"]))
    return found


def _check(jobs: Sequence[Job]) -> None:
    from rlformers.experiment.build import check

    for job in jobs:
        try:
            check(job.config)
        except ValueError as error:
            raise ValueError(f"{error} (in {job.name})") from error


def _launch(hydra: Any, task: Any, words: list[str], stop: StopRequest) -> None:
    """Have the launcher run the task for every number; what it raises when it was stopped says no more than that."""
    try:
        hydra.multirun("train", task, words)
    except Exception as error:
        if not stop.received:
            print(f"hydra/launcher: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}", flush=True)


def _is_hydras(override: Override) -> bool:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        if key != "hydra/launcher" and not key.startswith("hydra.launcher."):
            raise ValueError(f"{key}: of Hydra's own settings, only hydra/launcher and hydra.launcher.* can be set")
        return True
    return False


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
