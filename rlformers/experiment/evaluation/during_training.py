"""Evaluations while training goes on, in environments of their own: `eval.*`.

They fall on log points, so that what they find stands in a row of `metrics.jsonl` whose step is theirs: on the first
one, on the first at or after every multiple of `eval.every`, and on the last. If `eval.every` is less than there is
between two log points, they fall on updates instead, and those between log points have rows of their own. Their random
numbers come from the seed and the number of the update: training is the same with and without them, and so is a run
that was stopped in between.
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
    """What plays the evaluations of a run, and of those that differ from it in `Numbers` only.

    Says on stderr if their held-out tasks are not held out.
    """
    where = config.evaluated
    if warning := overlap(config.env, config.env_kwargs, where.env, where.env_kwargs):
        print(f"rlformers: warning: eval.{warning}", file=sys.stderr)
    return Player(where, build(where), config.eval.episodes, config.eval.num_envs, config.eval.greedy)


class PeriodicEvaluation:
    """The evaluations of one run; none of them if `eval.every` is 0.

    Args:
        config: The run's.
        seeds: S training seeds.
        saved: What `to_json` gave.
        player: That of `make_player`, so that runs of one program compile it once; default: its own.
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
        self.seconds = 0.0  # that all evaluations took
        if config.eval.every:
            self._keys = jax.vmap(evaluation_key, (None, 0))(0, jnp.array(seeds))
            self._play = player or make_player(config)

    def next_update(self, done: int) -> int:
        """The first update after number `done` with an evaluation; the last update if there is none."""
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
            update: Number of the update that has been made, after which one is `due`.
            states: The state after it, leaves [S, ...].
            sound: For each seed whether it has not failed; default: none has. Of the others nothing is found.
        """
        started = time.perf_counter()
        moments = states.normalizers.observation if self._config.ppo.normalize_observations else None
        keys = jax.vmap(jax.random.fold_in, (0, None))(self._keys, update)
        try:
            found = means(self._play(states.agent, moments, keys))
        except EpisodesDoNotEnd as error:
            print(f"eval: {error}; left out after {update * self._config.batch_size:,} steps")
            found = [{"return": None, "length": None} for _ in range(self._config.seeds)]
        if sound is not None:
            found = [row if good else dict.fromkeys(row) for row, good in zip(found, sound, strict=True)]
        self._last = {"update": update, "found": found, "sound": None if sound is None else list(sound)}
        self.seconds += time.perf_counter() - started
        return [{f"eval/{name}": value for name, value in row.items()} for row in found]

    def score(self, update: int) -> float | None:
        """Mean return over the sound seeds of the evaluation after an update; None if there was none or it has none."""
        if self._last is None or self._last["update"] != update:
            return None
        found = self._last["found"]
        sound = self._last.get("sound") or [True] * len(found)
        returns = [row["return"] for row, good in zip(found, sound, strict=True) if good]
        return None if None in returns else float(np.mean(returns))

    def to_json(self) -> dict[str, Any] | None:
        """What a resumed run has to know."""
        return self._last

    def summary(self) -> dict[str, Any] | None:
        """The last evaluation: its step, and of everything that it found the values of the seeds and statistics."""
        if self._last is None:
            return None
        found = self._last["found"]
        return {"step": self._last["update"] * self._config.batch_size} | {
            name: over_seeds([row[name] for row in found]) for name in found[0]
        }


def means(values: dict[str, np.ndarray]) -> list[dict[str, float | None]]:
    """Per seed, the means over N episodes of the values [S, N] that a `Player` returns, None where they are not finite.

    Where episodes are trials, `attempt_k` is the mean return of the k-th attempt of those that completed it.
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
