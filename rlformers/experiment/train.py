"""The outer loop: Python over jitted, buffer-donating updates; it logs, saves, shows progress, and stops when asked to.

A run is a function of its configuration: how updates are grouped into chunks, when checkpoints are written and how
often it is stopped and resumed changes neither parameters nor `metrics.jsonl`, but for `perf/steps_per_second`.
Environments on the host are the exception: a resumed run starts new episodes, and says so.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.compose import to_dict
from rlformers.config import ExperimentConfig
from rlformers.cores.cost import num_floats
from rlformers.envs.host import on_host
from rlformers.experiment.build import build
from rlformers.experiment.checkpoint import Checkpoint, CheckpointStore, read, saved_updates
from rlformers.experiment.compilation_cache import enable_compilation_cache
from rlformers.experiment.episodes import EpisodeSums
from rlformers.experiment.guard import Guard, debugged
from rlformers.experiment.periodic import PeriodicEvaluation
from rlformers.experiment.progress import Progress
from rlformers.experiment.provenance import git_commit, versions
from rlformers.experiment.resume import finished, latest, with_new_episodes
from rlformers.experiment.run_dir import locked, write_config, write_json
from rlformers.experiment.sinks import JsonlSink, open_views
from rlformers.experiment.stop import Failed, Interrupted, StopRequest


def train(config: ExperimentConfig, run_dir: Path, group: str | None = None) -> dict[str, Any]:
    """Train all seeds of an experiment, from the last checkpoint in `run_dir` if there is one; return its summary.

    Writes `metrics.jsonl` (a line per seed and log point), `summary.json`, `checkpoints/` and `wandb/` into `run_dir`.

    Args:
        config: What to run.
        run_dir: A directory of `create_run_dir`.
        group: Group of the W&B runs, unless the configuration names one.

    Raises:
        ValueError: Another process trains there, or the directory is that of another configuration.
        CheckpointError: No checkpoint can be read, or the last state cannot be saved.
        Failed: A loss, gradient, parameter or observation is not finite; the last good checkpoint is kept.
        Interrupted: SIGINT or SIGTERM came; everything is saved.
    """
    with locked(run_dir), StopRequest() as stop:
        checkpoint = latest(run_dir, config)
        summary = finished(run_dir, config, checkpoint)
        if summary is not None:
            print(f"{run_dir} is finished")
            return summary
        write_config(run_dir, config)
        return Run(config, run_dir, group, checkpoint).train(stop)


class Run:
    """A training between two chunks of updates: all that changes while it runs."""

    def __init__(self, config: ExperimentConfig, run_dir: Path, group: str | None, checkpoint: Checkpoint | None):
        started = time.perf_counter()
        enable_compilation_cache()
        built = build(config)
        learner = built.learner
        self.config, self.run_dir = config, run_dir
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        self.store = CheckpointStore(run_dir / "checkpoints", config.checkpoint.keep, checkpoint)
        keys = jax.vmap(jax.random.key)(jnp.array(self.seeds))
        init = jax.jit(jax.vmap(learner.init))
        template = jax.eval_shape(init, keys)
        self.num_parameters = sum(x.size for x in jax.tree.leaves(template.agent)) // len(self.seeds)
        self.state_size = num_floats(template.memory) // (len(self.seeds) * config.ppo.num_envs)
        self.states = read(checkpoint, template) if checkpoint else init(keys)
        self.guard = Guard(template, self.seeds, config.batch_size)
        update = jax.vmap(debugged(learner.update) if config.debug else learner.update)
        self.update = jax.jit(update, donate_argnums=0).lower(template).compile()
        self.compile_seconds = time.perf_counter() - started

        self.done = self.saved = checkpoint.update if checkpoint else 0
        self.episodes = EpisodeSums(config, len(self.seeds))
        self.evaluation = PeriodicEvaluation(config, self.seeds, checkpoint and checkpoint.meta.get("evaluation"))
        self.failure: dict[str, Any] | None = None
        if checkpoint:
            self.episodes.restore(checkpoint.meta["episodes"])
            print(f"going on after {self.done * config.batch_size:,} steps")
            if on_host(built.env):
                again = jax.vmap(jax.random.fold_in, (0, None))(keys, self.done)
                self.states = with_new_episodes(self.states, init(again), config.env)
        # So many seconds ago the run would have begun, had it never been stopped.
        self.wall_started = started - (checkpoint.meta["wall_seconds"] if checkpoint else 0.0)
        self.loop_seconds = checkpoint.meta["loop_seconds"] if checkpoint else 0.0
        self.metrics = JsonlSink(run_dir / "metrics.jsonl", checkpoint.meta["metrics_bytes"] if checkpoint else 0)
        self.sinks = [self.metrics, *open_views(config, run_dir, group, self.done * config.batch_size)]

    def train(self, stop: StopRequest) -> dict[str, Any]:
        """Run to the end, or to the end of the chunk in which a stop is requested; return the summary."""
        config = self.config
        progress = Progress(config.num_updates * config.batch_size, len(self.seeds), self.done * config.batch_size)
        lap = time.perf_counter()
        chunk, save_at = 1, lap + (config.checkpoint.every or float("inf"))
        try:
            while self.done < config.num_updates and not stop.received:
                keep_at = self._next_to_keep()
                end = min(self.done + chunk, keep_at, self.evaluation.next_update(self.done))
                evaluating = self.evaluation.seconds
                count, seconds = self._advance(end - self.done, stop)
                rate = count * config.batch_size * len(self.seeds) / seconds
                progress.show(self.done * config.batch_size, rate, self.episodes.last_return)
                chunk = max(1, min(1000, int(config.chunk_seconds / seconds * count)))
                lap, before = time.perf_counter(), lap
                self.loop_seconds += lap - before - (self.evaluation.seconds - evaluating)
                for sink in self.sinks:
                    sink.commit(self.store.newest * config.batch_size)
                due = (lap >= save_at and not self.store.busy) or self.done == keep_at
                if due or self._best():
                    self._save()
                    save_at = lap + (config.checkpoint.every or float("inf"))
            if self.saved < self.done:
                self._save()
            self.store.wait()
        except Failed as failed:
            raise self._stopped_by(failed) from None
        finally:
            progress.close()
            self.store.close()
            summary = self._summary()
            write_json(self.run_dir / "summary.json", summary, indent=2)
            for sink in self.sinks:
                sink.finish(summary)
        if not summary["completed"]:
            raise Interrupted(
                f"stopped after {summary['total_steps']:,} steps; resume={self.run_dir} goes on from there"
            )
        return summary

    def _advance(self, count: int, stop: StopRequest) -> tuple[int, float]:
        """Make up to `count` updates, at least one, and log them; return how many, and the seconds they took."""
        started = time.perf_counter()
        pending: list[dict[str, Any]] = []
        while len(pending) < count and not (pending and stop.received):
            self.states, metrics = self.update(self.states)
            pending.append(metrics)
        fetched = jax.device_get(pending)
        seconds = time.perf_counter() - started
        rate = len(fetched) * self.config.batch_size / seconds
        log_every = self.config.updates_per_log_point
        for metrics in fetched:
            self.guard.check(self.done + 1, metrics)
            self.done += 1
            self.episodes.add(self.done, metrics)
            if self.done % log_every == 0 or self.done == self.config.num_updates:
                lines = rows(self.config, self.seeds, self.done, metrics, self.episodes.pop(), rate)
                # An evaluation ends a chunk: the states are those after this update.
                for row, evaluation in zip(lines, self.evaluation.after(self.done, self.states), strict=True):
                    for sink in self.sinks:
                        sink.log(row | evaluation)
        return len(fetched), seconds

    def _next_to_keep(self) -> int:
        """The update that reaches the next multiple of `checkpoint.keep_every`, or the last one."""
        batch, every = self.config.batch_size, int(self.config.checkpoint.keep_every)
        steps = (self.done * batch // every + 1) * every if every else self.config.total_steps
        return min(-(-int(steps) // batch), self.config.num_updates)

    def _best(self) -> bool:
        """Whether the state has been evaluated, better than all others."""
        score = self.evaluation.score(self.done)
        return score is not None and (self.store.best_score is None or score > self.store.best_score)

    def _stopped_by(self, failed: Failed) -> Failed:
        """The same with the checkpoint to go back to; for the summary too."""
        self.store.close()
        saved = saved_updates(self.store.directory)
        last = str(self.store.directory / str(saved[-1])) if saved else None
        self.failure = failed.details | {"checkpoint": last}
        return failed.leaving(self.run_dir, last, self.config.debug)

    def _save(self) -> None:
        batch, every = self.config.batch_size, self.config.checkpoint.keep_every
        pinned = every > 0 and self.done * batch % every < batch
        meta = {
            "config": to_dict(self.config),
            "versions": versions(),
            "metrics_bytes": self.metrics.sync(),
            "episodes": self.episodes.to_json(),
            "evaluation": self.evaluation.to_json(),
            "loop_seconds": self.loop_seconds,
            "wall_seconds": time.perf_counter() - self.wall_started,
        }
        score = self.evaluation.score(self.done) if self.config.eval.every else self.episodes.pop_score()
        self.store.save(self.done, self.states, meta, score, pinned)
        self.saved = self.done

    def _summary(self) -> dict[str, Any]:
        steps = self.done * self.config.batch_size
        return {
            "env": self.config.env,
            "core": self.config.core.name,
            "seeds": self.seeds,
            "completed": self.done == self.config.num_updates,
            "total_steps": steps,
            "final_return": self.episodes.final(),
            "final_attempts": self.episodes.final_attempts(),
            "evaluation": self.evaluation.summary(),
            "failure": self.failure,
            "steps_per_second": steps * len(self.seeds) / max(self.loop_seconds, 1e-9),
            "compile_seconds": self.compile_seconds,
            "wall_seconds": time.perf_counter() - self.wall_started,
            "num_parameters": self.num_parameters,
            "state_size": self.state_size,
            "devices": [str(device) for device in jax.devices()],
            "versions": versions(),
            "git_commit": git_commit(),
        }


def rows(
    config: ExperimentConfig,
    seeds: Sequence[int],
    update: int,
    metrics: dict[str, np.ndarray],
    episodes: list[dict[str, float | int | None]],
    rate: float,
) -> list[dict[str, float | int | None]]:
    """The lines of a log point: the learner's metrics of its last update, and the episodes since the one before.

    `rate` is that of each seed, in steps per second.
    """
    scalars = {name: values for name, values in metrics.items() if not name.startswith("episode/")}
    return [
        {
            "seed": seed,
            "step": update * config.batch_size,
            **episodes[i],
            **{name: float(values[i]) for name, values in scalars.items()},
            "perf/steps_per_second": rate,
        }
        for i, seed in enumerate(seeds)
    ]
