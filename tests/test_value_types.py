"""Values are compared with annotations."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Optional

import numpy as np
import pytest

from rlformers.value_types import convert, fits, in_words


class Anything:
    """A type that the comparison does not know."""


@pytest.mark.parametrize(
    "annotation,good,bad,words",
    [
        (int, [3, np.int64(3)], [3.0, True, "3", None, [3]], "an int"),
        (float, [3, 0.5, np.float32(1)], [True, "3", None], "a float"),
        (bool, [True], [1, "true", None], "true or false"),
        (str, ["a"], [1, None], "a string"),
        (int | None, [1, None], [0.5, "a"], "an int or null"),
        (Optional[int], [1, None], [0.5, "a"], "an int or null"),  # noqa: UP045
        (Literal["a", 1], ["a", 1], ["b", True], "one of a, 1"),
        (Sequence[int], [[1], (1, 2), [], range(3)], [1, [1.5], "12", None], "a list [...] of ints"),
        (list[str], [["a"], ("a", "b")], [[1], 1], "a list [...] of strings"),
        (tuple[int, ...], [[1, 2], ()], [[None], 2], "a list [...] of ints"),
        (tuple[int, str], [[1, "a"]], [[1], ["a", 1], 2], "a list [...] of an int, a string"),
        (Sequence[int | None], [[1, None]], [["a"]], "a list [...] of an int or null"),
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


@pytest.mark.parametrize(
    "annotation,value,converted",
    [
        (float, 3, 3.0),
        (float, 10**400, float("inf")),
        (int, np.int64(3), 3),
        (int | float, 0.5, 0.5),
        (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
        (Sequence[int], range(2), (0, 1)),
        (list[int], (1,), [1]),
        (tuple[int, str] | None, None, None),
    ],
)
def test_values_get_the_types_that_are_declared(annotation, value, converted):
    found = convert(annotation, value)
    assert found == converted and type(found) is type(converted)
