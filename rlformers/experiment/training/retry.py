"""`retry=failed`: trains the failed seeds of a finished run again, each alone and from its start.

From its last good state a seed would meet the same numbers again, and the code that failed may have
been mended since. Each seed trains as a run of its own in `RUN_DIR/retry/seed-<n>`, which can be
stopped and resumed. A seed that finishes takes its place in the run: rows, last checkpoint and
summary. The old rows are set aside as `metrics.jsonl.<n>.old`.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rlformers.config import ExperimentConfig
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.kept_rows import free_name
from rlformers.experiment.checkpoints.store import Checkpoint, CheckpointStore, good_checkpoints, read
from rlformers.experiment.program.build import build
from rlformers.experiment.run_files.run_dir import create_run_dir, write_json, write_whole
from rlformers.experiment.statistics.over_seeds import over_seeds
from rlformers.experiment.tracking import open_views, read_rows
from rlformers.experiment.training.stop_request import Failed

Train = Callable[[ExperimentConfig, Path], dict[str, Any]]


def retry_failed(
    config: ExperimentConfig, run_dir: Path, summary: dict[str, Any], group: str | None, train: Train
) -> dict[str, Any]:
    """Train the failed seeds of a finished run again; return the run's new summary.

    Args:
        config: The configuration of the run.
        run_dir: Its directory, which is locked.
        summary: Its summary, with `failed`.
        group: Group of its W&B runs, unless the configuration names one.
        train: Trains a run in its directory.

    Raises:
        Interrupted: A signal asked for a stop; the same command continues.
        UserError: The run ended early.
        OSError: A file cannot be written or read.
    """
    if summary.get("stopped_early"):
        step = summary["stopped_early"]["step"]
        raise UserError(
            f"retry: {run_dir} ended early, after {step:,} steps, as stop.return says; a seed that is trained again "
            "would end elsewhere: begin a new run with seed=N seeds=1"
        )
    for failed in summary["failed"]:
        place = run_dir / "retry" / f"seed-{failed['seed']}"
        print(f"training seed {failed['seed']} again in {place}")
        quiet = replace(config.wandb, mode="disabled")
        alone = replace(config, seed=failed["seed"], seeds=1, run_dir=str(place), wandb=quiet, tensorboard=False)
        alone = replace(alone, stop={})  # the others made all steps
        if taken := summary.get("init_from"):  # the agent that it began with in its run
            own_seed = taken["seeds"][summary["seeds"].index(failed["seed"])]
            alone = replace(alone, init_seed=own_seed, init_checkpoint=str(taken["update"]))
        create_run_dir(alone)
        try:
            own = train(replace(alone, retry="failed"), place)
        except Failed as error:
            print(error)
            continue
        summary = _take_its_place(config, run_dir, summary, place, own, group)
    return summary


def _take_its_place(
    config: ExperimentConfig,
    run_dir: Path,
    summary: dict[str, Any],
    place: Path,
    own: dict[str, Any],
    group: str | None,
) -> dict[str, Any]:
    """Put the results of a seed into its run. If the process dies meanwhile, the next retry does it again."""
    (seed,) = own["seeds"]
    index = summary["seeds"].index(seed)
    metrics = run_dir / "metrics.jsonl"
    rows = read_rows(place / "metrics.jsonl")
    rows += [row for row in read_rows(metrics) if row["seed"] != seed]
    shutil.copy2(metrics, free_name(metrics))
    rows.sort(key=lambda row: (row["step"] or 0, row["seed"] or 0))
    write_whole(metrics, "".join(json.dumps(row) + "\n" for row in rows))
    whole, alone = (_last(path, config.num_updates) for path in (run_dir, place))
    if whole is None or alone is None:
        print(f"the last checkpoint of {run_dir} is gone; seed {seed} keeps its own in {place}/checkpoints")
    else:
        _save(config, run_dir, whole, alone, seed, index)

    def with_own(name: str) -> dict[str, Any]:
        return over_seeds(_put(summary[name]["per_seed"], index, own[name]["per_seed"]))

    final = with_own("final_return")
    summary = summary | {
        "failed": [failed for failed in summary["failed"] if failed["seed"] != seed],
        "final_return": final | {"n": sum(value is not None for value in final["per_seed"])},
        "final_attempts": _put(summary["final_attempts"], index, own["final_attempts"]),
    }
    if summary["evaluation"] is not None:
        found, own_found = summary["evaluation"], own["evaluation"]
        summary["evaluation"] = {"step": found["step"]} | {
            name: over_seeds(_put(found[name]["per_seed"], index, own_found[name]["per_seed"]))
            for name in found
            if name in own_found and name != "step"
        }
    write_json(run_dir / "summary.json", summary, indent=2)
    views = open_views(config, run_dir, group, own["total_steps"])
    for view in views:
        view.renew(seed)
        view.finish(summary)
    return summary


def _save(config: ExperimentConfig, run_dir: Path, whole: Checkpoint, alone: Checkpoint, seed: int, index: int) -> None:
    """Write the last checkpoint of the run again, with the state of one seed taken from its own run."""
    init = jax.vmap(build(config).learner.init)
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.seeds))
    states = read(whole, jax.eval_shape(init, keys)), read(alone, jax.eval_shape(init, keys[:1]))
    state = jax.tree.map(lambda x, own: jnp.concatenate([x[:index], own, x[index + 1 :]]), *states)

    def sums(old: dict[str, list], own: dict[str, list]) -> dict[str, list]:
        return {name: _put(values, index, own[name]) if name in own else values for name, values in old.items()}

    meta, own = dict(whole.meta), alone.meta
    episodes, own_episodes = meta["episodes"], own["episodes"]
    own_parts = dict(own_episodes["final_parts"])
    meta["episodes"] = episodes | {
        "window": sums(episodes["window"], own_episodes["window"]),
        "final_parts": [[first, sums(part, own_parts.get(first, {}))] for first, part in episodes["final_parts"]],
    }
    if meta["evaluation"] is not None and own["evaluation"] is not None:
        meta["evaluation"] = dict(meta["evaluation"])
        for name in ("found", "sound"):
            meta["evaluation"][name] = _put(meta["evaluation"][name], index, own["evaluation"][name])
    meta["failed"] = [failed for failed in meta["failed"] if failed["seed"] != seed]
    meta["metrics_bytes"] = (run_dir / "metrics.jsonl").stat().st_size
    store = CheckpointStore(run_dir / "checkpoints", config.checkpoint.keep, whole)
    try:
        store.save(whole.update, state, meta, meta["score"], meta["pinned"])
        store.wait()
    finally:
        store.close()


def _last(run_dir: Path, update: int) -> Checkpoint | None:
    return next((found for found in good_checkpoints(run_dir / "checkpoints") if found.update == update), None)


def _put(values: list, index: int, own: list) -> list:
    return [*values[:index], own[0], *values[index + 1 :]]
