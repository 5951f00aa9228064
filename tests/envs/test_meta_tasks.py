"""The meta-RL tasks: rules by scripted walks, held-out tasks, and known policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draws import splits, tasks

from rlformers.envs.environment import NoParams
from rlformers.envs.meta.alchemy import Alchemy, possible_graphs
from rlformers.envs.meta.alchemy import State as Bench
from rlformers.envs.meta.alchemy import Task as Chemistry
from rlformers.envs.meta.bandits import BernoulliBandit, GaussianBandit
from rlformers.envs.meta.dark_key_to_door import DarkKeyToDoor
from rlformers.envs.meta.dark_key_to_door import Task as Errand
from rlformers.envs.meta.dark_room import DarkRoom, Task
from rlformers.envs.meta.point_robot import PointRobot
from rlformers.envs.meta.point_robot import Task as Place
from tools.references.known_goals import dark_room_known_goal, point_robot_known_goal

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
    env = Alchemy(split="all")
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
    assert heldout == {1, 3, 8, 13, 16} and train == {*range(20)} - heldout, "each between arcs of training, for ever"


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
