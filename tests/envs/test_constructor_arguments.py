"""Arguments are compared with the signature of what takes them."""

import pytest

from rlformers.envs.constructor_arguments import check_arguments
from rlformers.envs.registry import make_env, replace_params


class Written:
    def __init__(self, size: "int" = 1, other: "NotThere" = None, *, env_id: str = ""):  # noqa: F821
        pass


class Later:
    def __init__(self, size: "int" = 1, **kwargs):
        pass


@pytest.mark.parametrize(
    "function,given,message",
    [
        (Later, {"size": 1.5}, r"^env_kwargs\.size: need an int, got 1\.5$"),
        (Written, {"sise": 1}, r"^env_kwargs\.sise: it has size, other$"),
        (Written, {"env_id": "a"}, r"^env_kwargs\.env_id: it has size, other$"),
        (lambda: None, {"size": 1}, r"^env_kwargs\.size: it has no arguments$"),
        (lambda env_id, **kwargs: None, {"env_id": "a"}, r"^env_kwargs\.env_id: it has no arguments$"),
    ],
)
def test_messages_name_the_argument(function, given, message):
    with pytest.raises(ValueError, match=message):
        check_arguments(function, given, "env_kwargs", "it has", taken={"env_id"})


@pytest.mark.parametrize("function,given", [(Later, {"anything": 1}), (Written, {"size": 1.5, "other": 3})])
def test_what_is_not_known_passes(function, given):
    check_arguments(function, given, "env_kwargs", "it has")


def test_whole_floats_are_ints_where_ints_are_needed():
    def make(k: int = 1, sizes: list[int] = (), rate: float = 1.0, either: int | float = 1, free=None):
        pass

    given = {"k": 4.0, "sizes": [2.0, 3.0], "rate": 2.0, "either": 2.0, "free": 2.0}
    taken = check_arguments(make, given, "env_kwargs", "it has")
    assert repr(taken) == "{'k': 4, 'sizes': [2, 3], 'rate': 2.0, 'either': 2.0, 'free': 2.0}"
    with pytest.raises(ValueError, match=r"env_kwargs\.k: need an int, got 2\.5"):
        check_arguments(make, {"k": 2.5}, "env_kwargs", "it has")


def test_whole_floats_reach_environments():
    env, params = make_env("popgym/RepeatPreviousEasy", k=3.0, raw=True)
    assert repr(env.env.k if hasattr(env, "env") else env.k) == "3"
    _, params = make_env("gymnax/CartPole-v1")
    assert repr(replace_params(params, max_steps_in_episode=50.0).max_steps_in_episode) == "50"
    with pytest.raises(ValueError, match=r"env_params\.max_steps_in_episode: need an int below 2\^31, got 50\.5"):
        replace_params(params, max_steps_in_episode=50.5)
