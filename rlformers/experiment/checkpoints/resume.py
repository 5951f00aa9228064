"""Continues a run exactly where a checkpoint left it, or says in one line why it cannot."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from rlformers.agents.ppo import TrainState
from rlformers.config.compose import flatten, from_dict, to_dict
from rlformers.config.schema import RUN_KEYS, ExperimentConfig
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.store import Checkpoint, CheckpointError, good_checkpoints, saved_updates
from rlformers.experiment.run_files.provenance import versions
from rlformers.experiment.run_files.summary import read_summary
from rlformers.experiment.training.stop_request import Failed

# The keys of meta.json that a run needs to continue. Keys that were added later have defaults.
NEEDED = ("config", "metrics_bytes", "episodes", "wall_seconds", "loop_seconds")


def computation(config: ExperimentConfig) -> dict[str, Any]:
    """What a run computes: its flat config without `RUN_KEYS`, which may change when it is resumed."""
    return {key: value for key, value in flatten(to_dict(config)).items() if key.split(".")[0] not in RUN_KEYS}


def changes(begun: ExperimentConfig, config: ExperimentConfig) -> list[str]:
    """The differences from the configuration that a run began with, "ppo.lr=0.1 was 0.2"; more steps are none."""
    old, new = computation(begun), computation(config)
    return [
        f"{key}={new.get(key)} was {old.get(key)}"
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not (key == "total_steps" and new[key] > old[key])
    ]


def refuse_changes(begun: ExperimentConfig, config: ExperimentConfig, source: Path) -> None:
    """Check that a run continues with the configuration it began with; only `total_steps` may grow.

    The schedules of learning rate and entropy then follow the new `total_steps`, so an extended run
    does not equal one that had it from the start.

    Raises:
        UserError: One line with the keys that differ from those in `source`.
    """
    differing = changes(begun, config)
    if differing:
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise UserError(
            f"resume: {', '.join(differing[:3])}{more} in {source}; only total_steps can change, and only grow"
        )


def latest(run_dir: Path, config: ExperimentConfig, report: Callable[[str], None] = print) -> Checkpoint | None:
    """The checkpoint to continue from: the newest whose files are good and whose part of `metrics.jsonl` exists.

    Args:
        run_dir: The directory of the run.
        config: The experiment.
        report: Gets a line for every checkpoint that is skipped, and for other versions of
            packages.

    Returns:
        The checkpoint; None if the run never reached its first one.

    Raises:
        UserError: The configuration has changed.
        CheckpointError: There are checkpoints, but none of them can be used.
    """
    for checkpoint in usable(run_dir, config, report):
        now = versions()
        for name, version in checkpoint.meta.get("versions", {}).items():
            if now.get(name) != version:
                report(f"resume: the run began with {name} {version}, now {now.get(name)}: last digits may differ")
        return checkpoint
    directory = run_dir / "checkpoints"
    if saved_updates(directory):
        raise CheckpointError(
            f"resume: no checkpoint in {directory} can be used; move {run_dir} away, or give another run_dir="
        )
    return None


def usable(run_dir: Path, config: ExperimentConfig, report: Callable[[str], None] = print) -> Iterator[Checkpoint]:
    """The checkpoints that a run can continue from, newest first; arguments and errors as in `latest`."""
    metrics = run_dir / "metrics.jsonl"
    size = metrics.stat().st_size if metrics.exists() else 0
    for checkpoint in good_checkpoints(run_dir / "checkpoints", report):
        missing = [name for name in NEEDED if name not in checkpoint.meta]
        if missing:
            raise CheckpointError(f"resume: {checkpoint.path}/meta.json has no {', '.join(missing)}")
        refuse_changes(from_dict(checkpoint.meta["config"]), config, checkpoint.path)
        needed = checkpoint.meta["metrics_bytes"]
        if needed > size:
            cut = f"{checkpoint.path} needs {needed} bytes of {metrics}, which has {size}"
            report(f"checkpoint: {cut}; looking for an older one")
            continue
        yield checkpoint


def common(
    run_dirs: Sequence[Path], configs: Sequence[ExperimentConfig], report: Callable[[str], None] = print
) -> list[Checkpoint] | list[None] | None:
    """Checkpoints of the same update, one per run, from which the runs of a program can continue together.

    If a process died between the saves of two runs, they are the checkpoints of the update before.

    Returns:
        The checkpoints; a list of None if no run reached its first one; None if there is no common
        update.
    """
    found = [{c.update: c for c in usable(*run, report)} for run in zip(run_dirs, configs, strict=True)]
    if not any(found):
        return [None] * len(found)
    newest = max(set.intersection(*map(set, found)), default=None)
    ahead = 0 if newest is None else max(sum(update > newest for update in checkpoints) for checkpoints in found)
    if newest is None or ahead > 1:
        return None
    if ahead:
        report(f"resume: the last save lacks some of the {len(found)} runs of the program; back to update {newest}")
    return [checkpoints[newest] for checkpoints in found]


def with_new_episodes(
    state: TrainState, fresh: TrainState, env: str, report: Callable[[str], None] = print
) -> TrainState:
    """A restored state with new episodes: the episodes of an environment on the host ended with its process.

    Args:
        state: From a checkpoint, leaves [S, ...].
        fresh: From `Learner.init`, with keys that were not used before.
        env: Id of the environment.
        report: Gets a line that says so.
    """
    report(f"resume: {env} runs on the host, where nothing is saved: new episodes start, unlike in an unbroken run")
    running = jnp.zeros_like(state.normalizers.discounted_return)
    return state._replace(
        env_state=fresh.env_state,
        obs=fresh.obs,
        start=fresh.start,
        normalizers=state.normalizers._replace(discounted_return=running),
    )


def failure(run_dir: Path) -> dict[str, Any] | None:
    """Why the run in a directory failed the last time; None if it did not."""
    return (read_summary(run_dir) or {}).get("failure")


def known_failure(run_dir: Path, config: ExperimentConfig) -> Failed | None:
    """The error of a run whose seeds all failed the last time: from the same state, they would fail again."""
    known = failure(run_dir)
    if known is None:
        return None
    failed = Failed(known["what"], known["update"], known["step"], known["seeds"])
    return failed.leaving(run_dir, known["checkpoint"], config.debug)


def before_failures(run_dir: Path, config: ExperimentConfig) -> Checkpoint | None:
    """The newest checkpoint of a run in which no seed has failed; None if there is none."""
    return next((saved for saved in usable(run_dir, config) if not saved.meta.get("failed")), None)
