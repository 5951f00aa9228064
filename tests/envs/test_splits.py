"""Held-out tasks that were trained on are noticed."""

import pytest

from rlformers.envs import registry
from rlformers.envs.memory.tmaze import TMaze
from rlformers.envs.meta.splits import overlap, split_of

HELD_OUT = {"split": "heldout"}


def test_the_split_of_an_environment():
    assert split_of("meta/DarkRoom", {}) == "train" and split_of("meta/BernoulliBandit", {}) == "all"
    assert split_of("meta/Alchemy", {"episodes": 2, **HELD_OUT}) == "heldout"
    assert split_of("memory/TMaze", {}) is None and split_of("gymnasium/Any-v0", {}) is None


@pytest.mark.parametrize(
    "trained,kwargs,env,overlaps",
    [
        ("meta/BernoulliBandit", {}, "meta/BernoulliBandit", "split=all"),
        ("meta/BernoulliBandit", {"split": "train"}, "meta/BernoulliBandit", None),
        ("meta/DarkRoom", {}, "meta/DarkRoom", None),
        ("meta/DarkRoom", HELD_OUT, "meta/DarkRoom", "split=heldout"),
        ("meta/ProjectedCartPole", {}, "meta/ProjectedCartPoleLu2023", "split=all"),
        ("meta/GaussianBandit", {}, "meta/BernoulliBandit", None),
        ("gymnasium/Any-v0", {}, "meta/DarkRoom", None),
    ],
)
def test_overlaps(trained, kwargs, env, overlaps):
    line = overlap(trained, kwargs, env, HELD_OUT)
    assert line is None if overlaps is None else f"trained with {overlaps}," in line
    assert overlap(trained, kwargs, env, {"split": "all"}) is None


def test_names_of_an_id_count(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register_env("mine/Test", "rlformers.envs.meta.bandits:make_bernoulli_bandit", kwargs=HELD_OUT)
    registry.register_env("mine/Maze", TMaze)
    assert "split=all" in overlap("meta/BernoulliBandit", {}, "mine/Test", {})
    assert overlap("mine/Maze", {}, "mine/Maze", HELD_OUT) is None
