"""Checks of what is given to cores: one line each, `core.NAME: need ..., got ...`. Imports no jax.

Types are checked in one place, against the annotations of a core's config dataclass. Ranges are the core's own affair:
the `__post_init__` of its config, or what makes it where the width matters.
"""

import math
import numbers
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any


def check_options(name: str, schema: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a core in the types that its config dataclass declares: an int becomes a float, a list a tuple.

    Args:
        name: The core, for messages.
        schema: Its config dataclass.
        options: Some of the fields. Fields of other types than int, float, bool, str, and tuples and unions of these
            are taken as they are.

    Raises:
        ValueError: Unknown or missing option, another type, or a float that is not finite.
    """
    known = {field.name: field for field in fields(schema) if field.init}
    for option in options:
        if option not in known:
            raise ValueError(f"core.{option}: core {name!r} has {', '.join(known) or 'no options'}")
    for option, field in known.items():
        if option not in options and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"core.{option}: core {name!r} needs a value")
    kinds = typing.get_type_hints(schema)
    return {option: as_type(f"core.{option}", kinds[option], value) for option, value in options.items()}


def as_type(key: str, annotation: Any, value: Any) -> Any:
    """A value in a type.

    Raises:
        ValueError: It has another one, or is a float that is not finite.
    """
    try:
        new = _convert(annotation, value)
    except TypeError:
        raise ValueError(f"{key}: need {type_name(annotation)}, got {value!r}") from None
    if any(isinstance(x, float) and not math.isfinite(x) for x in (new if isinstance(new, tuple) else (new,))):
        raise ValueError(f"{key}: need a finite number, got {value!r}")
    return new


def _convert(annotation: Any, value: Any) -> Any:
    """The value, or TypeError. NumPy's numbers register as those of `numbers`; a bool is no number here."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            try:
                return _convert(argument, value)
            except TypeError:
                continue
        raise TypeError
    if origin is tuple and arguments:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(kinds) != len(value):
            raise TypeError
        return tuple(map(_convert, kinds, value))
    if annotation not in _NUMBERS:
        if annotation in (str, type(None)) and not isinstance(value, annotation):
            raise TypeError
        return value
    if annotation is bool or isinstance(value, bool):
        if annotation is bool and isinstance(value, bool):
            return value
        raise TypeError
    if not isinstance(value, _NUMBERS[annotation]):
        raise TypeError
    try:
        return annotation(value)
    except OverflowError:  # an int that no float can hold
        return math.inf


_NUMBERS: dict[Any, type] = {bool: bool, int: numbers.Integral, float: numbers.Real}


def type_name(annotation: Any) -> str:
    """A type as a user reads it, e.g. `a float`."""
    if annotation in _TYPE_NAMES:
        return _TYPE_NAMES[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, tuple):
        return f"a list [...] of {_PLURALS.get(arguments[0], 'values')}"
    if arguments and origin is not dict:
        return " or ".join(type_name(argument) for argument in arguments)
    return _TYPE_NAMES.get(origin, str(annotation))


_TYPE_NAMES: dict[Any, str] = {
    float: "a float",
    int: "an int",
    bool: "true or false",
    str: "a string",
    type(None): "null",
    dict: "key=value pairs",
    Any: "any value",
}
_PLURALS: dict[Any, str] = {float: "floats", int: "ints", str: "strings"}


def check_size(key: str, value: Any) -> int:
    """A number of something of which there is at least one.

    Raises:
        ValueError: No int, or less than 1.
    """
    size = as_type(key, int, value)
    if size < 1:
        raise ValueError(f"{key}: need at least 1, got {size}")
    return size


# Below, `config` is a core's config dataclass, and NaN is in no range.


def check_least(config: Any, **least: int) -> None:
    """Check lower bounds, e.g. `check_least(self, state_size=1)`.

    Raises:
        ValueError: An option is less.
    """
    for name, bound in least.items():
        if not getattr(config, name) >= bound:
            raise ValueError(f"core.{name}: need at least {bound}, got {getattr(config, name)}")


def check_positive(config: Any, *names: str) -> None:
    """Check numbers of which any above 0 will do.

    Raises:
        ValueError: An option is not positive, or not finite.
    """
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"core.{name}: need a positive number, got {getattr(config, name)}")


def check_choices(config: Any, **allowed: Sequence[str]) -> None:
    """Check words, e.g. `check_choices(self, scan=METHODS)`.

    Raises:
        ValueError: An option is none of those allowed.
    """
    for name, words in allowed.items():
        if getattr(config, name) not in words:
            raise ValueError(f"core.{name}: {getattr(config, name)!r} is none of {', '.join(words)}")


def size_of_heads(width: int, heads: int, head_size: int = 0) -> int:
    """`head_size`, or width / heads where that is 0.

    Raises:
        ValueError: It is 0 and the heads do not divide the width.
    """
    if not head_size and width % heads:
        raise ValueError(f"core.heads: width {width} is not divisible by heads={heads}")
    return head_size or width // heads


def check_spread(size: int, heads: int) -> None:
    """Check heads whose units a LayerNorm compares: of one it makes 0.

    Raises:
        ValueError: A head has one unit.
    """
    if size < 2:
        raise ValueError(f"core.heads: need fewer, with at least 2 units each, got {heads} with 1")


def hidden_size(width: int, ratio: float) -> int:
    """Hidden units of a feed-forward part of so many widths; there is at least one."""
    return max(1, round(ratio * width))
