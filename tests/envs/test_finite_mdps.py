"""Random Markov decision processes: their rules, and what planning and posterior sampling return."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draws import tasks

from rlformers.envs.meta.any_mdp import AnyMDP
from rlformers.envs.meta.any_mdp import Task as Row
from rlformers.envs.meta.tabular_mdp import Model, State, TabularMDP, Task, draw
from rlformers.envs.registry import make_env
from tools.references.finite_mdps import chance, known_process, plan, posterior_sampling

KEYS = jax.random.split(jax.random.key(0), 4000)


def test_places_are_drawn_by_their_chances():
    chances = jnp.array([0.0, 0.2, 0.0, 0.8, 0.0])
    places = np.bincount(jax.jit(jax.vmap(draw, (0, None)))(KEYS, chances), minlength=5) / 4000
    np.testing.assert_allclose(places, chances, atol=0.026)
    assert places[[0, 2, 4]].sum() == 0


def test_a_tabular_process():
    env = TabularMDP(num_states=3, actions=2, episode_length=4)
    transitions = jnp.zeros((3, 2, 3)).at[:, 0, 2].set(1.0).at[:, 1, 1].set(1.0)
    task = Task(transitions, jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    obs, state = env.reset_env(KEYS[0], task)
    seen = [int(obs)]
    for action in (1, 0, 0, 1):
        obs, state, _, terminated, _ = env.step_env(KEYS[0], state, action, task)
        seen.append(int(obs))
        assert not terminated and bool(env.is_truncated(state, task)) == (len(seen) == 5)
    assert seen == [0, 1, 2, 2, 1]
    rewards = jax.jit(jax.vmap(lambda key: env.step_env(key, State(jnp.int32(2), jnp.int32(0)), 1, task)[2]))(KEYS)
    assert float(rewards.mean()) == pytest.approx(5, abs=0.07) and float(rewards.std()) == pytest.approx(1, abs=0.05)


def test_tabular_processes_are_those_of_rl2():
    drawn = jax.tree.map(np.asarray, tasks(TabularMDP(), num=300)[0])
    assert drawn.transitions.shape == (300, 10, 5, 10) and drawn.rewards.shape == (300, 10, 5)
    np.testing.assert_allclose(drawn.transitions.sum(-1), 1, rtol=1e-5)
    assert drawn.rewards.mean() == pytest.approx(1, abs=0.03) and drawn.rewards.std() == pytest.approx(1, abs=0.03)
    # A share of a flat Dirichlet distribution over 10 has mean 1/10 and variance 9/1100.
    assert drawn.transitions.var() == pytest.approx(9 / 1100, rel=0.03)


def test_planning_equals_trying_all_policies():
    key = jax.random.key(3)
    transitions = np.asarray(jax.random.dirichlet(key, jnp.ones(2), (2, 2)), np.float64)
    rewards, goes_on = np.array([[0.3, 1.0], [0.5, -0.2]]), np.array([1.0, 0.0])
    best = np.full(2, -np.inf)
    for table in itertools.product(range(2), repeat=6):  # an action for each of 3 times and 2 states
        value = np.zeros(2)
        for actions in np.reshape(table, (3, 2))[::-1]:
            value = rewards[[0, 1], actions] + transitions[[0, 1], actions] @ (goes_on * value)
        best = np.maximum(best, value)
    values, _ = plan(Model(*map(jnp.float32, (transitions, rewards, goes_on, [1.0, 0.0]))), 3)
    np.testing.assert_allclose(values[0], best, rtol=1e-5)


@pytest.fixture(scope="module")
def rows():
    return jax.tree.map(np.asarray, tasks(AnyMDP(), num=1000)[0])


def test_any_mdp_has_ragged_sizes_and_moves_to_near_states(rows):
    np.testing.assert_allclose(rows.transitions.sum(-1), 1, rtol=1e-5)
    reach = np.eye(16, dtype=bool) | (rows.transitions.max(2) > 0)  # [N, S, S]
    for _ in range(4):
        reach = reach @ reach
    reached = (reach & (rows.starts > 0)[:, :, None]).any(1).sum(1)
    assert reached.min() >= 3 and reached.max() == 16 and len(np.unique(reached)) >= 9
    # At most 8 back, itself, and 6 on, or a few more over pitfalls.
    width = (rows.transitions.max(2) > 0).sum(-1)
    assert 2 < width[~rows.ends].mean() < 9 and np.quantile(width, 0.99) <= 15
    assert (rows.starts > 0).sum(1).tolist() == [3] * 1000
    assert not (rows.ends & (rows.starts > 0)).any()


def test_any_mdp_can_go_on_and_pays_at_the_end(rows):
    paths = rows.transitions.max(2) > 0
    live = ~rows.ends
    reach = np.eye(16, dtype=bool)[None] | (paths & live[:, :, None])
    for _ in range(4):
        reach = reach @ reach
    best = rows.rewards.argmax(1)
    reachable = (reach[np.arange(1000), :, best] & (rows.starts > 0)).any(1)
    assert reachable.all(), "the state that pays most can be reached from a start"
    assert rows.rewards.max(1).min() > 0 and 0.15 < rows.ends.any(1).mean() < 0.9


def test_any_mdp_step_by_step():
    env = AnyMDP(num_states=8, episode_length=5)
    transitions = jnp.zeros((8, 5, 8)).at[:, :, 1].set(1.0).at[1, :, 1].set(0.0).at[1, 2, 7].set(1.0)
    task = Row(transitions, jnp.arange(8.0), jnp.zeros(8), jnp.arange(8) == 7, jnp.eye(8)[3])
    obs, state = env.reset_env(KEYS[0], task)
    assert obs == 3
    obs, state, reward, terminated, _ = env.step_env(KEYS[0], state, 0, task)
    assert (int(obs), float(reward), bool(terminated)) == (1, 1, False)
    obs, state, reward, terminated, _ = env.step_env(KEYS[0], state, 2, task)
    assert (int(obs), float(reward), bool(terminated)) == (7, 7, True)
    assert not env.is_truncated(state, task) and env.is_truncated(state._replace(time=jnp.int32(5)), task)
    model = env.model(task)
    assert model.rewards[1, 2] == 7 and model.goes_on.tolist() == [1] * 7 + [0]


@pytest.mark.parametrize(("env", "known", "random"), [(TabularMDP(), 21.84, 10.0), (AnyMDP(), 58.9, 1.62)])
def test_what_processes_are_worth(env, known, random):
    best = jax.jit(lambda key: known_process(env, key, 2000))(jax.random.key(5))
    uniform = jax.jit(lambda key: chance(env, key, 2000))(jax.random.key(5))
    assert float(best.mean()) == pytest.approx(known, abs=3 * float(best.std()) / 2000**0.5)
    assert float(uniform.mean()) == pytest.approx(random, abs=3 * float(uniform.std()) / 2000**0.5)


def test_posterior_sampling():
    returns = jax.jit(lambda key: posterior_sampling(TabularMDP(), key, 100, 10))(jax.random.key(0)).sum(1)
    assert float(returns.mean()) == pytest.approx(134.1, abs=8)  # 138.1 in the paper


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("TabularMDP", {"num_states": 0}, r"env_kwargs\.num_states: need at least 1, got 0"),
        ("TabularMDP", {"actions": 0}, r"env_kwargs\.actions: need at least 1, got 0"),
        ("AnyMDP", {"num_states": 7}, r"env_kwargs\.num_states: need at least 8, got 7"),
        ("AnyMDP", {"min_states": 17}, r"env_kwargs\.min_states: need 8 <= min_states <= num_states = 16, got 17"),
        ("AnyMDP", {"episode_length": 0}, r"env_kwargs\.episode_length: need at least 1, got 0"),
    ],
)
def test_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(f"meta/{name}", **kwargs)
