"""Every environment keeps the protocol: the checker of users, over the registry."""

import pytest

from rlformers.envs import check, registry
from rlformers.envs.registry import find, make_env, names

TABLE = [
    "popgym/RepeatPreviousEasy",
    "popgym/PositionOnlyCartPoleEasy",
    "memory/TMaze",
    "gymnax/CartPole-v1",
]
# What draws or simulates bodies at every step takes a processor a minute or more otherwise.
FEWER = dict.fromkeys(("arcade", "brax", "playground"), {"num_envs": 2, "num_steps": 16})
# MNISTBandit downloads a data set. gymnasium/* stands for what Gymnasium has.
SLOW = [name.replace("/*", "/CartPole-v1") for name in names() if name not in TABLE and "MNIST" not in name]


@pytest.mark.parametrize("name", TABLE + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW])
def test_every_environment_keeps_the_protocol(name):
    if find(name).extra:
        try:
            make_env(name)
        except ValueError as error:
            if "pip install" not in str(error):
                raise
            pytest.skip(str(error))
    check(name, **FEWER.get(find(name).extra, {})).raise_for_failures()


def first_of_constructors():
    """All that is built in here, and whether it is the first of its constructor (and of its package's id)."""
    seen = set()
    for entry in registry.BUILT_IN.values():
        if not entry.extra and "MNIST" not in entry.name:
            what = entry.target, entry.kwargs.get("env_id")
            yield entry.name, what not in seen
            seen.add(what)


@pytest.mark.parametrize("name, plays", first_of_constructors())
def test_every_environment_keeps_the_protocol_at_a_glance(name, plays):
    """The types of every id, and a few steps of every constructor: a minute of one core. Levels differ in sizes."""
    report = check(name, num_envs=2, num_steps=4 * plays, quick=True)
    report.raise_for_failures()
    assert len(report.points) == 7 + 3 * plays
