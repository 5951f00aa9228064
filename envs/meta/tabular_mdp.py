"""Random Markov decision processes of a few states (Duan et al. 2016, RL², section 3.2)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.task import FixedLengthEnvironment
from rlformers.envs.spaces import Discrete
from rlformers.envs.wrappers.trial import in_trials


class Model(NamedTuple):
    """A process that is known: what planning needs."""

    transitions: Float32[Array, "S A S"]
    rewards: Float32[Array, "S A"]  # expected
    goes_on: Float32[Array, " S"]  # 0 for states that end an episode on arrival
    starts: Float32[Array, " S"]  # chances


class State(NamedTuple):
    """State of an episode."""

    place: Int32[Array, ""]
    time: Int32[Array, ""]  # steps made


class FiniteMDP(FixedLengthEnvironment):
    """S states, all seen: observes Discrete(S), one of A actions. Episodes are truncated after `episode_length` steps.

    Raises:
        UserError: A number below 1.
    """

    def __init__(self, num_states: int, actions: int, episode_length: int):
        need_at_least("env_kwargs.num_states", num_states, 1)
        need_at_least("env_kwargs.actions", actions, 1)
        super().__init__(episode_length)
        self.num_states = num_states
        self.actions = actions

    def model(self, task: Any) -> Model:
        """The process of a task."""
        raise NotImplementedError

    def action_space(self, params: Any = None) -> Discrete:
        """A actions."""
        return Discrete(self.actions)

    def observation_space(self, params: Any) -> Discrete:
        """S states."""
        return Discrete(self.num_states)


def draw(key: PRNGKeyArray, chances: Float32[Array, " S"]) -> Int32[Array, ""]:
    """One of S states, by its chance; one of chance 0 never."""
    reached = jnp.cumsum(chances)
    place = (jax.random.uniform(key) * reached[-1] >= reached).sum()
    last = chances.shape[0] - 1 - jnp.argmax(chances[::-1] > 0)  # rounding may go beyond
    return jnp.minimum(place, last).astype(jnp.int32)


class Task(NamedTuple):
    """What is hidden."""

    transitions: Float32[Array, "S A S"]
    rewards: Float32[Array, "S A"]  # expected


class TabularMDP(FiniteMDP):
    """Next states follow flat Dirichlet distributions; the reward of an action in a state is normal around its mean.

    Means are normal around 1, and all deviations are 1; every episode starts in state 0 and has 10
    steps, as in RL². There are no held-out tasks: processes are drawn from a continuum.

    Args:
        num_states: S.
        actions: A.
        episode_length: Steps of an episode.

    Raises:
        UserError: A number below 1.
    """

    def __init__(self, num_states: int = 10, actions: int = 5, episode_length: int = 10):
        super().__init__(num_states, actions, episode_length)

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw a process."""
        key_transitions, key_rewards = jax.random.split(key)
        shares = jax.random.exponential(key_transitions, (self.num_states, self.actions, self.num_states))
        rewards = 1 + jax.random.normal(key_rewards, (self.num_states, self.actions))
        return Task(shares / shares.sum(-1, keepdims=True), rewards)

    def model(self, task: Task) -> Model:
        """The process of a task."""
        starts = jnp.zeros(self.num_states).at[0].set(1.0)
        return Model(task.transitions, task.rewards, jnp.ones(self.num_states), starts)

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Int32[Array, ""], State]:
        """Go to state 0."""
        zero = jnp.zeros((), jnp.int32)
        return zero, State(zero, zero)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Act."""
        key_place, key_reward = jax.random.split(key)
        reward = task.rewards[state.place, action] + jax.random.normal(key_reward)
        place = draw(key_place, task.transitions[state.place, action])
        return place, State(place, state.time + 1), reward, jnp.zeros((), jnp.bool_), {}


make_tabular_mdp = in_trials(TabularMDP)
