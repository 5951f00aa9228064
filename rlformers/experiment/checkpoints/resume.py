"""Going on with a run exactly where a checkpoint left it, or saying in one line why that cannot be."""

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

# What meta.json must have for a run to go on; what came later has defaults.
NEEDED = ("config", "metrics_bytes", "episodes", "wall_seconds", "loop_seconds")


def computation(config: ExperimentConfig) -> dict[str, Any]:
    """What a run computes: its flat config without `config.RUN_KEYS`, which may change when it is resumed."""
    return {key: value for key, value in flatten(to_dict(config)).items() if key.split(".")[0] not in RUN_KEYS}


def changes(begun: ExperimentConfig, config: ExperimentConfig) -> list[str]:
    """What of a configuration is not as a run began, but for a larger `total_steps`: "ppo.lr=0.1 was 0.2"."""
    old, new = computation(begun), computation(config)
    return [
        f"{key}={new.get(key)} was {old.get(key)}"
        for key in {**old, **new}
        if old.get(key) != new.get(key) and not (key == "total_steps" and new[key] > old[key])
    ]


def refuse_changes(begun: ExperimentConfig, config: ExperimentConfig, source: Path) -> None:
    """Check that a run is gone on with as it began; only `total_steps` may grow.

    The schedules of learning rate and entropy follow the new `total_steps` from there on, so an extended run does not
    equal one that was started with it.

    Raises:
        UserError: One line with the keys that differ from those in `source`.
    """
    differing = changes(begun, config)
    if differing:
        more = f" (and {len(differing) - 3} more)" if len(differing) > 3 else ""
        raise UserError(f"resume: {', '.join(differing[:3])}{more} in {source}; only total_steps can change, to more")


def latest(run_dir: Path, config: ExperimentConfig, report: Callable[[str], None] = print) -> Checkpoint | None:
    """The checkpoint to go on from: the newest whose files are good and whose part of `metrics.jsonl` is there.

    Args:
        run_dir: The run's directory.
        config: What to run.
        report: Gets a line for every checkpoint that is passed over, and for other versions of packages.

    Returns:
        None if the run never came to its first checkpoint.

    Raises:
        UserError: The configuration has changed.
        CheckpointError: There are checkpoints, but none of them can be used.
    """
    for checkpoint in usable(run_dir, config, report):
        now = versions()
        for name, version in checkpoint.meta.get("versions", {}).items():
            if now.get(name) != version:
                report(f"resume: begun with {name} {version}, this is {now.get(name)}: last digits may differ")
        return checkpoint
    directory = run_dir / "checkpoints"
    if saved_updates(directory):
        raise CheckpointError(
            f"resume: no checkpoint in {directory} can be used; move {run_dir} away, or give another run_dir="
        )
    return None


def usable(run_dir: Path, config: ExperimentConfig, report: Callable[[str], None] = print) -> Iterator[Checkpoint]:
    """The checkpoints that a run can go on from, newest first; arguments and errors as in `latest`."""
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
    """Checkpoints of one update from which runs of one program can go on together, one each.

    Where a process died between saving the state of one run and that of the next, it is the update before.

    Returns:
        A list of None if no run came to its first checkpoint; None if they are not after the same update.
    """
    found = [{c.update: c for c in usable(*run, report)} for run in zip(run_dirs, configs, strict=True)]
    if not any(found):
        return [None] * len(found)
    newest = max(set.intersection(*map(set, found)), default=None)
    ahead = 0 if newest is None else max(sum(update > newest for update in checkpoints) for checkpoints in found)
    if newest is None or ahead > 1:
        return None
    if ahead:
        report(f"resume: not all {len(found)} runs of the program were saved the last time; back to update {newest}")
    return [checkpoints[newest] for checkpoints in found]


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


def failure(run_dir: Path) -> dict[str, Any] | None:
    """What the run in a directory failed of the last time, if it did."""
    return (read_summary(run_dir) or {}).get("failure")


def known_failure(run_dir: Path, config: ExperimentConfig) -> Failed | None:
    """What all seeds of a run failed of the last time, if they did: from the same state, they would again."""
    known = failure(run_dir)
    if known is None:
        return None
    failed = Failed(known["what"], known["update"], known["step"], known["seeds"])
    return failed.leaving(run_dir, known["checkpoint"], config.debug)


def before_failures(run_dir: Path, config: ExperimentConfig) -> Checkpoint | None:
    """The newest checkpoint of a run in which no seed has failed; None if there is none."""
    return next((saved for saved in usable(run_dir, config) if not saved.meta.get("failed")), None)
