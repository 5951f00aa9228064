"""Names, arguments and params."""

import sys
from functools import partial
from importlib.metadata import EntryPoint

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs import registry
from rlformers.envs.popgym.repeat_first import RepeatFirst
from rlformers.envs.registry import make_env, register_env, replace_params
from rlformers.errors import UserError


@pytest.mark.parametrize(
    "name,kwargs,message",
    [
        ("popgym/RepeatPrevousEasy", {}, "env: 'popgym/RepeatPrevousEasy' .*mean 'popgym/RepeatPreviousEasy'"),
        ("TMaze", {}, "mean 'memory/TMaze'"),
        ("brax/swimmer", {}, "env: 'brax/swimmer' is left out: brax .* cannot step it"),
        ("navix/KeyCorridorS3R1-v0", {}, "is left out: .* doors are parts of walls"),
        ("popgym/RepeatPreviousEasy", {"lag": 3}, r"env_kwargs\.lag: .* has num_decks, k"),
        ("popgym/StatelessCartPoleHard", {}, "mean 'popgym/PositionOnlyCartPoleHard'"),
        ("popgym/NoisyStatelessCartPoleEasy", {}, "mean 'popgym/NoisyPositionOnlyCartPoleEasy'"),
        ("popgym/StatelessPendulumMedium", {}, "mean 'popgym/PositionOnlyPendulumMedium'"),
        ("NoisyStatelessPendulumHard", {}, "mean 'popgym/NoisyPositionOnlyPendulumHard'"),
        ("popgym/RepeatPreviousEasy", {"k": "four"}, r"env_kwargs\.k: need an int, got 'four'"),
        ("popgym/RepeatPreviousEasy", {"k": 4.0}, r"env_kwargs\.k: need an int, got 4\.0"),
        ("popgym/RepeatPreviousEasy", {"k": True}, r"env_kwargs\.k: need an int, got True"),
        (
            "popgym/BattleshipEasy",
            {"ship_sizes": [2, 2.5]},
            r"env_kwargs\.ship_sizes: need a list \[\.\.\.\] of ints, got \[2, ",
        ),
        ("popgym/NoisyPositionOnlyPendulumEasy", {"noise_sigma": "0"}, r"env_kwargs\.noise_sigma: need a float"),
        (
            "popgym/MultiarmedBanditEasy",
            {"max_steps_in_episode": 0},
            r"^env_kwargs\.max_steps_in_episode: need at least 1",
        ),
        ("memory/TMaze", {"active": "no"}, r"env_kwargs\.active: need true or false, got 'no'"),
        ("meta/BernoulliBandit", {"pulls": 10.5}, r"env_kwargs\.pulls: need an int, got 10.5"),
        ("meta/DarkRoom", {"steps": 10.5}, r"env_kwargs\.steps: need an int or null, got 10.5"),
        ("gymnax/DeepSea-bsuite", {"size": 3.5}, r"env_kwargs\.size: need an int, got 3.5"),
        ("gymnax/FrozenLake-misc", {"map_name": None}, r"env_kwargs: .*'map_name': None\}: map_name must be"),
        ("gymnax/CartPole-v1", {"wrap": {"delay": 2.5}}, r"wrap\.delay: need an int, got 2.5"),
        (
            "gymnax/CartPole-v1",
            {"wrap": {"noize": 0.1}},
            r"wrap\.noize: need one of action_repeat, time_limit, mask, projection, noise",
        ),
        ("gymnax/DeepSea-bsuite", {"sise": 3}, r"env_kwargs\.sise: .* has size, action_mapping_key"),
        ("gymnax/MountainCar-v0", {"a": 3}, r"env_kwargs\.a: .* has no arguments"),
    ],
)
def test_mistakes_are_named_in_one_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        make_env(name, **kwargs)
    assert "\n" not in str(error.value)


def test_arguments_reach_the_constructor():
    assert make_env("popgym/RepeatPreviousHard", raw=True, k=5)[0].k == 5
    assert make_env("popgym/RepeatPreviousHard", raw=True)[0].num_cards == 156
    assert make_env("gymnax/DeepSea-bsuite", size=4, raw=True)[0].env.size == 4
    env, params = make_env("popgym/PositionOnlyCartPoleHard")
    assert params.max_steps_in_episode == env.default_params.max_steps_in_episode == 600


def test_register(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/First", RepeatFirst, summary="mine", previous_action=True, kwargs={"num_decks": 2})
    env, params = make_env("mine/First")
    assert env.observation_space(params).shape == (9,) and env.env.env.num_cards == 104
    with pytest.raises(ValueError, match="already registered"):
        register_env("mine/First", RepeatFirst)
    register_env("mine/Absent", "nowhere_to_be_found:Env")
    with pytest.raises(ValueError, match="cannot be loaded"):
        make_env("mine/Absent")


@pytest.mark.parametrize(
    "error,reason",
    [
        (KeyError("9x9"), "KeyError: '9x9'"),
        (NotImplementedError(), "NotImplementedError"),
        (AttributeError("no shape\nof it"), "AttributeError: no shape"),
        (FileNotFoundError("no such map"), "FileNotFoundError: no such map"),
        (TypeError("need less"), "need less"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_constructor_raises_of_arguments_is_one_line(monkeypatch, error, reason):
    def construct(size: int = 3):
        raise error

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Failing", construct)
    with pytest.raises(ValueError) as caught:
        make_env("mine/Failing", size=4)
    assert str(caught.value) == f"env_kwargs: env 'mine/Failing' cannot be built with {{'size': 4}}: {reason}"
    assert caught.value.__cause__ is error
    with pytest.raises(type(error)) as caught:
        make_env("mine/Failing")
    assert caught.value is error, "nobody gave arguments that could be wrong"


def test_a_missing_module_is_not_blamed_on_arguments(monkeypatch):
    def construct(size: int = 3):
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Needy", construct)
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        make_env("mine/Needy", size=4)


def test_replace_params():
    _, params = make_env("popgym/PositionOnlyCartPoleEasy")
    assert replace_params(params, gravity=5, max_steps_in_episode=7) == params.replace(
        gravity=5.0, max_steps_in_episode=7
    )
    for changes, message in (
        ({"gravitee": 1.0}, r"env_params\.gravitee: .*gravity"),
        ({"gravity": "9"}, r"env_params\.gravity: need a float, got '9'"),
        ({"gravity": True}, "need a float"),
        ({"max_steps_in_episode": 7.5}, "need an int"),
        ({"max_steps_in_episode": True}, "need an int"),
        (
            {"max_steps_in_episode": 2**31},
            r"env_params\.max_steps_in_episode: need an int below 2\^31, got 2147483648",
        ),
        ({"max_steps_in_episode": 0}, r"^env_params\.max_steps_in_episode: need at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            replace_params(params, **changes)
    _, params = make_env("gymnax/CartPole-v1")  # whose params look at nothing themselves
    with pytest.raises(ValueError, match=r"^env_params\.max_steps_in_episode: need at least 1, got -1"):
        replace_params(params, max_steps_in_episode=-1)
    _, params = make_env("gymnax/DeepSea-bsuite")
    assert replace_params(params, deterministic=False).deterministic is False
    with pytest.raises(ValueError, match="true or false"):
        replace_params(params, deterministic=1)
    _, params = make_env("gymnax/Acrobot-v1")
    changed = replace_params(params, available_torque=[-2, 0, 2]).available_torque
    assert changed.dtype == jnp.float32 and changed.tolist() == [-2, 0, 2]
    with pytest.raises(ValueError, match="numbers of shape"):
        replace_params(params, available_torque=[1.0])


# An extra, the package that its adapter imports, and an id.
EXTRAS = [
    ("xland", "xminigrid", "xland/MiniGrid-Empty-5x5"),
    ("navix", "navix", "navix/Empty-5x5-v0"),
    ("jumanji", "jumanji", "jumanji/Snake-v1"),
    ("craftax", "craftax", "craftax/Symbolic"),
    ("arcade", "popgym_arcade", "arcade/CartPoleEasy"),
    ("brax", "brax", "brax/ant"),
    ("playground", "mujoco_playground", "playground/CartpoleSwingup"),
    ("playground", "mujoco_playground", "playground/Meta12x2"),
    ("gymnasium", "gymnasium", "gymnasium/CartPole-v1"),
]


def test_every_extra_is_in_the_table():
    assert {extra for extra, _, _ in EXTRAS} == {entry.extra for entry in registry.BUILT_IN.values()} - {""}


@pytest.mark.parametrize("extra,package,name", EXTRAS, ids=lambda word: word)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, extra, package, name):
    for module in [*sys.modules]:
        if module.startswith("rlformers.envs.adapters."):  # an adapter may have been imported before
            monkeypatch.delitem(sys.modules, module)
        elif module.startswith(f"{package}."):
            monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ValueError, match=rf"^env: '{name}' .*needs {package}.*pip install 'rlformers\[{extra}\]'"
    ) as error:
        make_env(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name,field,length,steps",
    [("MemoryChain-bsuite", "memory_length", 1000, 1001), ("UmbrellaChain-bsuite", "chain_length", 150, 150)],
)
def test_long_chains_end_by_themselves_and_pay_or_are_truncated(name, field, length, steps):
    env, params = make_env(f"gymnax/{name}")
    params = replace_params(params, **{field: length})
    _, state = env.reset(jax.random.key(0), params)

    def step(state, key, params):
        _, state, reward, terminated, truncated, _ = env.step(key, state, 0, params)
        return state, (reward, terminated, truncated)

    @jax.jit
    def play(params):
        return jax.lax.scan(partial(step, params=params), state, jax.random.split(jax.random.key(1), steps))[1]

    rewards, terminated, truncated = play(params)
    assert np.flatnonzero(terminated).tolist() == [steps - 1] and not truncated.any()
    assert abs(rewards[-1]) == 1
    _, terminated, truncated = play(replace_params(params, max_steps_in_episode=3))
    assert np.flatnonzero(truncated).tolist() == [*range(2, steps, 3)] and not terminated.any()


@pytest.mark.parametrize("name", ["popgym/RepeatPreviousEasy", "memory/ActiveTMaze", "gymnax/BernoulliBandit-misc"])
@pytest.mark.parametrize("raw", [False, True])
def test_same_key_same_episode_and_observations_in_their_space(name, raw):
    env, params = make_env(name, raw=raw)
    space = env.observation_space(params)

    def run(key):
        obs, state = env.reset(key, params)

        def step(carry, key):
            _, state = carry
            obs, state, *_ = env.step(key, state, env.action_space(params).sample(key), params)
            return (obs, state), obs

        return jax.lax.scan(step, (obs, state), jax.random.split(key, 70))[1]

    first, again, other = (jax.jit(run)(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == space.dtype and first.shape[1:] == tuple(space.shape)
    assert jax.vmap(space.contains)(first).all()


def test_the_same_cell_of_a_notebook_again(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Again", RepeatFirst, kwargs={"num_decks": 1})
    with pytest.raises(
        UserError, match="^env: 'mine/Again' is already registered; replace=True puts this one in its place$"
    ):
        register_env("mine/Again", RepeatFirst)
    register_env("mine/Again", RepeatFirst, kwargs={"num_decks": 2}, replace=True)
    assert make_env("mine/Again", raw=True)[0].num_cards == 104
    with pytest.raises(UserError, match="^env: 'memory/TMaze' is already registered, by rlformers itself"):
        register_env("memory/TMaze", RepeatFirst, replace=True)


def test_a_plugin_that_repeats_an_id_is_said(monkeypatch, capsys):
    points = [
        EntryPoint("memory/TMaze", "theirs:TMaze", "rlformers.envs"),
        EntryPoint("theirs/Maze", "theirs:Maze", "rlformers.envs"),
        EntryPoint("theirs/Maze", "others:Maze", "rlformers.envs"),
    ]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: points)
    lines = [
        "env: 'memory/TMaze' from theirs:TMaze is ignored: it is the id of one from rlformers",
        "env: 'theirs/Maze' from others:Maze is ignored: it is the id of one from theirs:Maze",
    ]
    assert registry.ignored_plugins() == lines
    assert registry.find("memory/TMaze").target == "rlformers.envs.memory.tmaze:TMaze"
    assert registry.find("theirs/Maze").target == "theirs:Maze"
    assert main(["list", "envs", "memory/"]) == 0
    assert capsys.readouterr().err.splitlines() == lines


def test_an_entry_point_may_be_a_whole_entry(monkeypatch):
    """As if it were registered: arguments, what its truncations are, what is known about returns."""
    from rlformers.envs.environment import never_truncates
    from rlformers.envs.scores import known_scores
    from rlformers.envs.spec import Entry, Scores

    target = "rlformers.envs.adapters.gymnax_env:make_gymnax"
    entry = Entry("any/Name", "balance", target, {"env_id": "CartPole-v1"}, True, scores=lambda: Scores(ceiling=7.0))
    monkeypatch.setattr(registry, "their_entry", entry._replace(truncation="terminates"), raising=False)
    point = EntryPoint("theirs/Pole", "rlformers.envs.registry:their_entry", "rlformers.envs")
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: [point])
    env, params = make_env("theirs/Pole")
    assert never_truncates(env) and env.observation_space(params).shape == (4 + 2 + 1,)
    assert known_scores("theirs/Pole") == Scores(ceiling=7.0)
