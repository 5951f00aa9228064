"""Checks the values of users against the annotations of their targets. Imports neither jax nor gymnax.

Otherwise a wrong type raises an error inside a compiler, or none at all: an environment would deal
2.5 decks of cards.
"""

import math
import types
import typing
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

# NumPy registers its number types with `numbers`.
_NUMBERS: dict[Any, type] = {int: Integral, float: Real}
NULLS = ("null", "None", "none")  # how other programs write that there is no value
_BOOLS = dict.fromkeys(("true", "yes", "on", "y", "1"), True) | dict.fromkeys(("false", "no", "off", "n", "0"), False)


def convert(annotation: Any, value: Any, loosely: bool = False) -> Any:
    """Convert a value to the type of an annotation: an int to a float, the list of a configuration to a tuple.

    A float never becomes an int, even a whole one, and a bool is not a number. Annotations of
    classes and of containers other than sequences are not checked: such a value stays as it is.

    Args:
        annotation: A type, or a union, literal or sequence of types.
        value: Any value.
        loosely: Also accept values as command lines and files write them: "None" where None is
            allowed, 64.0 and "64" for an int, "1e-3" for a float, "yes" for a bool, a number for a
            string, "" for an empty list.

    Raises:
        TypeError: The value has another type.
    """
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if loosely and value in NULLS and (annotation is Any or types.NoneType in parts):
        return None
    if origin in (typing.Union, types.UnionType):
        for part, loose in [(part, loose) for loose in sorted({False, loosely}) for part in parts]:
            try:
                return convert(part, value, loose)
            except TypeError:
                continue
        raise TypeError
    if origin is typing.Literal:
        if any(value == part and type(value) is type(part) for part in parts):
            return value
        raise TypeError
    if origin in (tuple, list, Sequence):
        value = [] if loosely and value == "" else value
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError
        kinds = parts if origin is tuple and parts[-1:] != (...,) else parts[:1] * len(value)
        if len(kinds) != len(value):
            raise TypeError
        items = (convert(kind, item, loosely) for kind, item in zip(kinds, value, strict=True))
        return (list if origin is list else tuple)(items)
    value = _as_written(annotation, value) if loosely else value
    if annotation in _NUMBERS:
        if not isinstance(value, _NUMBERS[annotation]) or isinstance(value, bool):
            raise TypeError
        try:
            return annotation(value)
        except OverflowError:  # an int that is too large for a float
            return math.inf
    wanted = types.NoneType if annotation is None else annotation
    if wanted in (bool, str, types.NoneType) and not isinstance(value, wanted):
        raise TypeError
    return value


def _as_written(annotation: Any, value: Any) -> Any:
    """The number, bool or string that a value of another type means; the value itself if it means none."""
    if annotation in _NUMBERS and isinstance(value, str):
        try:
            value = int(value) if annotation is int else float(value)
        except ValueError:
            value = _float(value)
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if annotation is bool and isinstance(value, str | int):
        return _BOOLS.get(str(value).lower(), value)
    return str(value) if annotation is str and isinstance(value, bool | int | float) else value


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def fits(annotation: Any, value: Any) -> bool:
    """Whether `convert` accepts the value."""
    try:
        convert(annotation, value)
    except TypeError:
        return False
    return True


# The name of each kind of value, alone and in a list.
_WORDS: dict[Any, tuple[str, str]] = {
    float: ("a float", "floats"),
    int: ("an int", "ints"),
    bool: ("true or false", "true or false"),
    str: ("a string", "strings"),
    types.NoneType: ("null", "null"),
    dict: ("key=value pairs", "key=value pairs"),
    Any: ("any value", "any values"),
}


def in_words(annotation: Any) -> str:
    """The type of an annotation in words for a user: `a float`."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(in_words, parts))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple and parts[-1:] != (...,):
        return f"a list [...] of {', '.join(map(in_words, parts))}"
    if origin in (tuple, list, Sequence):
        return f"a list [...] of {_WORDS[parts[0]][1] if parts[0] in _WORDS else in_words(parts[0])}"
    found = _WORDS.get(annotation) or _WORDS.get(origin)
    return found[0] if found else getattr(annotation, "__name__", str(annotation))
