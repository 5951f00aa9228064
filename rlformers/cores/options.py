"""Checks of what is given to cores: one line each, `core.NAME: need ..., got ...`. Imports no jax.

Types are checked in one place, against the annotations of a core's config dataclass. Ranges are the core's own affair:
the `__post_init__` of its config, or what makes it where the width matters.
"""

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from rlformers.errors import UserError
from rlformers.value_types import convert, in_words


def check_options(name: str, schema: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a core in the types that its config dataclass declares: an int becomes a float, a list a tuple.

    Args:
        name: The core, for messages.
        schema: Its config dataclass.
        options: Some of the fields. Fields of other types than int, float, bool, str, and tuples and unions of these
            are taken as they are.

    Raises:
        UserError: Unknown or missing option, another type, or a float that is not finite.
    """
    known = {field.name: field for field in fields(schema) if field.init}
    for option in options:
        if option not in known:
            raise UserError(f"core.{option}: core {name!r} has {', '.join(known) or 'no options'}")
    for option, field in known.items():
        if option not in options and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"core.{option}: core {name!r} needs a value")
    kinds = typing.get_type_hints(schema)
    return {option: as_type(f"core.{option}", kinds[option], value) for option, value in options.items()}


def as_type(key: str, annotation: Any, value: Any) -> Any:
    """A value in a type.

    Raises:
        UserError: It has another one, or is a float that is not finite.
    """
    try:
        new = convert(annotation, value)
    except TypeError:
        raise UserError(f"{key}: need {in_words(annotation)}, got {value!r}") from None
    if any(isinstance(x, float) and not math.isfinite(x) for x in (new if isinstance(new, tuple) else (new,))):
        raise UserError(f"{key}: need a finite number, got {value!r}")
    return new


def check_size(key: str, value: Any) -> int:
    """A number of something of which there is at least one.

    Raises:
        UserError: No int, or less than 1.
    """
    size = as_type(key, int, value)
    if size < 1:
        raise UserError(f"{key}: need at least 1, got {size}")
    return size


# Below, `config` is a core's config dataclass, and NaN is in no range.


def check_least(config: Any, **least: int) -> None:
    """Check lower bounds, e.g. `check_least(self, state_size=1)`.

    Raises:
        UserError: An option is less.
    """
    for name, bound in least.items():
        if not getattr(config, name) >= bound:
            raise UserError(f"core.{name}: need at least {bound}, got {getattr(config, name)}")


def check_positive(config: Any, *names: str) -> None:
    """Check numbers of which any above 0 will do.

    Raises:
        UserError: An option is not positive, or not finite.
    """
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise UserError(f"core.{name}: need a positive number, got {getattr(config, name)}")


def check_choices(config: Any, **allowed: Sequence[str]) -> None:
    """Check words, e.g. `check_choices(self, scan=METHODS)`.

    Raises:
        UserError: An option is none of those allowed.
    """
    for name, words in allowed.items():
        if getattr(config, name) not in words:
            raise UserError(f"core.{name}: {getattr(config, name)!r} is none of {', '.join(words)}")


def size_of_heads(width: int, heads: int, head_size: int = 0) -> int:
    """`head_size`, or width / heads where that is 0.

    Raises:
        UserError: It is 0 and the heads do not divide the width.
    """
    if not head_size and width % heads:
        raise UserError(f"core.heads: width {width} is not divisible by heads={heads}")
    return head_size or width // heads


def check_spread(size: int, heads: int) -> None:
    """Check heads whose units a LayerNorm compares: of one it makes 0.

    Raises:
        UserError: A head has one unit.
    """
    if size < 2:
        raise UserError(f"core.heads: need fewer, with at least 2 units each, got {heads} with 1")


def hidden_size(width: int, ratio: float) -> int:
    """Hidden units of a feed-forward part of so many widths; there is at least one."""
    return max(1, round(ratio * width))
