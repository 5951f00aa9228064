"""Sweeps: checks every combination before the first one trains, then lets Hydra's launcher run them.

The launcher is chosen as in any Hydra application: `hydra/launcher=joblib`,
`hydra/launcher=submitit_slurm`. A sweep is idempotent: the same command again continues what is not
finished.

`vmap_over=ppo.lr` trains all runs that differ only in these keys in one program. It decides how the
runs are executed, not which runs exist: each run keeps its directory, and a sweep can continue with
or without it.
"""

import itertools
import json
from collections.abc import Sequence
from functools import partial
from itertools import compress
from pathlib import Path

from hydra.core.override_parser.types import Override

from rlformers.config.compose import Composer
from rlformers.config.overrides import choices, expanded, parse
from rlformers.config.ppo import NUMBER_KEYS
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.resume import computation
from rlformers.experiment.run_files.run_dir import locked
from rlformers.experiment.sweeps.checks import check_once
from rlformers.experiment.sweeps.hydra_settings import HydraSettings, is_hydras
from rlformers.experiment.sweeps.record import Job, Outcome, create, find, results, summary_of
from rlformers.experiment.sweeps.search import search
from rlformers.experiment.sweeps.worker import plan, run, run_as_launched
from rlformers.experiment.tracking.wandb_mode import agent_trial
from rlformers.experiment.training.stop_request import StopRequest


def multirun(overrides: Sequence[str], new: bool = False) -> Outcome:
    """Train every combination of comma-separated values; a run that fails does not stop the others.

    If the newest sweep of the same combinations, or the one in `run_dir`, is not finished, it
    continues: finished runs are left alone, stopped ones resume, failed ones are tried again.

    Args:
        overrides: Words of the command line.
        new: Start a new sweep even if one is not finished.

    Raises:
        UserError: At least one combination is wrong, or another process runs this sweep. Nothing
            has run; one line.
    """
    if agent_trial():
        raise UserError(
            "--multirun: a trial of `wandb agent` is one run; put the values into the parameters of the W&B sweep"
        )
    vmap_over = [word for word in overrides if word.startswith("vmap_over=")]
    words = [word for word in overrides if word not in vmap_over]
    parsed = parse(as_choices(words, choices(vmap_over[-1].partition("=")[2])) if vmap_over else words)
    own = [override for override in parsed if not is_hydras(override)]
    settings = [override for override in parsed if is_hydras(override)]
    with HydraSettings(settings) as hydra:
        if hydra.sweeper:
            if vmap_over:
                raise UserError(
                    "vmap_over: cannot be used with hydra/sweeper, which chooses values one by one; leave it out"
                )
            return search(own, hydra, overrides)
        jobs, base = expand(own)
        keys = vmapped_keys(vmap_over[-1], own) if vmap_over else []
        found = None if new and base is None else find(jobs, base)
        if found and new:
            raise UserError(f"run_dir: {base} is a sweep already; --new needs another directory")
        if found:
            sweep, jobs = found
            done = [summary_of(job) is not None for job in jobs]
            if all(done) and base is None:
                found, done = None, []
            elif all(done):
                print(f"the sweep in {base} is finished; another run_dir= or --new without one starts anew")
                return Outcome(sweep.directory, results(sweep, jobs))
        left = [number for number in range(len(jobs)) if not (found and done[number])]
        check_once([jobs[number] for number in left])
        if not found:
            sweep, jobs = create(jobs, base, overrides)
        with locked(sweep.directory):
            if found:
                anew = "another run_dir=" if base else "--new"
                print(f"continuing the sweep in {sweep.directory}; {anew} starts anew")
                for number in sorted(set(range(len(jobs))) - set(left)):
                    print(f"[{number + 1}/{len(jobs)}] {jobs[number].name}: finished, {jobs[number].config.run_dir}")
            sweep.stop_file.unlink(missing_ok=True)
            programs = group(jobs, left, keys)
            plan(sweep.directory, jobs, programs)
            with StopRequest(announce=sweep.stop_file) as stop:
                if hydra.launcher:
                    task = partial(run_as_launched, directory=sweep.directory)
                    numbers = f"+program={','.join(map(str, range(len(programs))))}"
                    hydra.launch(task, [numbers], sweep.directory / "launcher", stop)
                else:
                    for program in range(len(programs)):
                        run(program, sweep.directory)
    return Outcome(sweep.directory, results(sweep, jobs))


def expand(overrides: Sequence[Override]) -> tuple[list[Job], Path | None]:
    """The combinations, in the order of Hydra's sweeper, and the directory of the sweep.

    Raises:
        UserError: As in `compose`, or a key has an interval instead of choices.
    """
    composer = Composer()
    swept = [override.is_sweep_override() for override in overrides]
    jobs = []
    for combination in itertools.product(*map(expanded, overrides)):
        name = " ".join(str(override.input_line) for override in compress(combination, swept))
        jobs.append(Job(name, composer(combination)))
    bases = list({job.config.run_dir: None for job in jobs})
    if len(bases) > 1:
        raise UserError(
            f"run_dir: need one for all runs, which get numbered folders in it, got {bases[0]} and {bases[1]}"
        )
    return jobs, None if bases[0] is None else Path(bases[0])


def as_choices(words: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Rewrite `KEY=[A,B]` as `KEY=A,B` for the vmapped keys, whose values are never lists."""

    def one(word: str) -> str:
        key, _, values = word.partition("=")
        listed = key.lstrip("+") in keys and values.startswith("[") and values.endswith("]")
        return f"{key}={','.join(choices(values))}" if listed else word

    return [one(word) for word in words]


def vmapped_keys(word: str, overrides: Sequence[Override]) -> list[str]:
    """The keys of `vmap_over=KEY` or `vmap_over=[KEY,KEY]`.

    Raises:
        UserError: A key is not swept, or changes more than numbers.
    """
    keys = choices(word.partition("=")[2])
    swept = [override.key_or_group for override in overrides if override.is_sweep_override()]
    for key in keys:
        if key not in NUMBER_KEYS:
            raise UserError(f"vmap_over: {key!r} is not one of the numbers {', '.join(NUMBER_KEYS)}")
        if key not in swept:
            raise UserError(f"vmap_over: {key} has no values to choose from; give some, e.g. {key}=0.1,0.2")
    return keys


def group(jobs: Sequence[Job], left: Sequence[int], keys: Sequence[str]) -> list[list[int]]:
    """Group the numbers of the jobs that are left: jobs that differ only in these keys come together."""
    if not keys:
        return [[number] for number in left]
    programs: dict[str, list[int]] = {}
    for number in left:
        rest = {key: value for key, value in computation(jobs[number].config).items() if key not in keys}
        programs.setdefault(json.dumps(rest, sort_keys=True, default=repr), []).append(number)
    return list(programs.values())
