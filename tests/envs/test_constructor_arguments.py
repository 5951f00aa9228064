"""Arguments are compared with the signature of what takes them."""

import pytest

from rlformers.envs.constructor_arguments import check_arguments


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
