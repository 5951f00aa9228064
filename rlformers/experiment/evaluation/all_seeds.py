"""Plays whole episodes with all seeds in one program, for `rlformers evaluate` and for evaluations during training."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from rlformers.config import ExperimentConfig
from rlformers.errors import UserError
from rlformers.experiment.evaluation.one_agent import make_rollout, quotas
from rlformers.experiment.program.build import Built, in_precision

# If no episode of an environment ends within this many steps, the player gives up.
_MOST_STEPS = 100_000
_CHUNK = 1000


class EpisodesDoNotEnd(UserError):
    """The episodes of an environment do not end; one line that names it."""


class Player:
    """Plays a fixed number of episodes at every call; compiled once.

    Args:
        config: The experiment, in the environment to play in.
        built: The objects of the experiment.
        episodes: Episodes per seed. Each copy of the environment plays a number that is fixed
            beforehand, so that short episodes are not preferred.
        num_envs: Copies of the environment that run at the same time; 0: one per episode, at most
            256.
        greedy: Take the most probable action instead of a sampled one.
    """

    def __init__(self, config: ExperimentConfig, built: Built, episodes: int, num_envs: int, greedy: bool):
        self._env = config.env
        self._quota = quotas(episodes, num_envs or 256)
        rollout = make_rollout(built.env, built.env_params, self._quota, greedy, _CHUNK)
        self._init = jax.jit(jax.vmap(in_precision(config, rollout.init)))
        self._advance = jax.jit(jax.vmap(in_precision(config, rollout.advance)), donate_argnums=2)

    def __call__(self, agents: Any, moments: Any, keys: PRNGKeyArray | Array) -> dict[str, np.ndarray]:
        """The results of every episode, [S, N, ...] by name: `info["episode_<name>"]` at its end.

        Args:
            agents: Agents with a leading axis S.
            moments: Statistics of observations with the same axis, which do not change, or None.
            keys: [S]; all random numbers come from these.

        Raises:
            EpisodesDoNotEnd: No episode ended for 100,000 steps.
        """
        episodes = self._init(agents, keys)
        finished, idle = np.zeros(0), 0
        while True:
            episodes = self._advance(agents, moments, episodes)
            before, finished = finished, np.array(episodes.num_finished)
            if (finished >= self._quota).all():
                break
            idle = idle + _CHUNK if np.array_equal(before, finished) else 0
            if idle >= _MOST_STEPS:
                raise EpisodesDoNotEnd(f"env: no episode of {self._env} ended within {_MOST_STEPS:,} steps")
        played = np.arange(self._quota.max()) < self._quota[:, None]  # [B, Q]
        return {name: np.asarray(value)[:, played] for name, value in episodes.values.items()}
