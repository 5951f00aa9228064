"""The outer loop: Python over jitted, buffer-donating updates; it logs, shows progress, and stops on Ctrl-C."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.config import ExperimentConfig
from rlformers.experiment.build import build
from rlformers.experiment.loggers import JsonlLogger, WandbLogger
from rlformers.experiment.progress import Progress
from rlformers.experiment.statistics import bootstrap_ci, iqm

# final_return covers the episodes that ended in this last part of the steps.
FINAL_FRACTION = 0.1


def train(config: ExperimentConfig, run_dir: Path, group: str | None = None) -> dict[str, Any]:
    """Train all seeds of an experiment and return its summary.

    Writes `metrics.jsonl` (a line per seed and log point), `summary.json` and `wandb/` into `run_dir`.

    Args:
        config: What to run.
        run_dir: An existing directory.
        group: Group of the W&B runs, unless the configuration names one.
    """
    enable_compilation_cache()
    learner = build(config).learner
    seeds = list(range(config.seed, config.seed + config.seeds))
    started = time.perf_counter()
    states = jax.jit(jax.vmap(learner.init))(jax.vmap(jax.random.key)(jnp.array(seeds)))
    num_parameters = sum(x.size for x in jax.tree.leaves(states.agent)) // len(seeds)
    update = jax.jit(jax.vmap(learner.update), donate_argnums=0).lower(states).compile()
    compile_seconds = time.perf_counter() - started

    loggers: list[JsonlLogger | WandbLogger] = [
        JsonlLogger(run_dir / "metrics.jsonl"),
        WandbLogger(config, run_dir, group, seeds),
    ]
    progress = Progress(config.num_updates * config.batch_size, len(seeds))
    episodes = EpisodeSums(config, len(seeds))
    log_every = config.log_every or -(-config.num_updates // 1000)
    chunk, done = 1, 0
    loop_started = time.perf_counter()
    interrupted = False
    try:
        while done < config.num_updates:
            chunk_started = time.perf_counter()
            pending = []
            for _ in range(min(chunk, config.num_updates - done)):
                states, metrics = update(states)
                pending.append(metrics)
            fetched = jax.device_get(pending)
            seconds = time.perf_counter() - chunk_started
            rate = len(pending) * config.batch_size * len(seeds) / seconds
            for metrics in fetched:
                done += 1
                episodes.add(done, metrics)
                if done % log_every == 0 or done == config.num_updates:
                    for row in rows(config, seeds, done, metrics, episodes.pop(), rate):
                        for logger in loggers:
                            logger.log(row)
            progress.show(done * config.batch_size, rate, episodes.last_return)
            chunk = max(1, min(1000, int(config.chunk_seconds / seconds * len(pending))))
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        progress.close()
        summary = {
            "env": config.env,
            "core": config.core.name,
            "seeds": seeds,
            "completed": done == config.num_updates,
            "total_steps": done * config.batch_size,
            "final_return": episodes.final(done),
            "steps_per_second": done * config.batch_size * len(seeds) / (time.perf_counter() - loop_started),
            "compile_seconds": compile_seconds,
            "wall_seconds": time.perf_counter() - started,
            "num_parameters": num_parameters,
            "devices": [str(device) for device in jax.devices()],
            "versions": versions(),
            "git_commit": git_commit(),
        }
        (run_dir / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        for logger in loggers:
            logger.finish(summary)
        if interrupted:
            print(f"interrupted after {done * config.batch_size} steps; what was reached is in {run_dir}")
    return summary


class EpisodeSums:
    """Returns and lengths of finished episodes, as sums and counts: memory is bounded, and no episode is no NaN."""

    def __init__(self, config: ExperimentConfig, num_seeds: int):
        self.final_from = config.num_updates * (1 - FINAL_FRACTION)
        self.window = np.zeros((3, num_seeds))  # sums of return, length, count since the last log point
        self.final_window = np.zeros((3, num_seeds))
        self.last_return: float | None = None

    def add(self, update: int, metrics: dict[str, np.ndarray]) -> None:
        """Count the episodes that ended in update number `update`, the first being 1."""
        sums = np.stack([metrics[f"episode/{name}"] for name in ("return", "length", "count")]).astype(float)
        self.window += sums
        if update > self.final_from:
            self.final_window += sums

    def pop(self) -> list[dict[str, float | int | None]]:
        """Means since the last call, per seed; None where no episode ended."""
        total, length, count = self.window
        if count.sum():
            self.last_return = float(total.sum() / count.sum())
        self.window = np.zeros_like(self.window)
        return [
            {
                "episode/return": float(r / n) if n else None,
                "episode/length": float(steps / n) if n else None,
                "episode/count": int(n),
            }
            for r, steps, n in zip(total, length, count, strict=True)
        ]

    def final(self, done: int) -> dict[str, Any]:
        """Mean return of the episodes that ended in the last tenth of the steps, per seed and over seeds."""
        total, _, count = self.final_window
        per_seed = [float(r / n) if n else None for r, n in zip(total, count, strict=True)]
        known = [r for r in per_seed if r is not None]
        if not known:
            return {"per_seed": per_seed, "mean": None, "iqm": None, "ci95": None}
        interval = bootstrap_ci(known) if len(known) > 1 else None
        return {
            "per_seed": per_seed,
            "mean": float(np.mean(known)),
            "iqm": float(iqm(known)),
            "ci95": None if interval is None else [float(x) for x in interval],
        }


def rows(
    config: ExperimentConfig,
    seeds: Sequence[int],
    update: int,
    metrics: dict[str, np.ndarray],
    episodes: list[dict[str, float | int | None]],
    rate: float,
) -> list[dict[str, float | int | None]]:
    """The lines of a log point: the learner's metrics of its last update, and the episodes since the one before."""
    scalars = {name: values for name, values in metrics.items() if not name.startswith("episode/")}
    return [
        {
            "seed": seed,
            "step": update * config.batch_size,
            **episodes[i],
            **{name: float(values[i]) for name, values in scalars.items()},
            "perf/steps_per_second": rate / len(seeds),
        }
        for i, seed in enumerate(seeds)
    ]


def enable_compilation_cache() -> None:
    """Keep compiled programs between runs, unless the user has said where (or that jax should not)."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rlformers" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = ("rlformers", "jax", "jaxlib", "equinox", "optax", "distrax", "gymnax", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_commit() -> str | None:
    """Commit of the checkout that rlformers runs from, marked if it has uncommitted changes; None outside of one."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__]
    try:
        subprocess.run(tracked, check=True, capture_output=True)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
