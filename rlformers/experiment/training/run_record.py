"""What one run of a program keeps: its rows, checkpoints, evaluations and summary, in its own directory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rlformers.agents.ppo import TrainState
from rlformers.config import ExperimentConfig
from rlformers.config.compose import to_dict
from rlformers.cores.cost import num_floats
from rlformers.experiment.checkpoints.store import Checkpoint, CheckpointStore, saved_updates
from rlformers.experiment.evaluation.all_seeds import Player
from rlformers.experiment.evaluation.during_training import PeriodicEvaluation
from rlformers.experiment.run_files.provenance import git_commit, versions
from rlformers.experiment.run_files.run_dir import write_json
from rlformers.experiment.tracking import JsonlSink, open_views
from rlformers.experiment.training.episode_sums import EpisodeSums
from rlformers.experiment.training.nan_guard import Guard
from rlformers.experiment.training.return_windows import ReturnWindows
from rlformers.experiment.training.stop_request import Failed


class Member:
    """A run, but for the program that makes its updates.

    Args:
        config: What it is a run of.
        run_dir: Its directory.
        group: Group of its W&B runs, unless the configuration names one.
        checkpoint: Where it goes on from.
        template: Its state, leaves [S, ...]; arrays or `jax.ShapeDtypeStruct`s.
        player: What plays its evaluations (`periodic.make_player`); None: there are none.
        devices: Those that compute it.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        run_dir: Path,
        group: str | None,
        checkpoint: Checkpoint | None,
        template: TrainState,
        player: Player | None,
        devices: Sequence[jax.Device],
    ):
        self.config, self.run_dir, self.devices = config, run_dir, devices
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        self.done = checkpoint.update if checkpoint else 0  # updates
        self.summary: dict[str, Any] = {}
        self.failure: Failed | None = None
        self._failure: dict[str, Any] | None = None
        self._num_parameters = sum(x.size for x in jax.tree.leaves(template.agent)) // len(self.seeds)
        self._state_size = num_floats(template.memory) // (len(self.seeds) * config.ppo.num_envs)
        meta = checkpoint.meta if checkpoint else {}
        self.store = CheckpointStore(run_dir / "checkpoints", config.checkpoint.keep, checkpoint)
        self.guard = Guard(template, self.seeds, config.batch_size)
        self.evaluation = PeriodicEvaluation(config, self.seeds, meta.get("evaluation"), player)
        self.windows = ReturnWindows(config, meta.get("windows"))
        self.episodes = EpisodeSums(config, len(self.seeds))
        if checkpoint:
            self.episodes.restore(meta["episodes"])
        self.metrics = JsonlSink(run_dir / "metrics.jsonl", meta.get("metrics_bytes", 0))
        self.sinks = [self.metrics, *open_views(config, run_dir, group, self.done * config.batch_size)]

    def after(self, update: int, metrics: dict[str, Any], states: Callable[[], TrainState], rate: float) -> None:
        """Take note of an update; if something in it is not finite, that is the `failure`, and it does not count.

        Args:
            update: Its number, the first being 1.
            metrics: The learner's, leaves [S, ...].
            states: Gives the state after the last update that was made; an evaluation ends a chunk, so it is this one.
            rate: Steps per second of each seed.
        """
        try:
            self.guard.check(update, metrics)
        except Failed as failed:
            self._fail(failed)
            return
        self.done = update
        self.episodes.add(update, metrics)
        self.windows.add(update, metrics)
        if update % self.config.updates_per_log_point == 0 or update == self.config.num_updates:
            lines = rows(self.config, self.seeds, update, metrics, self.episodes.pop(), rate)
            if self.evaluation.due(update):
                evaluations = self.evaluation.after(update, states())
                lines = [row | evaluation for row, evaluation in zip(lines, evaluations, strict=True)]
            for row in lines:
                for sink in self.sinks:
                    sink.log(row)

    def commit(self) -> None:
        """Tell the sinks how far the checkpoints on disk reach."""
        for sink in self.sinks:
            sink.commit(self.store.newest * self.config.batch_size)

    def next_score(self, done: int) -> int:
        """The first update after number `done` whose state has a score; the last update if there is none."""
        return self.evaluation.next_update(done) if self.config.eval.every else self.windows.next_end(done)

    def best(self) -> bool:
        """Whether the state has a score, that of its evaluation or of the window it ends, better than all others."""
        return self._score is not None and (self.store.best_score is None or self._score > self.store.best_score)

    @property
    def _score(self) -> float | None:
        return (self.evaluation if self.config.eval.every else self.windows).score(self.done)

    def save(self, states: TrainState, clock: dict[str, float]) -> None:
        """Save in the background the state after the last update, with what the loop's clocks show."""
        batch, every = self.config.batch_size, self.config.checkpoint.keep_every
        pinned = every > 0 and self.done * batch % every < batch
        meta = {
            "config": to_dict(self.config),
            "versions": versions(),
            "num_devices": len(self.devices),
            "metrics_bytes": self.metrics.sync(),
            "episodes": self.episodes.to_json(),
            "evaluation": self.evaluation.to_json(),
            "windows": self.windows.to_json(),
        }
        # Of states with one score the first is the best; another one is here only if the clock asked for a checkpoint.
        self.store.save(self.done, states, meta | clock, self._score if self.best() else None, pinned)

    def _fail(self, failed: Failed) -> None:
        """Note that it cannot go on, with the checkpoint to go back to."""
        self.store.close()
        saved = saved_updates(self.store.directory)
        last = str(self.store.directory / str(saved[-1])) if saved else None
        self._failure = failed.details | {"checkpoint": last}
        self.failure = failed.leaving(self.run_dir, last, self.config.debug)

    def finish(self, clock: dict[str, float]) -> None:
        """Write `summary.json` and close all files.

        Args:
            clock: What the loop's clocks show, `loop_seconds` among them.
        """
        self.store.close()
        steps = self.done * self.config.batch_size
        seconds = dict(clock)
        rate = steps * len(self.seeds) / max(seconds.pop("loop_seconds"), 1e-9)
        self.summary = {
            "env": self.config.env,
            "core": self.config.core.name,
            "seeds": self.seeds,
            # Without its last state it is not complete: the same command must compute that again.
            "completed": self.done == self.config.num_updates and self.store.newest == self.done,
            "total_steps": steps,
            "last_checkpoint": self.store.newest,  # the update after which it was; 0: there is none
            "final_return": self.episodes.final(),
            "final_attempts": self.episodes.final_attempts(),
            "evaluation": self.evaluation.summary(),
            "failure": self._failure,
            "save_failure": self.store.failure,
            "steps_per_second": rate,
            **seconds,
            "num_parameters": self._num_parameters,
            "state_size": self._state_size,
            "devices": [str(device) for device in self.devices],
            "versions": versions(),
            "git_commit": git_commit(),
        }
        write_json(self.run_dir / "summary.json", self.summary, indent=2)
        for sink in self.sinks:
            sink.finish(self.summary)


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
