"""The meta-RL tasks: rules by scripted walks, held-out tasks, projections, and known policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.meta.alchemy import Alchemy, possible_graphs
from rlformers.envs.meta.alchemy import State as Bench
from rlformers.envs.meta.alchemy import Task as Chemistry
from rlformers.envs.meta.bandits import BernoulliBandit, GaussianBandit
from rlformers.envs.meta.dark_key_to_door import DarkKeyToDoor
from rlformers.envs.meta.dark_key_to_door import Task as Errand
from rlformers.envs.meta.dark_room import DarkRoom, Task
from rlformers.envs.meta.point_robot import PointRobot
from rlformers.envs.meta.point_robot import Task as Place
from rlformers.envs.meta.projected_cartpole import projected_cartpole
from rlformers.envs.meta.random_projection import RandomProjection, orthonormal_columns
from rlformers.envs.meta.references import (
    bandit_returns,
    dark_room_known_goal,
    greedy,
    point_robot_known_goal,
    thompson,
)
from rlformers.envs.meta.task import NoParams
from rlformers.envs.meta.trial import Trial
from rlformers.envs.registry import make_env, replace_params
from rlformers.envs.render import innermost
from rlformers.envs.wrappers import TimeLimit

STAY, RIGHT, LEFT, UP, DOWN = range(5)


def walk(env, task, actions, state=None):
    """Observations, rewards, and whether the episode terminated or was truncated."""
    if state is None:
        _, state = env.reset_env(jax.random.key(0), task)
    observations, rewards, ends = [], [], []
    step = jax.jit(env.step_env)
    for action in actions:
        obs, state, reward, terminated, _ = step(jax.random.key(0), state, action, task)
        observations.append(obs.tolist())
        rewards.append(float(reward))
        ends.append((bool(terminated), bool(env.is_truncated(state, task))))
    return observations, rewards, ends


def tasks(*envs, num=500):
    """Draws of each of some environments."""
    draw = lambda key: [env.sample_task(key, env.default_params) for env in envs]  # noqa: E731
    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), num))


def splits(make, names=("train", "heldout"), **kwargs):
    return tasks(*(make(split=name) for name in names), **kwargs)


def test_dark_room():
    env = DarkRoom(size=5, episode_length=7)
    goal = Task(jnp.array([4, 3]))
    observations, rewards, ends = walk(env, goal, [RIGHT, UP, RIGHT, STAY, RIGHT, DOWN, LEFT])
    assert observations == [[3, 2], [3, 3], [4, 3], [4, 3], [4, 3], [4, 2], [3, 2]]
    assert rewards == [0, 0, 1, 1, 1, 0, 0]
    assert ends == [(False, False)] * 6 + [(False, True)]
    _, rewards, _ = walk(DarkRoom(size=5, once=True), goal, [RIGHT, UP, RIGHT, STAY, LEFT, RIGHT])
    assert rewards == [0, 0, 1, 0, 0, 0]


def test_dark_key_to_door():
    env = DarkKeyToDoor(size=3, episode_length=9)
    errand = Errand(key=jnp.array([1, 0]), door=jnp.array([0, 1]))
    _, state = env.reset_env(jax.random.key(0), errand)
    state = state._replace(position=jnp.array([0, 0]))
    actions = [UP, DOWN, RIGHT, RIGHT, LEFT, LEFT, UP]
    observations, rewards, ends = walk(env, errand, actions, state)
    assert observations == [[0, 1], [0, 0], [1, 0], [2, 0], [1, 0], [0, 0], [0, 1]]
    assert rewards == [0, 0, 1, 0, 0, 0, 1]
    assert ends == [(False, False)] * 6 + [(True, False)]
    same = Errand(key=jnp.array([0, 0]), door=jnp.array([0, 0]))
    assert walk(env, same, [STAY, STAY], state)[1:] == ([1, 1], [(False, False), (True, False)])
    starts = jax.vmap(lambda key: env.reset_env(key, errand)[0])(jax.random.split(jax.random.key(0), 200))
    assert len({tuple(start) for start in starts.tolist()}) == 9


def test_point_robot():
    env = PointRobot(episode_length=11)
    goal = Place(jnp.array([1.0, 0.0]))
    observations, rewards, ends = walk(env, goal, jnp.array([[1.0, 0.0]] * 9 + [[3.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(observations[-1], [1.0, 0.1], atol=1e-6)
    np.testing.assert_allclose(rewards[8:], [0.9, 1.0, 0.9], atol=1e-6)
    assert rewards[:7] == [0] * 7 and ends[-1] == (False, True) and ends[-2] == (False, False)
    _, rewards, _ = walk(PointRobot(dense=True), goal, jnp.array([[-1.0, 0.0]]))
    np.testing.assert_allclose(rewards, [-1.1], atol=1e-6)


@pytest.mark.parametrize("bandit", [BernoulliBandit, GaussianBandit])
def test_bandits_pay_what_their_arms_promise(bandit):
    env = bandit(num_arms=3, pulls=4)
    task = jax.tree.map(lambda x: x[0], tasks(env)[0])
    _, state = env.reset_env(jax.random.key(0), task)

    def pull(key, arm):
        obs, _, reward, terminated, _ = env.step_env(key, state, arm, task)
        return obs, reward, terminated

    keys = jax.random.split(jax.random.key(0), 4000)
    for arm in range(3):
        obs, rewards, terminated = jax.jit(jax.vmap(pull, (0, None)))(keys, arm)
        assert float(rewards.mean()) == pytest.approx(float(task.means[arm]), abs=0.06)
        assert (obs == 0.25).all() and not terminated.any()
    last = state._replace(time=jnp.int32(3))
    assert env.step_env(keys[0], last, 0, task)[3]


def test_alchemy_has_as_many_chemistries_as_published():
    graphs, num_constraints = possible_graphs()
    assert np.bincount(num_constraints).tolist() == [1, 12, 48, 48]
    assert len({graph.tobytes() for graph in graphs}) == 109
    env = Alchemy()
    assert len(env.graphs) * len(env.maps) == 167_424
    drawn = tasks(env, Alchemy(rotation=False, bottleneck=False), num=2000)
    edges = np.asarray(drawn[0].edges).sum((1, 2)) // 2
    # One constraint halves the edges along an axis: 12, 10, and 8 or less, a quarter, a quarter and the rest.
    for num, share in ((12, 0.25), (10, 0.25)):
        assert (edges == num).mean() == pytest.approx(share, abs=0.04)
    assert drawn[1].edges.all() and (drawn[1].unrotation == jnp.eye(3)).all()


def test_alchemy_by_hand():
    """m mirrors x, R turns about z; potions of axis 0 and 2 change colours, and all directions flip."""
    edges = np.ones((3, 8), bool)
    edges[0] = np.arange(8) >= 4  # x moves only where z = 1
    chemistry = Chemistry(
        edges=jnp.asarray(edges),
        mirror=jnp.array([-1, 1, 1]),
        unrotation=jnp.array([[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]]),
        colours=jnp.array([5, 4, 3, 2, 1, 0]),
    )
    env = Alchemy(episode_length=7)
    potions = jnp.array([1, 5, 1, 4] + [2] * 8)  # x up, z up, x up, z down, and y down
    left = (jnp.ones(3, bool), jnp.ones(12, bool))
    stones = jnp.array([[-1, 1, -1], [1, 1, 1], [-1, -1, -1]])
    bench = Bench(stones, left[0], potions, left[1], jnp.int32(0))
    first, dip = 2, 13
    actions = [0, first, first + 1, first + 1, first + 2, 1, 1 + 2 * dip]
    observations, rewards, ends = walk(env, chemistry, actions, bench)
    assert rewards == [0, 0, 0, 0, 0, 15, -3] and [end[1] for end in ends] == [False] * 6 + [True]
    stone = [np.array(obs[:5]) for obs in observations]
    np.testing.assert_allclose(stone[0], [0, 1, -1, -1 / 3, 0], atol=1e-6)  # m: (1, 1, -1)
    np.testing.assert_allclose(stone[1], stone[0])  # no edge: the potion is gone for nothing
    np.testing.assert_allclose(stone[2], [0, 1, 1, 1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(stone[3], stone[2])  # that potion is used up
    np.testing.assert_allclose(stone[4], [-1, 0, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(stone[5], [2, 2, 2, 2, 1])
    flasks = [np.array(obs[15:]).reshape(12, 2) for obs in observations]
    np.testing.assert_allclose(flasks[0][:5, 0], np.array([4, 0, 4, 1, 3]) / 3 - 1, atol=1e-6)
    assert [int(f[:, 1].sum()) for f in flasks] == [0, 1, 2, 2, 3, 3, 3]
    np.testing.assert_allclose(flasks[-1][[0, 1, 2]], 1)
    np.testing.assert_allclose(observations[-1][10:15], [2, 2, 2, 2, 1])
    # A stone that is gone neither pays again nor uses potions up.
    _, again, _ = walk(env, chemistry, [1, 1, first + 3], bench._replace(stones=stones.at[0].set(1)))
    assert again == [15, 0, 0]


def goal_cells(env):
    return {tuple(goal) for goal in env.goals.tolist()}


@pytest.mark.parametrize("size,num_train,num_heldout", [(9, 60, 20), (17, 216, 72)])
def test_goals_of_dark_rooms_are_split(size, num_train, num_heldout):
    train, heldout, every = (goal_cells(DarkRoom(size, split=split)) for split in ("train", "heldout", "all"))
    assert (len(train), len(heldout)) == (num_train, num_heldout)
    assert not train & heldout and train | heldout == every
    assert len(every) == size**2 - 1 and (size // 2, size // 2) not in every
    drawn = {tuple(goal) for goal in tasks(DarkRoom(size, split="heldout"), num=2000)[0].goal.tolist()}
    assert drawn == heldout


def test_errands_are_split():
    drawn = splits(DarkKeyToDoor, num=20_000)
    train, heldout = ({tuple(row) for row in jnp.concatenate(errands, axis=1).tolist()} for errands in drawn)
    assert len(train) > 4500 and len(heldout) == 1640 and not train & heldout
    assert {pair[:2] for pair in heldout} == {pair[:2] for pair in train}  # no key is unheard of


def test_chemistries_are_split():
    keys = [
        {(*m, *np.ravel(r), *c) for m, r, c in zip(*(np.asarray(x).tolist() for x in drawn[1:]), strict=True)}
        for drawn in splits(Alchemy, num=8000)
    ]
    assert 1140 < len(keys[0]) <= 1152 and len(keys[1]) == 384 and not keys[0] & keys[1]


@pytest.mark.parametrize("bandit", [BernoulliBandit, GaussianBandit])
def test_bandits_are_split_by_their_best_arm(bandit):
    train, heldout, every = (task.means for task in splits(bandit, ("train", "heldout", "all"), num=2000))
    best = [set(np.argmax(means, 1).tolist()) for means in (train, heldout, every)]
    assert best == [{0, 2, 4, 6, 8}, {1, 3, 5, 7, 9}, set(range(10))]
    # Moving the best arm leaves the arms as they were drawn: independent and alike.
    expected, spread = (0.5, 12**-0.5) if bandit is BernoulliBandit else (0.0, 1.0)
    np.testing.assert_allclose(every.mean(0), expected, atol=5 * spread / 2000**0.5)
    np.testing.assert_allclose(every.std(0), spread, rtol=0.08)
    assert abs(np.corrcoef(every.T) - np.eye(10)).max() < 5 / 2000**0.5


def test_places_are_split_by_arcs():
    train, heldout = (task.goal for task in splits(PointRobot, num=2000))
    np.testing.assert_allclose(np.linalg.norm(train, axis=1), 1, rtol=1e-6)
    arcs = [np.arctan2(goal[:, 1], goal[:, 0]) * 20 / np.pi for goal in (train, heldout)]
    assert all((arc >= 0).all() and (arc <= 20).all() for arc in arcs)
    train, heldout = (set(np.floor(arc).astype(int).tolist()) for arc in arcs)
    assert (len(train), len(heldout)) == (15, 5) and not train & heldout


@pytest.mark.parametrize("rows,columns", [(4, 2), (12, 12), (5, 1)])
def test_columns_are_orthonormal_and_uniform(rows, columns):
    keys = jax.random.split(jax.random.key(0), 500)
    matrices = np.asarray(jax.jit(jax.vmap(lambda key: orthonormal_columns(key, rows, columns)))(keys))
    gram = np.einsum("nij,nik->njk", matrices, matrices)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(columns), gram.shape), atol=2e-6)
    # Every entry of a uniformly distributed column has mean 0 and variance 1 / rows.
    np.testing.assert_allclose(matrices.mean(0), 0, atol=5 * (rows * 500) ** -0.5)
    np.testing.assert_allclose(matrices.var(0), 1 / rows, rtol=0.4)


class Point(Environment):
    """Shows a constant vector, and hands the actions that arrive to info."""

    def __init__(self, actions):
        self.actions = actions

    default_params = EnvParams()

    def reset_env(self, key, params):
        return jnp.array([1.0, 2.0, 3.0]), jnp.zeros(())

    def step_env(self, key, state, action, params):
        return jnp.array([1.0, 2.0, 3.0]), state, jnp.zeros(()), jnp.zeros((), bool), {"action": action}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    def action_space(self, params=None):
        return self.actions

    def observation_space(self, params):
        return spaces.Box(-3.0, 3.0, (3,))


def through(env, task, action):
    _, state = env.reset_env(jax.random.key(0), task)
    obs, _, _, _, info = jax.jit(env.step_env)(jax.random.key(0), state, action, task)
    return obs, info["action"]


def test_observations_and_actions_are_projected():
    env = RandomProjection(Point(spaces.Box(0.0, 4.0, (2,))), observation_size=6, action_size=3)
    assert env.observation_space(env.default_params).shape == (6,)
    assert env.action_space().shape == (3,) and float(env.action_space().low) == -1
    task = env.sample_task(jax.random.key(3), env.default_params)
    np.testing.assert_allclose(task.observation.T @ task.observation, 2 * np.eye(3), atol=1e-5)
    np.testing.assert_allclose(task.action @ task.action.T, np.eye(2), atol=1e-6)
    action = jnp.array([0.2, -0.1, 0.3])
    obs, arrived = through(env, task, action)
    np.testing.assert_allclose(obs, task.observation @ jnp.array([1.0, 2.0, 3.0]), rtol=1e-6)
    np.testing.assert_allclose(arrived, 2 + 2 * np.asarray(task.action) @ action, rtol=1e-5)
    _, arrived = through(env, task, 100 * task.action[0])
    assert arrived[0] == 4 and 0 <= arrived[1] <= 4

    gaussian = RandomProjection(Point(spaces.Box(0.0, 4.0, (2,))), 6, 3, distribution="gaussian")
    (drawn,) = tasks(gaussian, num=2000)
    assert float(drawn.observation.var()) == pytest.approx(1 / 3, rel=0.05)
    assert float(drawn.action.var()) == pytest.approx(1 / 3, rel=0.05)


def test_discrete_actions_change_places():
    env = RandomProjection(Point(spaces.Discrete(3)))
    drawn = tasks(env, num=200)[0].action
    assert {tuple(p) for p in drawn.tolist()} == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    task = env.sample_task(jax.random.key(0), env.default_params)._replace(action=jnp.array([2, 0, 1]))
    assert [int(through(env, task, action)[1]) for action in range(3)] == [2, 0, 1]

    env = RandomProjection(Point(spaces.MultiDiscrete((2, 3))))
    task = env.sample_task(jax.random.key(0), env.default_params)
    task = task._replace(action=(jnp.array([1, 0]), jnp.array([2, 0, 1])))
    assert through(env, task, jnp.array([0, 2]))[1].tolist() == [1, 1]

    env = RandomProjection(Point(spaces.Discrete(3)), project_actions=False)
    task = env.sample_task(jax.random.key(0), env.default_params)
    assert task.action is None and int(through(env, task, 2)[1]) == 2


def play(env, num_steps, params=None):
    """Observations (the first included) and states of automatic resets, and `terminated | truncated` of every step."""
    params = params or env.default_params

    def step(carry, key):
        obs, state, _, terminated, truncated, info = env.step(key, carry, jnp.zeros((), jnp.int32), params)
        return state, (obs, state, terminated | truncated, info)

    first = env.reset(jax.random.key(0), params)
    _, (*later, done, info) = jax.lax.scan(step, first[1], jax.random.split(jax.random.key(1), num_steps))
    obs, states = jax.tree.map(lambda one, rest: np.concatenate([one[None], rest]), first, tuple(later))
    return obs, states, done.tolist(), info


def test_outside_of_a_trial_every_episode_has_a_projection_of_its_own():
    obs, _, done, info = play(RandomProjection(TimeLimit(Point(spaces.Discrete(50)), 2)), 5)
    assert done == [False, True, False, True, False]
    np.testing.assert_array_equal(obs[[0, 2, 4]], obs[[1, 3, 5]])
    assert len({tuple(row) for row in obs[[0, 2, 4]].tolist()}) == 3
    # M is the square root of 2 times orthonormal columns.
    np.testing.assert_allclose(np.linalg.norm(obs, axis=1), (2 * 14) ** 0.5, rtol=1e-5)
    np.testing.assert_array_equal(info["final_observation"][1::2], obs[[1, 3]])
    arrived = info["action"].tolist()
    assert arrived[0] == arrived[1] and arrived[2] == arrived[3] and len(set(arrived)) == 3


def test_a_projection_takes_the_params_of_an_environment_without_tasks():
    inner, params = make_env("gymnax/CartPole-v1", raw=True)
    _, states, done, _ = play(RandomProjection(inner), 4, replace_params(params, max_steps_in_episode=2))
    assert done == [False, True] * 2 and states.projection.task is None
    assert states.env_state.time.tolist() == [0, 1, 0, 1, 0]


def test_a_projection_draws_the_task_of_the_environment_too_but_not_that_of_trials_inside():
    _, states, done, _ = play(RandomProjection(DarkRoom(5, episode_length=3)), 30)
    goals = [{tuple(goal) for goal in states.projection.task.goal[3 * i : 3 * i + 3].tolist()} for i in range(10)]
    assert done == [False, False, True] * 10
    assert all(len(goal) == 1 for goal in goals) and len(set().union(*goals)) > 4

    trial = RandomProjection(Trial(DarkRoom(), episodes=2))
    _, state = jax.eval_shape(trial.reset, jax.random.key(0), trial.default_params)
    assert state.projection.task is None and state.env_state.task.goal.shape == (2,)


def test_the_environment_inside_a_projection_is_found_with_its_params():
    inner, params = make_env("gymnax/CartPole-v1", raw=True)
    env = RandomProjection(inner)
    _, state = jax.eval_shape(env.reset, jax.random.key(0), params)
    assert innermost(env, state, params)[1:] == (state.env_state, params)
    trial = Trial(env, episodes=2)
    _, state = jax.eval_shape(trial.reset, jax.random.key(0), params)
    assert innermost(trial, state, params)[1:] == (state.env_state, state.task.task)


@pytest.mark.parametrize(
    "actions,kwargs,message",
    [
        (spaces.Box(-jnp.inf, jnp.inf, (2,)), {}, "need actions that are vectors with finite bounds"),
        (spaces.Box(0.0, 1.0, (2,)), {"action_size": 1}, "action_size: need at least 2"),
        (spaces.Discrete(2), {"action_size": 4}, "no continuous actions"),
        (spaces.Dict({}), {}, "cannot project the actions"),
    ],
)
def test_impossible_projections_are_refused(actions, kwargs, message):
    with pytest.raises(ValueError, match=rf"env_kwargs\.\w+: .*{message}|{message}"):
        RandomProjection(Point(actions), **kwargs)


def test_projections_are_split_and_stay_what_they_were():
    shares = {"train": 0, "heldout": 1, "all": 0.25}
    for share, drawn in zip(shares.values(), splits(projected_cartpole, shares), strict=True):
        matrices = np.asarray(drawn.observation)
        held_out = (matrices[:, 0, :2] >= 0).all(1).mean()
        assert held_out == share if share in (0, 1) else abs(held_out - share) < 0.07
        gram = np.einsum("nij,nik->njk", matrices, matrices)
        np.testing.assert_allclose(gram, np.broadcast_to(2 * np.eye(2), gram.shape), atol=1e-5)


def test_rescaled_positions_are_of_one_size():
    env = projected_cartpole()
    inner = env.env
    space = inner.observation_space(inner.default_params)
    np.testing.assert_allclose(space.high, 1) and np.testing.assert_allclose(space.low, -1)
    obs, state = inner.reset_env(jax.random.key(0), inner.default_params)
    np.testing.assert_allclose(obs, [state.x / 4.8, state.theta / (24 / 180 * np.pi)], rtol=1e-5)


@pytest.mark.slow
def test_thompson_sampling_returns_77_of_100_pulls():
    env = BernoulliBandit()
    policies = {
        policy: jax.jit(lambda key, p=policy: bandit_returns(env, p(env), key, 400)) for policy in (thompson, greedy)
    }
    for policy, expected in ((thompson, 77.1), (greedy, 79.6)):
        returns, best = policies[policy](jax.random.key(0))
        # The mean of the regret, and of the best of 10 uniform arms: E max = 10 / 11.
        assert float((returns - best).mean()) + 1000 / 11 == pytest.approx(expected, abs=1.3)
        assert float(best.mean()) == pytest.approx(1000 / 11, abs=1.5)


def test_gaussian_thompson_beats_chance_and_not_the_best_arm():
    env = GaussianBandit()
    returns, best = jax.jit(lambda key: bandit_returns(env, thompson(env), key, 400))(jax.random.key(0))
    assert float(best.mean()) == pytest.approx(153.9, abs=9)  # E max of 10 standard normals = 1.5388
    assert 90 < float(returns.mean()) < float(best.mean()) - 10


def test_known_goals():
    assert dark_room_known_goal(DarkRoom(split="all")) == pytest.approx(16.5)  # 21 - mean distance 4.5
    assert dark_room_known_goal(DarkRoom(17, once=True)) == 1
    room = DarkRoom(split="heldout")
    x, y = room.goals[3].tolist()
    steps = [RIGHT if x > 4 else LEFT] * abs(x - 4) + [UP if y > 4 else DOWN] * abs(y - 4)
    _, rewards, _ = walk(room, Task(jnp.array([x, y])), (steps + [STAY] * 20)[:20])
    assert sum(rewards) == 21 - len(steps)
    # Within 0.2 of the goal from step 6 to 8 on, and on it from step 8 to 10 on.
    assert 13 < point_robot_known_goal(PointRobot(), jax.random.key(0), 1000) < 14
    assert isinstance(room.default_params, NoParams)
