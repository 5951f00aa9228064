"""Checks of a core's options, with errors of one line, `core.NAME: need ..., got ...`. Imports no jax.

One place checks types, against the annotations of a core's config dataclass. Each core checks its
ranges in the `__post_init__` of its config, or in its constructor where the width matters.
"""

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from rlformers.errors import UserError
from rlformers.value_types import convert, in_words


def check_options(name: str, schema: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a core, converted to the types of its config dataclass: an int to a float, a list to a tuple.

    Args:
        name: The core, for messages.
        schema: Its config dataclass.
        options: Some of the fields. Only int, float, bool, str, and tuples and unions of these are
            checked.

    Raises:
        UserError: Unknown or missing option, wrong type, or a float that is not finite.
    """
    known = {field.name: field for field in fields(schema) if field.init}
    for option in options:
        if option not in known:
            choices = f"such option; need one of {', '.join(known)}" if known else "options"
            raise UserError(f"core.{option}: core {name!r} has no {choices}")
    for option, field in known.items():
        if option not in options and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"core.{option}: core {name!r} needs a value")
    kinds = typing.get_type_hints(schema)
    return {option: as_type(f"core.{option}", kinds[option], value) for option, value in options.items()}


def as_type(key: str, annotation: Any, value: Any) -> Any:
    """A value, converted to a type.

    Raises:
        UserError: It has the wrong type, or is a float that is not finite.
    """
    try:
        new = convert(annotation, value)
    except TypeError:
        raise UserError(f"{key}: need {in_words(annotation)}, got {value!r}") from None
    if any(isinstance(x, float) and not math.isfinite(x) for x in (new if isinstance(new, tuple) else (new,))):
        raise UserError(f"{key}: need a finite number, got {value!r}")
    return new


def check_size(key: str, value: Any) -> int:
    """An integer of at least 1.

    Raises:
        UserError: Not an int, or less than 1.
    """
    size = as_type(key, int, value)
    if size < 1:
        raise UserError(f"{key}: need at least 1, got {size}")
    return size


# Below, `config` is a core's config dataclass. No range contains NaN.


def check_least(config: Any, **least: int) -> None:
    """Check lower bounds, e.g. `check_least(self, state_size=1)`.

    Raises:
        UserError: An option is below its bound.
    """
    for name, bound in least.items():
        if not getattr(config, name) >= bound:
            raise UserError(f"core.{name}: need at least {bound}, got {getattr(config, name)}")


def check_positive(config: Any, *names: str) -> None:
    """Check that options are positive and finite.

    Raises:
        UserError: An option is not.
    """
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise UserError(f"core.{name}: need a positive number, got {getattr(config, name)}")


def check_choices(config: Any, **allowed: Sequence[str]) -> None:
    """Check words, e.g. `check_choices(self, scan=METHODS)`.

    Raises:
        UserError: An option is not an allowed word.
    """
    for name, words in allowed.items():
        if getattr(config, name) not in words:
            raise UserError(f"core.{name}: {getattr(config, name)!r} is none of {', '.join(words)}")


def size_of_heads(width: int, heads: int, head_size: int = 0) -> int:
    """`head_size`, or width / heads if it is 0.

    Raises:
        UserError: It is 0 and the heads do not divide the width.
    """
    if not head_size and width % heads:
        raise UserError(f"core.heads: width {width} is not divisible by heads={heads}")
    return head_size or width // heads


def check_spread(size: int, heads: int) -> None:
    """Check heads under a LayerNorm, which turns a single unit into 0.

    Raises:
        UserError: A head has one unit.
    """
    if size < 2:
        raise UserError(f"core.heads: need at least 2 units per head, got {heads} heads with 1 each")


def hidden_size(width: int, ratio: float) -> int:
    """Hidden units of a feed-forward part, `ratio` per width and at least one."""
    return max(1, round(ratio * width))
