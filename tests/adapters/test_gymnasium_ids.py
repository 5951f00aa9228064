"""Ids of Gymnasium: modules, versions, suites, and mistakes."""

import pytest

from rlformers.envs.registry import make_env, register_env

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")

from gymnasium_environments import Counter, Parts, counters_and_parts  # noqa: E402

from rlformers.envs.adapters.host.environment import GymnasiumHost  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def registered():
    with counters_and_parts():
        yield


@pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")
@pytest.mark.parametrize("env_id", ["gymnasium.envs.classic_control:CartPole-v1", "CartPole"])
def test_ids_with_a_module_or_without_a_version(env_id):
    env, params = make_env(f"gymnasium/{env_id}", raw=True)
    assert params.max_steps_in_episode == gymnasium.spec("CartPole-v1").max_episode_steps == 500
    assert env.slots.make().spec.id == "CartPole-v1" and env.velocities == (1, 3)


@pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")
def test_every_copy_is_what_the_first_was(monkeypatch):
    """An id without a version means the newest one when the environment is built, and from then on."""
    env = GymnasiumHost("rlformers/Parts")
    newer = gymnasium.envs.registration.EnvSpec("rlformers/Parts-v1", Counter)
    monkeypatch.setitem(gymnasium.registry, newer.id, newer)
    assert isinstance(env.slots.make().unwrapped, Parts)


@pytest.mark.parametrize(
    "name,kwargs,message",
    [
        ("gymnasium/CartPol-v1", {}, "env: 'gymnasium/CartPol-v1' .*mean 'gymnasium/CartPole-v1'"),
        ("gymnasium/", {}, "env: 'gymnasium/' is none of the registered"),
        ("gymnasium/*", {}, r"env: 'gymnasium/\*' cannot be made: Malformed"),
        ("gymnasium/no_such_module:Env-v0", {}, "cannot be made: .*no_such_module"),
        ("gymnasium/gymnasium.envs.classic_control:CartPol-v1", {}, "mean 'gymnasium/CartPole-v1'"),
        ("gymnasium/ELA/Pong-v5", {}, "env: 'gymnasium/ELA/Pong-v5' .*'gymnasium/<module>:ELA/Pong-v5' imports"),
        ("gymnasium/FrozenLake-v1", {"map_name": "9x9"}, r"env_kwargs: .*FrozenLake-v1.*'9x9'\}: KeyError: '9x9'"),
        ("gymnasium/CartPole-v1", {"max_episode_steps": 3}, "env_params.max_steps_in_episode"),
        ("gymnasium/CartPole-v1", {"sutton_bartow": 3}, "env_kwargs: .*sutton_bartow"),
        ("gymnasium/CartPole-v1", {"max_copies": 0}, "env_kwargs.max_copies: need at least 1, got 0"),
    ],
)
def test_mistakes_are_named_in_one_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        make_env(name, **kwargs)
    assert "\n" not in str(error.value)


def test_a_pattern_is_a_suite_of_its_own(monkeypatch):
    from rlformers.envs import registry

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("counters/*", GymnasiumHost, kwargs={"truncates": 2})
    env, _ = make_env("counters/rlformers/Counter-v0", raw=True)
    assert env.env_id == "rlformers/Counter-v0"
    register_env("counters/Long", GymnasiumHost, kwargs={"env_id": "rlformers/Counter-v0", "truncates": 9})
    assert make_env("counters/Long", raw=True)[0].slots.make().unwrapped.truncates == 9
