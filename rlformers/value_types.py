"""Values that users give, against the annotations of what takes them. Imports neither jax nor gymnax.

A wrong type otherwise comes back as a traceback out of a compiler, or not at all: 2.5 decks of cards can be dealt.
"""

import math
import types
import typing
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

# NumPy's numbers register as those of `numbers`.
_NUMBERS: dict[Any, type] = {int: Integral, float: Real}
NULLS = ("null", "None", "none")  # what programs of others write where there is no value
_BOOLS = dict.fromkeys(("true", "yes", "on", "y", "1"), True) | dict.fromkeys(("false", "no", "off", "n", "0"), False)


def convert(annotation: Any, value: Any, loosely: bool = False) -> Any:
    """The value in the type that an annotation asks for: an int becomes a float, the list of a configuration a tuple.

    A float does not become an int, whole or not, and a bool is no number. What an annotation says of containers other
    than sequences, and of classes, is not looked at: such a value stays what it is.

    Args:
        annotation: A type, or a union, literal or sequence of types.
        value: Any.
        loosely: Take what command lines and files write for a value as well: "None" where None is allowed, 64.0 and
            "64" for an int, "1e-3" for a float, "yes" for a bool, a number for a string, nothing for an empty list.

    Raises:
        TypeError: It has another type.
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
        except OverflowError:  # an int that no float can hold
            return math.inf
    wanted = types.NoneType if annotation is None else annotation
    if wanted in (bool, str, types.NoneType) and not isinstance(value, wanted):
        raise TypeError
    return value


def _as_written(annotation: Any, value: Any) -> Any:
    """The number, bool or string that a value of another type stands for; the value itself if there is none."""
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
    """Whether `convert` takes the value."""
    try:
        convert(annotation, value)
    except TypeError:
        return False
    return True


# What a kind of value is called, alone and in a list.
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
    """What an annotation asks for, as a user reads it: `a float`."""
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
