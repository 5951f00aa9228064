"""Arguments are compared with annotations."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Optional

import numpy as np
import pytest

from rlformers.envs.arguments import check_arguments, fits, in_words


class Anything:
    """Of which the comparison knows nothing."""


@pytest.mark.parametrize(
    "annotation,good,bad,words",
    [
        (int, [3, np.int64(3)], [3.0, True, "3", None, [3]], "an integer"),
        (float, [3, 0.5, np.float32(1)], [True, "3", None], "a number"),
        (bool, [True], [1, "true", None], "true or false"),
        (str, ["a"], [1, None], "text"),
        (int | None, [1, None], [0.5, "a"], "an integer or null"),
        (Optional[int], [1, None], [0.5, "a"], "an integer or null"),  # noqa: UP045
        (Literal["a", 1], ["a", 1], ["b", True], "one of a, 1"),
        (Sequence[int], [[1], (1, 2), [], range(3)], [1, [1.5], "12", None], "a list of integers"),
        (list[str], [["a"], ("a", "b")], [[1], 1], "a list of texts"),
        (tuple[int, ...], [[1, 2], ()], [[None], 2], "a list of integers"),
        (tuple[int, str], [[1, "a"]], [[1], ["a", 1], 2], "a list of an integer, text"),
        (Sequence[int | None], [[1, None]], [["a"]], "a list, each of it an integer or null"),
        (Callable[[int], int] | None, [None, len, 3], [], ""),
        (Anything, [Anything(), 3], [], ""),
        (Any, [3], [], ""),
        ("int", [3.5], [], ""),  # a name that could not be looked up
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # whatever an object prints as
)
def test_annotations(annotation, good, bad, words):
    assert all(fits(annotation, value) for value in good)
    assert not any(fits(annotation, value) for value in bad)
    assert not bad or in_words(annotation) == words


class Written:
    def __init__(self, size: "int" = 1, other: "NotThere" = None, *, env_id: str = ""):  # noqa: F821
        pass


class Later:
    def __init__(self, size: "int" = 1, **kwargs):
        pass


@pytest.mark.parametrize(
    "function,given,message",
    [
        (Later, {"size": 1.5}, r"^env_kwargs\.size: need an integer, got 1\.5$"),
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
