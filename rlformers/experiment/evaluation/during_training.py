"""Evaluations during training, in environments of their own: `eval.*`.

They happen at log points, so that a row of `metrics.jsonl` with the same step holds their results:
at the first one, at the first at or after every multiple of `eval.every`, and at the last. If
`eval.every` is less than the distance of two log points, they happen after any update, and those
between log points have rows of their own. Their random numbers come from the seed and the number of
the update. So they change neither training nor a run that was stopped and resumed.
"""

import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.agents.ppo import TrainState
from rlformers.config import ExperimentConfig
from rlformers.envs.meta.splits import overlap
from rlformers.experiment.evaluation.all_seeds import EpisodesDoNotEnd, Player
from rlformers.experiment.evaluation.evaluate import evaluation_key
from rlformers.experiment.program.build import build
from rlformers.experiment.statistics.over_seeds import over_seeds


def make_player(config: ExperimentConfig) -> Player:
    """The player of the evaluations of a run, and of runs that differ from it only in `Numbers`.

    Warns on stderr if held-out tasks are not held out.
    """
    where = config.evaluated
    if warning := overlap(config.env, config.env_kwargs, where.env, where.env_kwargs):
        print(f"rlformers: warning: eval.{warning}", file=sys.stderr)
    return Player(where, build(where), config.eval.episodes, config.eval.num_envs, config.eval.greedy)


class PeriodicEvaluation:
    """The evaluations of one run; none if `eval.every` is 0.

    Args:
        config: The configuration of the run.
        seeds: S training seeds.
        saved: The result of `to_json` in an earlier process.
        player: A player from `make_player`, which runs of one program share to compile it once;
            default: its own.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        seeds: Sequence[int],
        saved: dict[str, Any] | None = None,
        player: Player | None = None,
    ):
        self._config = config
        self._last = saved
        self.seconds = 0.0  # total time of the evaluations
        if config.eval.every:
            self._keys = jax.vmap(evaluation_key, (None, 0))(0, jnp.array(seeds))
            self._play = player or make_player(config)

    def next_update(self, done: int) -> int:
        """The first update after number `done` with an evaluation; the last update if no other has one."""
        config, every, last = self._config, int(self._config.eval.every), self._config.num_updates
        if not every:
            return last
        log_every, batch = config.updates_per_log_point, config.batch_size
        if every < batch * log_every:
            log_every = 1
        logged = done // log_every * log_every
        step = (logged * batch // every + 1) * every if logged else 0
        return min(last, max(1, -(-step // (batch * log_every))) * log_every)

    def due(self, update: int) -> bool:
        """Whether there is an evaluation after an update."""
        return bool(self._config.eval.every) and update == self.next_update(update - 1)

    def after(
        self, update: int, states: TrainState, sound: Sequence[bool] | None = None
    ) -> list[dict[str, float | None]]:
        """Evaluate: `eval/return`, `eval/length`, ... of each seed.

        Args:
            update: Number of the last update, after which an evaluation is `due`.
            states: The state after it, leaves [S, ...].
            sound: Whether each seed is sound, that is has not failed; default: all are. Failed
                seeds get None.
        """
        started = time.perf_counter()
        moments = states.normalizers.observation if self._config.ppo.normalize_observations else None
        keys = jax.vmap(jax.random.fold_in, (0, None))(self._keys, update)
        try:
            found = means(self._play(states.agent, moments, keys))
        except EpisodesDoNotEnd as error:
            print(f"eval: {error}; the evaluation after {update * self._config.batch_size:,} steps is left out")
            found = [{"return": None, "length": None} for _ in range(self._config.seeds)]
        if sound is not None:
            found = [row if good else dict.fromkeys(row) for row, good in zip(found, sound, strict=True)]
        self._last = {"update": update, "found": found, "sound": None if sound is None else list(sound)}
        self.seconds += time.perf_counter() - started
        return [{f"eval/{name}": value for name, value in row.items()} for row in found]

    def score(self, update: int) -> float | None:
        """Mean return over the sound seeds in the evaluation after an update; None without evaluation or returns."""
        if self._last is None or self._last["update"] != update:
            return None
        found = self._last["found"]
        sound = self._last.get("sound") or [True] * len(found)
        returns = [row["return"] for row, good in zip(found, sound, strict=True) if good]
        return None if None in returns else float(np.mean(returns))

    def to_json(self) -> dict[str, Any] | None:
        """The state that a resumed run needs."""
        return self._last

    def summary(self) -> dict[str, Any] | None:
        """The last evaluation: its step, and for each result the values of the seeds with their statistics."""
        if self._last is None:
            return None
        found = self._last["found"]
        return {"step": self._last["update"] * self._config.batch_size} | {
            name: over_seeds([row[name] for row in found]) for name in found[0]
        }


def means(values: dict[str, np.ndarray]) -> list[dict[str, float | None]]:
    """Means over N episodes of the values [S, N] that a `Player` returns, per seed; None where they are not finite.

    Where episodes are trials, `attempt_k` is the mean return of the k-th attempt over the trials
    that completed it.
    """
    rows: list[dict[str, float | None]] = [{} for _ in values["return"]]
    for seed, row in enumerate(rows):
        row |= {name: _mean(array[seed]) for name, array in values.items() if array.ndim == 2 and name != "task"}
        if "attempt_return" in values:
            returns, counts = values["attempt_return"][seed], values["attempt_count"][seed]
            for k in range(returns.shape[1]):
                row[f"attempt_{k + 1}"] = _mean(returns[counts[:, k] > 0, k])
    return rows


def _mean(values: np.ndarray) -> float | None:
    mean = float(np.mean(values, dtype=float)) if len(values) else math.nan
    return mean if math.isfinite(mean) else None
