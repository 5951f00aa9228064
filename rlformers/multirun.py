"""Sweeps: every combination is checked before the first one trains, then Hydra's launcher runs them.

The launcher is chosen as in any Hydra application: `hydra/launcher=joblib`, `hydra/launcher=submitit_slurm`.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from rlformers.compose import compose, one_line, parse, session
from rlformers.config import ExperimentConfig
from rlformers.experiment.sinks.wandb_mode import agent_trial


class Job(NamedTuple):
    """One combination of a sweep."""

    name: str  # what sets it apart: "core=s5 seed=1"
    config: ExperimentConfig


class Result(NamedTuple):
    """What became of a job."""

    run_dir: Path | None
    summary: dict[str, Any] | None
    error: str | None


def multirun(overrides: Sequence[str]) -> list[Result]:
    """Train every combination of comma-separated values; a run that fails does not stop the others.

    Raises:
        ValueError: Something is wrong with at least one combination, and nothing has run; one line.
    """
    if agent_trial():
        raise ValueError("--multirun: a trial of `wandb agent` is one run; put the values into the sweep's parameters")
    with session() as parser:
        parsed = parse(list(overrides), parser)
        own = [override for override in parsed if not _is_hydras(override)]
        jobs = expand(own)
        launch = [str(override.input_line) for override in parsed if _is_hydras(override)]
        if launch:
            # The workers need the accelerator, which this process would hold from its first array on.
            import jax

            jax.config.update("jax_platforms", "cpu")
        from rlformers.experiment.build import check

        for job in jobs:
            try:
                check(job.config)
            except ValueError as error:
                raise ValueError(f"{error} (in {job.name})") from error
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        launch += ["hydra/hydra_logging=none", "hydra/job_logging=none", "hydra.output_subdir=null"]
        launch += [f"hydra.sweep.dir={_quoted(_sweep_dir(jobs, stamp))}", "hydra.sweep.subdir=."]
        hydra: Any = GlobalHydra.instance().hydra
        task = partial(run, jobs=jobs, group=f"sweep {stamp}")
        try:
            batches = hydra.multirun("train", task, [str(override.input_line) for override in own] + launch)
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(f"hydra/launcher: {one_line(error)}; is its plug-in installed?") from error
    return [returned.return_value for batch in batches for returned in batch]


def expand(overrides: Sequence[Override]) -> list[Job]:
    """The combinations, in the order in which Hydra's sweeper numbers them.

    Raises:
        ValueError: As in `compose`, and for a run directory that exists.
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
    for number, job in enumerate(jobs):
        if job.config.run_dir is not None:
            base = Path(job.config.run_dir)
            if base.exists() and (not base.is_dir() or any(base.iterdir())):
                raise ValueError(f"run_dir: {base} exists; runs are never overwritten")
            jobs[number] = job._replace(config=replace(job.config, run_dir=str(base / str(number))))
    return jobs


def run(_: Any, jobs: Sequence[Job], group: str) -> Result:
    """Train the job whose number Hydra has set; called in the process in which the launcher wants it."""
    from rlformers.experiment.run_dir import create_run_dir
    from rlformers.experiment.train import train

    number = HydraConfig.get().job.num
    job = jobs[number]
    print(f"[{number + 1}/{len(jobs)}] {job.name}", flush=True)
    run_dir = None
    try:
        run_dir = create_run_dir(job.config)
        return Result(run_dir, train(job.config, run_dir, group), None)
    except Exception as error:  # one run must not take the others with it
        message = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        print(f"FAILED ({message})", flush=True)
        return Result(run_dir, None, message)


def _is_hydras(override: Override) -> bool:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        if key != "hydra/launcher" and not key.startswith("hydra.launcher."):
            raise ValueError(f"{key}: of Hydra's own settings, only hydra/launcher and hydra.launcher.* can be set")
        return True
    return False


def _sweep_dir(jobs: Sequence[Job], stamp: str) -> Path:
    """Where Hydra and its launcher write: beside the runs, not into `multirun/` of wherever one is."""
    given = jobs[0].config.run_dir
    return Path(given).parent / "multirun" if given else Path("runs") / "multirun" / stamp


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
