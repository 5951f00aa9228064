"""MultiarmedBandit: find the arm that pays most (Morad et al. 2023; popgym 1.0.7 `multiarmed_bandit.py`)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import PlainEnvironment, TimedParams, checked
from rlformers.envs.spaces import Discrete
from rlformers.errors import UserError


class State(NamedTuple):
    """State of the game."""

    payouts: Float32[Array, " K"]  # chance that each arm pays
    time: Int32[Array, ""]  # steps made


class MultiarmedBandit(PlainEnvironment):
    """K arms. Each pays with its own hidden chance, uniform in [0, 1), for the whole episode.

    The observation is whether the pulled arm paid, Discrete(2), and 0 at the reset. The reward is
    1/T if it paid, else -1/T, so returns lie in [-1, 1]. Episodes never terminate: the T-th step
    truncates. The agent must remember what it pulled, or see its previous action. popgym's Easy,
    Medium, Hard are (K, T) = (10, 200), (20, 400), (30, 600).

    Args:
        num_bandits: K.
        max_steps_in_episode: T of `default_params`.

    Raises:
        UserError: An argument below 1.
    """

    def __init__(self, num_bandits: int = 10, max_steps_in_episode: int = 200):
        if num_bandits < 1:
            raise UserError(f"env_kwargs.num_bandits: need at least 1, got {num_bandits}")
        self.num_bandits = num_bandits
        self.default_params = checked(TimedParams(max_steps_in_episode=max_steps_in_episode))

    def reset_env(self, key: PRNGKeyArray, params: TimedParams) -> tuple[Int32[Array, ""], State]:
        """Draw the arms."""
        zero = jnp.zeros((), jnp.int32)
        return zero, State(jax.random.uniform(key, (self.num_bandits,), jnp.float32), zero)

    def pays(self, key: PRNGKeyArray, state: State, action: Any) -> Bool[Array, ""]:
        """Whether the arm pays. The only chance event of a step."""
        return jax.random.uniform(key, (), jnp.float32) < state.payouts[action]

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: TimedParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Pull an arm."""
        paid = self.pays(key, state, action)
        scale = jnp.asarray(1 / params.max_steps_in_episode, jnp.float32)
        reward = jnp.where(paid, scale, -scale)
        return paid.astype(jnp.int32), state._replace(time=state.time + 1), reward, jnp.zeros((), jnp.bool_), {}

    def action_space(self, params: TimedParams | None = None) -> Discrete:
        """The arm to pull."""
        return Discrete(self.num_bandits)

    def observation_space(self, params: TimedParams) -> Discrete:
        """Whether the arm paid."""
        return Discrete(2)
