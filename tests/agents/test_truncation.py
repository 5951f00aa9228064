"""Truncation and termination by hand, with a memory that matters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.acting import World, act
from rlformers.agents.agent import Agent
from rlformers.agents.gae import gae
from rlformers.agents.policies import make_policy
from rlformers.agents.sequences import Cut
from rlformers.cores.core import Core
from rlformers.envs.spaces import Discrete

T = 5


class State(NamedTuple):
    time: jax.Array
    truncates: jax.Array  # at the end of an episode; else it terminates


class Counting:
    """Shows 1, 2, 3, and, when that is over, a 4 that is never shown: the next episode begins with 1."""

    def step(self, key, state, action, params):
        over = state.time == 2
        new = State(jnp.where(over, 0, state.time + 1), state.truncates)
        info = {"final_observation": jnp.array([state.time + 2.0])}
        return jnp.array([new.time + 1.0]), new, jnp.zeros(()), over & ~state.truncates, over & state.truncates, info


class Total(NamedTuple):
    total: jax.Array


class Sum(Core[Total]):
    """Remembers the sum of what it was fed."""

    def initial_state(self):
        return Total(jnp.zeros(1))

    def step(self, state, x, start):
        total = jnp.where(start, 0.0, state.total) + x
        return Total(total), total


class Summing(Agent):
    """Values a memory by the sum of what it saw since the start."""

    def step(self, memory, obs, start):
        _, output = super().step(memory, obs, start)
        memory, (total,) = self.core.step(memory, obs, start)
        return memory, output._replace(value=total)


@pytest.mark.parametrize("vmapped", [False, True])
def test_what_a_truncated_episode_is_worth(vmapped):
    agent = Summing(jnp.zeros(1), make_policy(Discrete(2)), lambda key: Sum(), 1, key=jax.random.key(0))
    state = State(jnp.zeros(2, jnp.int32), jnp.array([True, False]))
    world = World(state, jnp.ones((2, 1)), jnp.ones(2, bool), Total(jnp.zeros((2, 1))))

    @jax.jit
    def run(agent, world):
        _, _, rollout, last = act(
            agent, world, Counting(), None, lambda obs: obs, Cut(T, T, 0), vmapped, jax.random.key(0)
        )
        ends = rollout.terminated, rollout.truncated
        return rollout, last, gae(rollout.reward, rollout.value, rollout.final_value, last, *ends, 0.5, 0.5)

    rollout, last, advantages = run(agent, world)
    np.testing.assert_allclose(rollout.value.T, [[1, 3, 6, 1, 3]] * 2)
    assert rollout.final_value[2, 0] == 1 + 2 + 3 + 4  # from an emptied memory 4, of the next episode 1
    np.testing.assert_allclose(last, [6, 6])
    # δ = 3/2 - 1, 6/2 - 3, 10/2 - 6, or -6 where the episode terminated, then 3/2 - 1, 6/2 - 3.
    np.testing.assert_allclose(advantages[:, 0], [0.4375, -0.25, -1, 0.5, 0], rtol=1e-6)
    np.testing.assert_allclose(advantages[:, 1], [0.125, -1.5, -6, 0.5, 0], rtol=1e-6)
