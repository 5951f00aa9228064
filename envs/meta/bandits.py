"""Bandits: pull unknown arms for a while (Duan et al. 2016, section 3.1)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.task import SPLITS, MetaEnvironment
from rlformers.envs.spaces import Box, Discrete
from rlformers.envs.wrappers.trial import in_trials
from rlformers.errors import UserError


class State(NamedTuple):
    """State of an episode."""

    time: Int32[Array, ""]  # pulls made


class Task(NamedTuple):
    """What is hidden."""

    means: Float32[Array, " K"]  # expected reward of every arm


class Bandit(MetaEnvironment):
    """K arms, `pulls` pulls. Observes the fraction of the pulls made, float32 [1]. `Trial` shows the rewards.

    The episode terminates with the last pull. The arms are exchangeable. In "train" tasks the best
    arm has an even number, in "heldout" tasks an odd one (the shift of Laskin et al. 2022, there in
    95 % of the tasks).

    Args:
        num_arms: K.
        pulls: Pulls of an episode.
        split: "all", "train" or "heldout".

    Raises:
        UserError: Less than 2 arms or 1 pull, or an unknown split.
    """

    never_truncates = True

    def __init__(self, num_arms: int, pulls: int, split: str):
        for name, number, least in (("num_arms", num_arms, 2), ("pulls", pulls, 1)):
            if number < least:
                raise UserError(f"env_kwargs.{name}: need at least {least}, got {number}")
        if split not in SPLITS:
            raise UserError(f"env_kwargs.split: need one of {', '.join(SPLITS)}, got {split!r}")
        self.num_arms = num_arms
        self.pulls = pulls
        arms = np.arange(num_arms)
        self.best_arms = {"all": arms, "train": arms[::2], "heldout": arms[1::2]}[split]

    def sample_means(self, key: PRNGKeyArray) -> Float32[Array, " K"]:
        """Draw the expected reward of every arm."""
        raise NotImplementedError

    def pull(self, key: PRNGKeyArray, mean: Float32[Array, ""]) -> Float32[Array, ""]:
        """Draw the reward of an arm."""
        raise NotImplementedError

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw the arms, and let the best one change places with one of the split's."""
        key_means, key_best = jax.random.split(key)
        means = self.sample_means(key_means)
        best, place = jnp.argmax(means), jax.random.choice(key_best, jnp.asarray(self.best_arms))
        return Task(means.at[place].set(means[best]).at[best].set(means[place]))

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Float32[Array, "1"], State]:
        """Before the first pull."""
        return jnp.zeros(1, jnp.float32), State(jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Float32[Array, "1"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Pull an arm."""
        reward = self.pull(key, task.means[action])
        state = State(state.time + 1)
        obs = jnp.full(1, state.time / self.pulls, jnp.float32)
        return obs, state, reward, state.time >= self.pulls, {}

    def action_space(self, params: Any = None) -> Discrete:
        """The arms."""
        return Discrete(self.num_arms)

    def observation_space(self, params: Any) -> Box:
        """Fraction of the pulls made."""
        return Box(0.0, 1.0, (1,), jnp.float32)


class BernoulliBandit(Bandit):
    """Arms pay 1 with a probability that is uniform in [0, 1] for every arm, and else 0; see `Bandit`."""

    def __init__(self, num_arms: int = 10, pulls: int = 100, split: str = "all"):
        super().__init__(num_arms, pulls, split)

    def sample_means(self, key: PRNGKeyArray) -> Float32[Array, " K"]:
        """Uniform in [0, 1]."""
        return jax.random.uniform(key, (self.num_arms,))

    def pull(self, key: PRNGKeyArray, mean: Float32[Array, ""]) -> Float32[Array, ""]:
        """0 or 1."""
        return jax.random.bernoulli(key, mean).astype(jnp.float32)


class GaussianBandit(Bandit):
    """Arms pay a normal mean plus normal noise, both of unit variance; see `Bandit`.

    The 10-armed testbed of Sutton & Barto (2018, section 2.3) with fewer pulls.
    """

    def __init__(self, num_arms: int = 10, pulls: int = 100, split: str = "all"):
        super().__init__(num_arms, pulls, split)

    def sample_means(self, key: PRNGKeyArray) -> Float32[Array, " K"]:
        """Standard normal."""
        return jax.random.normal(key, (self.num_arms,))

    def pull(self, key: PRNGKeyArray, mean: Float32[Array, ""]) -> Float32[Array, ""]:
        """Normal around the mean."""
        return mean + jax.random.normal(key)


make_bernoulli_bandit = in_trials(BernoulliBandit)
make_gaussian_bandit = in_trials(GaussianBandit)
