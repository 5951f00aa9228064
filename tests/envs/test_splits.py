"""Held-out tasks are other tasks, and those that were trained on are noticed."""

import re
from importlib.resources import files

import jax
import numpy as np
import pytest
from draws import tasks

from rlformers.envs import RandomProjection, registry
from rlformers.envs.memory.tmaze import TMaze
from rlformers.envs.meta.alchemy import AXIS_ORDERS, CORNERS, UNROTATIONS, Alchemy
from rlformers.envs.meta.projected_cartpole import projected_cartpole
from rlformers.envs.meta.splits import overlap, split_of
from rlformers.envs.meta.task import DEFAULT_SPLIT
from rlformers.envs.registry import make_env
from rlformers.errors import UserError

ENVS = files("rlformers.envs")
HELD_OUT = {"split": "heldout"}


def test_the_split_of_an_environment():
    assert split_of("meta/DarkRoom", {}) == "train" and split_of("meta/BernoulliBandit", {}) == "all"
    assert split_of("meta/Alchemy", {}) == "train"
    assert split_of("meta/Alchemy", {"episodes": 2, **HELD_OUT}) == "heldout"
    assert split_of("memory/TMaze", {}) is None and split_of("gymnasium/Any-v0", {}) is None


@pytest.mark.parametrize(
    "trained,kwargs,env,overlaps",
    [
        ("meta/BernoulliBandit", {}, "meta/BernoulliBandit", "split=all"),
        ("meta/BernoulliBandit", {"split": "train"}, "meta/BernoulliBandit", None),
        ("meta/DarkRoom", {}, "meta/DarkRoom", None),
        ("meta/DarkRoom", HELD_OUT, "meta/DarkRoom", "split=heldout"),
        ("meta/GaussianBandit", {}, "meta/BernoulliBandit", None),
        ("gymnasium/Any-v0", {}, "meta/DarkRoom", None),
    ],
)
def test_overlaps(trained, kwargs, env, overlaps):
    line = overlap(trained, kwargs, env, HELD_OUT)
    assert line is None if overlaps is None else f"trained with {overlaps}," in line
    assert overlap(trained, kwargs, env, {"split": "all"}) is None


def test_trials_of_tasks_are_those_tasks(monkeypatch):
    """As xland/Meta-* are trials of xland/XLand-*."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register_env("mine/Pulls", "rlformers.envs.meta.bandits:BernoulliBandit")
    registry.register_env("mine/Gaussian", "rlformers.envs.meta.bandits:GaussianBandit")
    line = overlap("mine/Pulls", {}, "meta/BernoulliBandit", HELD_OUT)
    assert line is not None and "trained with split=all," in line
    assert overlap("mine/Pulls", {"split": "train"}, "meta/BernoulliBandit", HELD_OUT) is None
    assert overlap("meta/BernoulliBandit", {}, "mine/Pulls", HELD_OUT) is not None
    assert overlap("mine/Gaussian", {}, "meta/BernoulliBandit", HELD_OUT) is None


def test_names_of_an_id_count(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register_env("mine/Test", "rlformers.envs.meta.bandits:make_bernoulli_bandit", kwargs=HELD_OUT)
    registry.register_env("mine/Maze", TMaze)
    assert "split=all" in overlap("meta/BernoulliBandit", {}, "mine/Test", {})
    assert overlap("mine/Maze", {}, "mine/Maze", HELD_OUT) is None


def alchemies(split):
    """What can be found out of every chemistry of a split: values and moves of perceived stones, by perceived colour.

    Axes of the latent cube that change places, and corners that do, leave the table as it is: it has no latent names.
    """
    env = Alchemy(split=split)
    corners, tables = np.asarray(CORNERS), set()
    moved = np.stack([np.where(np.arange(3) == p // 2, 2 * (p % 2) - 1, corners) for p in range(6)])  # [6, 8, 3]
    for index in env.maps.tolist():
        mirror, flips = corners[index % 8], corners[index // 8 % 8]
        order, rotation = AXIS_ORDERS[index // 64 % 6], UNROTATIONS[index // 384]
        axis, direction = np.divmod(np.arange(6), 2)
        colours = 2 * np.argsort(order)[axis] + (direction == (flips[axis] + 1) // 2)
        percept = lambda stones: np.rint(2 * (mirror * stones) @ rotation.T).astype(int) @ [1, 10, 100]  # noqa: B023, E731
        rows = np.column_stack([percept(corners), corners.sum(1), percept(moved)[np.argsort(colours)].T])
        for edges in env.graphs:
            table = rows.copy()
            for p, colour in enumerate(colours):
                table[:, 2 + colour] = np.where(edges[p // 2], table[:, 2 + colour], table[:, 0])
            tables.add(table[np.argsort(table[:, 0])].astype(np.int16).tobytes())
    return tables


def drawn(env_id, numbers):
    """What can be found out of some tasks of a split, of tasks whose numbers `numbers` say all there is."""
    return lambda split: {
        tuple(np.ravel(row).tolist())
        for row in numbers(tasks(make_env(env_id, raw=True, split=split)[0].env, num=2000)[0])
    }


def goals(task):
    return np.asarray(task.goal)


# By constructor: what an agent can find out of the tasks of a split at all. Two tasks that are alike in this are the
# same to it, whatever hidden names differ. What it can tell apart counts as different, though a picture in the mirror,
# or arms under other names, would make one of the other.
# * rooms, point robot: it sees where it is, moves in fixed directions, and is paid at the goal: the goal itself.
# * bandits: the mean of every arm.
# * Alchemy: see `alchemies`.
FOUND_OUT = {
    "dark_room:make_dark_room": drawn("meta/DarkRoom", goals),
    "dark_key_to_door:make_dark_key_to_door": drawn(
        "meta/DarkKeyToDoor", lambda task: np.concatenate([task.key, task.door], axis=1)
    ),
    "point_robot:make_point_robot": drawn("meta/PointRobot", lambda task: np.round(goals(task), 6)),
    "bandits:make_bernoulli_bandit": drawn("meta/BernoulliBandit", lambda task: np.round(task.means, 6)),
    "bandits:make_gaussian_bandit": drawn("meta/GaussianBandit", lambda task: np.round(task.means, 6)),
    "alchemy:make_alchemy": alchemies,
}
# These need packages: objects of goals and names of tasks are compared in tests/adapters.
ELSEWHERE = {"xland", "playground_meta"}
REFUSED = {"projected_cartpole:make_projected_cartpole"}


def test_every_split_is_looked_at():
    targets = {
        str(entry.target).rpartition("envs.")[2].partition(".")[2]
        for entry in registry.BUILT_IN.values()
        if not entry.extra and split_of(entry.name, {}) is not None
    }
    assert targets == set(FOUND_OUT) | REFUSED
    extras = {str(entry.target).partition(":")[0] for entry in registry.BUILT_IN.values() if entry.extra}
    sources = [ENVS / f"{module.partition('envs.')[2].replace('.', '/')}.py" for module in extras]
    assert {file.name.removesuffix(".py") for file in sources if "split: str" in file.read_text()} == ELSEWHERE


# What does not train on split=train by default, and why.
OTHER_DEFAULTS = {
    "bandits:make_bernoulli_bandit": "split=train is another problem: its best arm has an even number",
    "bandits:make_gaussian_bandit": "the same",
    "projected_cartpole:make_projected_cartpole": "nothing is held out",
}


def test_the_default_split_is_train():
    """One rule, at `DEFAULT_SPLIT`: what says nothing of splits can be tested with split=heldout."""
    seen = set()
    for name, entry in registry.BUILT_IN.items():
        target = str(entry.target).rpartition("envs.")[2].partition(".")[2]
        if not entry.extra and (split := split_of(name, {})) is not None:
            assert split == ("all" if target in OTHER_DEFAULTS else DEFAULT_SPLIT), name
            if split == DEFAULT_SPLIT:
                assert overlap(name, {}, name, HELD_OUT) is None, name
            seen.add(target)
    assert set(OTHER_DEFAULTS) < seen
    # Those that need a package: `split` is None where other arguments name the tasks, see `splits`.
    for module in ("xland", "xland_benchmark", "xland_rulesets", "playground_meta"):
        source = (ENVS / f"adapters/{module}.py").read_text()
        assert re.findall(r"split: str(?: \| None)? = (\w+|\"\w+\")", source) in (["None"], ["DEFAULT_SPLIT"]), module
        assert "DEFAULT_SPLIT" in source


@pytest.mark.parametrize("target", FOUND_OUT)
def test_no_held_out_task_is_a_task_of_training(target):
    training, held_out = (FOUND_OUT[target](split) for split in ("train", "heldout"))
    assert len(training) >= 10 and len(held_out) >= 5
    assert not training & held_out


def test_a_projected_cartpole_is_its_own_mirror_image():
    """Why projections have no split: to the last bit, M is the task of -M with left for right."""
    env = projected_cartpole()
    task = env.sample_task(jax.random.key(0), env.default_params)
    mirrored = task._replace(observation=-task.observation, action=task.action[::-1])
    _, state = env.reset_env(jax.random.key(1), task)
    other = type(state)(*(-x for x in state[:4]), state.time)
    step = jax.jit(env.step_env)
    for action in np.random.default_rng(0).integers(0, 2, 40):
        obs, state, reward, over, _ = step(jax.random.key(2), state, action, task)
        seen, other, paid, ends, _ = step(jax.random.key(2), other, action, mirrored)
        np.testing.assert_array_equal(obs, seen)
        assert (reward, over) == (paid, ends)


@pytest.mark.parametrize("split", ["heldout", "train"])
@pytest.mark.parametrize("name", [name for name in registry.BUILT_IN if "ProjectedCartPole" in name])
def test_projections_refuse_a_split_and_say_why(name, split):
    with pytest.raises(UserError, match=r"^env_kwargs\.split: need all: .* in the mirror; got '") as error:
        make_env(name, split=split)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"^env_kwargs\.split: need all"):
        RandomProjection(make_env("gymnax/CartPole-v1", raw=True)[0], split=split)
