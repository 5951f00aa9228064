"""Going on with a run exactly where a checkpoint left it, or saying in one line why that cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from rlformers.agents.ppo import TrainState
from rlformers.compose import flatten, from_dict, to_dict
from rlformers.config import ExperimentConfig
from rlformers.experiment.checkpoint import Checkpoint, CheckpointError, good_checkpoints, saved_updates
from rlformers.experiment.provenance import versions

# How a run is run rather than what it computes: these may change when it is resumed.
_FREE = ("run_dir", "chunk_seconds", "debug", "checkpoint", "tensorboard", "wandb")


def refuse_changes(begun: ExperimentConfig, config: ExperimentConfig, source: Path) -> None:
    """Check that a run is gone on with as it began; only `total_steps` may grow.

    The schedules of learning rate and entropy follow the new `total_steps` from there on, so an extended run does not
    equal one that was started with it.

    Raises:
        ValueError: One line with the keys that differ from those in `source`.
    """
    old, new = flatten(to_dict(begun)), flatten(to_dict(config))
    differing = [
        f"{key}={new.get(key)} was {old.get(key)}"
        for key in {**old, **new}
        if key.split(".")[0] not in _FREE and old.get(key) != new.get(key)
        if not (key == "total_steps" and new[key] > old[key])
    ]
    if differing:
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise ValueError(f"resume: {', '.join(differing[:3])}{more} in {source}; only total_steps can change, to more")


def latest(run_dir: Path, config: ExperimentConfig, report: Callable[[str], None] = print) -> Checkpoint | None:
    """The checkpoint to go on from: the newest whose files are good and whose part of `metrics.jsonl` is there.

    Args:
        run_dir: The run's directory.
        config: What to run.
        report: Gets a line for every checkpoint that is passed over, and for other versions of packages.

    Returns:
        None if the run never came to its first checkpoint.

    Raises:
        ValueError: The configuration has changed.
        CheckpointError: There are checkpoints, but none of them can be used.
    """
    directory, metrics = run_dir / "checkpoints", run_dir / "metrics.jsonl"
    size = metrics.stat().st_size if metrics.exists() else 0
    for checkpoint in good_checkpoints(directory, report):
        refuse_changes(from_dict(checkpoint.meta["config"]), config, checkpoint.path)
        needed = checkpoint.meta["metrics_bytes"]
        if needed > size:
            cut = f"{checkpoint.path} needs {needed} bytes of {metrics}, which has {size}"
            report(f"checkpoint: {cut}; looking for an older one")
            continue
        now = versions()
        for name, version in checkpoint.meta["versions"].items():
            if now.get(name) != version:
                report(f"resume: begun with {name} {version}, this is {now.get(name)}: last digits may differ")
        return checkpoint
    if saved_updates(directory):
        raise CheckpointError(f"resume: no checkpoint in {directory} can be used; move it away to start afresh")
    return None


def with_new_episodes(
    state: TrainState, fresh: TrainState, env: str, report: Callable[[str], None] = print
) -> TrainState:
    """A restored state with the episodes of a new one: those of an environment on the host ended with its process.

    Args:
        state: From a checkpoint, leaves [S, ...].
        fresh: Of `Learner.init`, from keys that were not used before.
        env: The environment's id.
        report: Gets a line that says so.
    """
    report(f"resume: {env} lives on the host, where nothing is saved: new episodes start, unlike in an unbroken run")
    running = jnp.zeros_like(state.normalizers.discounted_return)
    return state._replace(
        env_state=fresh.env_state,
        obs=fresh.obs,
        start=fresh.start,
        normalizers=state.normalizers._replace(discounted_return=running),
    )


def finished(run_dir: Path, config: ExperimentConfig, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """The summary of a run that has nothing left to do."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    reached = checkpoint.update if checkpoint else summary["total_steps"] // config.batch_size
    done = summary["completed"] and reached == config.num_updates
    return summary if done and summary["total_steps"] == reached * config.batch_size else None
