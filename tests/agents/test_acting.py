"""Values of final observations before a reset, and what acting returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.acting import World, act, ended_episodes, observe
from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.sequences import Cut
from rlformers.cores.registry import make_core
from rlformers.envs.environment import Environment
from rlformers.envs.spaces import Box, Discrete

B, T = 3, 7


class Clock(Environment):
    """Shows the time; truncated at 3, where the last observation is shown once more than a reset would."""

    @property
    def default_params(self):
        return None

    def reset_env(self, key, params):
        time = jnp.zeros((), jnp.int32)
        return self.see(time), time

    def see(self, time):
        return jnp.stack([jnp.sin(1.0 + time), jnp.cos(2.0 * time)])

    def step_env(self, key, state, action, params):
        time = state + 1
        return self.see(time), time, time.astype(float), jnp.zeros((), bool), {"episode_length": time}

    def is_truncated(self, state, params):
        return state >= 3

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1, 1, (2,))


@pytest.fixture(scope="module")
def agent():
    def core(key):
        return make_core("gru", 8, 1, key=key)

    agent = Agent(jnp.zeros(2), make_policy(Discrete(2)), core, 8, key=jax.random.key(0))
    # Away from the initial values, at which a memory hardly matters.
    return jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), agent)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "vmapped"])
def acted(request, agent):
    @jax.jit
    def run(agent):
        obs, env_state = jax.vmap(Clock().reset, (0, None))(jax.random.split(jax.random.key(1), B), None)
        memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape)), agent.core.initial_state())
        world = World(env_state, obs, jnp.ones(B, bool), memory)
        return act(agent, world, Clock(), None, lambda x: x, Cut(T, T, 0), request.param, jax.random.key(2))

    return run(agent)


def test_values_are_those_of_the_memory_of_the_episode(agent, acted):
    world, memories, rollout, last_value = acted
    step = jax.jit(lambda *arguments: agent.step(*arguments))
    see = Clock().see
    memory = agent.core.initial_state()
    for t in range(T):
        memory, output = step(memory, see(t % 3), jnp.array(t % 3 == 0))
        np.testing.assert_allclose(rollout.value[t], output.value, rtol=1e-5)
        if t % 3 == 2:  # truncated: the next observation of the same memory, which the reset does not show
            final = step(memory, see(3), jnp.array(False))[1].value
            emptied = step(memory, see(3), jnp.array(True))[1].value
            assert abs(final - emptied) > 1e-2
            np.testing.assert_allclose(rollout.final_value[t], final, rtol=1e-5)
    np.testing.assert_array_equal(rollout.truncated, np.broadcast_to(np.arange(T)[:, None] % 3 == 2, (T, B)))
    np.testing.assert_allclose(last_value, step(memory, see(T % 3), jnp.array(T % 3 == 0))[1].value, rtol=1e-5)
    for kept, last in zip(jax.tree.leaves(world.memory), jax.tree.leaves(memory), strict=True):
        np.testing.assert_allclose(kept[0], last, rtol=1e-5)  # the memory does not keep a final observation
    assert all(not np.any(x) for x in jax.tree.leaves(memories))  # of the first sequence: empty


def test_what_is_recorded_belongs_together(agent, acted):
    rollout = acted[2]
    np.testing.assert_array_equal(rollout.start[:, 0], [t % 3 == 0 for t in range(T)])
    np.testing.assert_array_equal(rollout.reward[:, 0], [t % 3 + 1 for t in range(T)])
    np.testing.assert_allclose(rollout.obs[4, 0], Clock().see(1), rtol=1e-6)
    np.testing.assert_array_equal(rollout.episodes["count"], [B * (t % 3 == 2) for t in range(T)])
    np.testing.assert_array_equal(rollout.episodes["length"], [3 * B * (t % 3 == 2) for t in range(T)])
    memory, output = agent.core.initial_state(), None
    memory, output = agent.step(memory, Clock().see(0), jnp.array(True))
    log_prob = jax.nn.log_softmax(output.policy)[rollout.action[0]]
    np.testing.assert_allclose(rollout.log_prob[0], log_prob, rtol=1e-5)


def test_nothing_is_computed_where_nothing_was_truncated(agent):
    """A condition, not a selection: a final observation that gives NaN leaves no trace."""
    memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape)), agent.core.initial_state())
    obs, bad, no = jnp.ones((B, 2)), jnp.full((B, 2), jnp.nan), jnp.zeros(B, bool)
    _, output, value = jax.jit(observe, static_argnums=6)(agent, memory, obs, no, bad, no, False)
    np.testing.assert_array_equal(value, 0.0)
    assert np.isfinite(output.value).all()
    text = jax.jit(observe, static_argnums=6).lower(agent, memory, obs, no, bad, no, False).as_text()
    assert "stablehlo.case" in text


def test_sums_are_over_episodes_that_ended():
    done = jnp.array([True, False, True])
    info = {"episode_return": jnp.array([1.0, 10.0, 2.0]), "episode_rounds": jnp.arange(6).reshape(3, 2), "other": done}
    episodes = ended_episodes(info, done)
    assert episodes.keys() == {"count", "return", "rounds"}
    assert (int(episodes["count"]), float(episodes["return"])) == (2, 3.0)
    np.testing.assert_array_equal(episodes["rounds"], [4, 6])
