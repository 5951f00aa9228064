"""The records of one run of a program: its rows, checkpoints, evaluations and summary, in its own directory."""

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
from rlformers.experiment.run_files.provenance import git_commit, plugins, versions
from rlformers.experiment.run_files.run_dir import write_json
from rlformers.experiment.run_files.summary import still_reached
from rlformers.experiment.tracking import JsonlSink, open_views
from rlformers.experiment.training.episode_sums import EpisodeSums
from rlformers.experiment.training.failed_seeds import FailedSeeds, failed_text
from rlformers.experiment.training.log_sums import LogSums
from rlformers.experiment.training.nan_guard import Guard
from rlformers.experiment.training.return_windows import ReturnWindows
from rlformers.experiment.training.stop_request import Failed


class Member:
    """A run, without the program that makes its updates.

    Args:
        config: The experiment.
        run_dir: Its directory.
        group: Group of its W&B runs, unless the configuration names one.
        checkpoint: The checkpoint that it continues from; None: it starts.
        template: Its state, leaves [S, ...]; arrays or `jax.ShapeDtypeStruct`s.
        player: Plays its evaluations (`during_training.make_player`); None: there are none.
        devices: The devices that compute it.
        group_size: Number of seeds that are vmapped together.
        taken: What a new run took from that of `init_from` (`other_run.begin_with`).
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
        group_size: int,
        taken: dict[str, Any] | None = None,
    ):
        self.config, self.run_dir, self.devices, self.group_size = config, run_dir, devices, group_size
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        self.done = checkpoint.update if checkpoint else 0  # updates
        self.summary: dict[str, Any] = {}
        self.failure: Failed | None = None
        self.reached: dict[str, Any] | None = None  # where and with what return it has ended early
        self._failure: dict[str, Any] | None = None
        self._num_parameters = sum(x.size for x in jax.tree.leaves(template.agent)) // len(self.seeds)
        self._state_size = num_floats(template.memory) // (len(self.seeds) * config.ppo.num_envs)
        meta = checkpoint.meta if checkpoint else {}
        self.taken = meta.get("taken") if checkpoint else taken
        self.store = CheckpointStore(run_dir / "checkpoints", config.checkpoint.keep, checkpoint)
        self.guard = Guard(template)
        self.seeds_failed = FailedSeeds(self.seeds, config.batch_size, meta.get("failed", ()))
        self.log_sums = LogSums(meta.get("log_sums"))
        self.evaluation = PeriodicEvaluation(config, self.seeds, meta.get("evaluation"), player)
        self.windows = ReturnWindows(config, meta.get("windows"))
        self.episodes = EpisodeSums(config, len(self.seeds))
        if checkpoint:
            self.episodes.restore(meta["episodes"])
            self.reached = still_reached(meta.get("reached"), config.stop_return)
        self.metrics = JsonlSink(run_dir / "metrics.jsonl", meta.get("metrics_bytes", 0))
        self.sinks = [self.metrics, *open_views(config, run_dir, group, self.done * config.batch_size)]

    def after(self, update: int, metrics: dict[str, Any], states: Callable[[], TrainState], rate: float) -> None:
        """Record an update. A seed in which something is not finite ends; if none is left, set `failure`.

        Args:
            update: Its number, the first being 1.
            metrics: The learner's metrics, leaves [S, ...].
            states: Returns the state after the last update of the chunk. An evaluation ends a
                chunk, so that it gets the state after this update.
            rate: Steps per second of each seed.
        """
        new = self.seeds_failed.note(update, self.guard.check(metrics))
        sound = self.seeds_failed.sound
        if not any(sound):
            first = new[0]
            self.failure = Failed(first["what"], update, first["step"], [one["seed"] for one in new])
            return
        if new:
            print(f"{failed_text(new)}; the other seeds continue")
        self.done = update
        metrics = self.seeds_failed.without(metrics)
        self.episodes.add(update, metrics)
        self.windows.add(update, metrics)
        self.log_sums.add(metrics)
        lines: list[dict[str, Any]] = [{"seed": seed, "step": update * self.config.batch_size} for seed in self.seeds]
        logged = update % self.config.updates_per_log_point == 0 or update == self.config.num_updates
        if logged:
            columns = zip(lines, self.episodes.pop(), self.log_sums.pop(), strict=True)
            lines = [line | episodes | learner | {"perf/steps_per_second": rate} for line, episodes, learner in columns]
        evaluated = self.evaluation.due(update)
        if evaluated:
            found = self.evaluation.after(update, states(), sound)
            lines = [line | evaluation for line, evaluation in zip(lines, found, strict=True)]
        for line in [line for line, good in zip(lines, sound, strict=True) if good and (logged or evaluated)]:
            for sink in self.sinks:
                sink.log(line)
        if evaluated if self.config.eval.every else logged:
            self._look_at_return(lines, sound)

    def _look_at_return(self, lines: Sequence[dict[str, Any]], sound: Sequence[bool]) -> None:
        """End if the mean over the sound seeds is what `stop.return` asks for; not while one of them has no episode."""
        key = "eval/return" if self.config.eval.every else "episode/return"
        returns = [line[key] for line, good in zip(lines, sound, strict=True) if good]
        if self.config.stop_return is not None and None not in returns:
            found = {"step": self.done * self.config.batch_size, "return": float(np.mean(returns))}
            self.reached = still_reached(found, self.config.stop_return)

    def next_look(self, done: int) -> int:
        """The first update after number `done` at which the run may end."""
        config, every = self.config, self.config.updates_per_log_point
        if config.stop_return is None or config.eval.every:
            return self.next_score(done)
        return min((done // every + 1) * every, config.num_updates)

    def commit(self) -> None:
        """Tell the sinks the step of the newest checkpoint on disk."""
        for sink in self.sinks:
            sink.commit(self.store.newest * self.config.batch_size)

    def next_score(self, done: int) -> int:
        """The first update after number `done` whose state has a score; the last update if there is none."""
        return self.evaluation.next_update(done) if self.config.eval.every else self.windows.next_end(done)

    def best(self) -> bool:
        """Whether the score of the state, from its evaluation or from the window it ends, is the best so far."""
        return self._score is not None and (self.store.best_score is None or self._score > self.store.best_score)

    @property
    def _score(self) -> float | None:
        return (self.evaluation if self.config.eval.every else self.windows).score(self.done)

    def save(self, states: TrainState, clock: dict[str, float]) -> None:
        """Save the state after the last update, with the times of the loop's clocks, in the background."""
        batch, every = self.config.batch_size, self.config.checkpoint.keep_every
        pinned = every > 0 and self.done * batch % every < batch
        meta = {
            "config": to_dict(self.config),
            "versions": versions(),
            "num_devices": len(self.devices),
            "group_size": self.group_size,
            "metrics_bytes": self.metrics.sync(),
            "episodes": self.episodes.to_json(),
            "evaluation": self.evaluation.to_json(),
            "windows": self.windows.to_json(),
            "log_sums": self.log_sums.to_json(),
            "failed": self.seeds_failed.until(self.done),
            "reached": self.reached,
            "taken": self.taken,
        }
        # Of states with equal scores the first is the best. A later one comes here only because the
        # clock asked for it.
        self.store.save(self.done, states, meta | clock, self._score if self.best() else None, pinned)

    def save_last_good(self, states: TrainState, clock: dict[str, float]) -> None:
        """Save the state before a failure or at an early end, unless it is saved. No seed has changed it since."""
        self.store.settle()
        if self.done > self.store.newest:
            self.save(states, clock)

    def finish(self, clock: dict[str, float]) -> None:
        """Write `summary.json` and close all files, once.

        Args:
            clock: The times of the loop's clocks, `loop_seconds` among them.
        """
        if self.summary:
            return
        self.store.close()
        if self.failure is not None:
            saved = saved_updates(self.store.directory)
            last = str(self.store.directory / str(saved[-1])) if saved else None
            self._failure = self.failure.details | {"checkpoint": last}
            self.failure = self.failure.leaving(self.run_dir, last, self.config.debug)
        steps = self.done * self.config.batch_size
        seconds = dict(clock)
        rate = steps * len(self.seeds) / max(seconds.pop("loop_seconds"), 1e-9)
        self.summary = {
            "env": self.config.env,
            "core": self.config.core.name,
            "seeds": self.seeds,
            # A run without its last state is not complete: the same command must compute it again.
            "completed": (self.done == self.config.num_updates or self.reached is not None)
            and self.store.newest == self.done,
            "stopped_early": self.reached,  # its step and its return, at least `stop.return`; None: it was not
            "total_steps": steps,
            "init_from": self.taken,  # run, update, step and seeds of the agents it began with; None: its own
            "last_checkpoint": self.store.newest,  # its update; 0: there is none
            "final_return": self.episodes.final(self.seeds_failed.sound),
            "final_attempts": self.episodes.final_attempts(),
            "evaluation": self.evaluation.summary(),
            "failed": self.seeds_failed.failed,
            "failure": self._failure,  # of all seeds
            "save_failure": self.store.failure,
            "steps_per_second": rate,
            **seconds,
            "num_parameters": self._num_parameters,
            "state_size": self._state_size,
            "devices": [str(device) for device in self.devices],
            "versions": versions(),
            "git_commit": git_commit(),
            "plugins": plugins(self.config),
        }
        write_json(self.run_dir / "summary.json", self.summary, indent=2)
        for sink in self.sinks:
            sink.finish(self.summary)
