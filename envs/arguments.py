"""Arguments that users give by name, against the signature of what takes them. Imports neither jax nor gymnax.

A wrong type otherwise comes back as a traceback out of a compiler, or not at all: 2.5 decks of cards can be dealt.
"""

import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

# What a kind of value is called, alone and in a list.
_WORDS = {
    bool: ("true or false", "true or false"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    types.NoneType: ("null", "null"),
}


def check_arguments(
    function: Callable[..., Any], given: Mapping[str, Any], key: str, lead: str, taken: Collection[str] = ()
) -> None:
    """Check names and types of arguments.

    An int passes for a float; a float does not pass for an int, whole or not. What an annotation says of containers
    other than sequences and tuples, and of classes, is not looked at.

    Args:
        function: What will be called with them, a function or a class. One with `**kwargs` takes any name.
        given: The arguments.
        key: What stands before their names in messages, e.g. `env_kwargs`.
        lead: What stands before the names that there are, e.g. `env 'memory/Copy' has`.
        taken: Arguments that are not for users to give.

    Raises:
        ValueError: An argument that there is not, or of another type than its annotation; one line that names it.
    """
    parameters = _signature(function).parameters
    names = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    names = [name for name in names if name not in taken]
    open_ended = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in given.items():
        if name in names:
            annotation = parameters[name].annotation
            if not fits(annotation, value):
                raise ValueError(f"{key}.{name}: need {in_words(annotation)}, got {value!r}")
        elif name in taken or not open_ended:
            raise ValueError(f"{key}.{name}: {lead} {', '.join(names) or 'no arguments'}")


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With annotations as objects, unless they are names that only a type checker knows."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # whatever an annotation raises
        return inspect.signature(function)


def fits(annotation: Any, value: Any) -> bool:
    """Whether a value is what an annotation asks for. One that is none of the known kinds takes everything."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(fits(part, value) for part in parts)
    if origin is typing.Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin is tuple and parts[-1:] != (...,):
        return isinstance(value, Sequence) and len(value) == len(parts) and all(map(fits, parts, value))
    if origin in (tuple, list, Sequence):  # lists of a configuration stand for tuples, too
        return isinstance(value, Sequence) and all(fits(parts[0], part) for part in value)
    if annotation in (None, types.NoneType):
        return value is None
    if annotation is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    return isinstance(value, annotation) if annotation in (bool, str) else True


def in_words(annotation: Any) -> str:
    """What an annotation asks for."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(in_words, parts))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is tuple and parts[-1:] != (...,):
        return f"a list of {', '.join(map(in_words, parts))}"
    if origin in (tuple, list, Sequence):
        return f"a list of {_WORDS[parts[0]][1]}" if parts[0] in _WORDS else f"a list, each of it {in_words(parts[0])}"
    return _WORDS[annotation][0] if annotation in _WORDS else getattr(annotation, "__name__", str(annotation))


@contextmanager
def naming(key: str, given: Collection[str]) -> Iterator[None]:
    """Put `key` before errors that begin with the bare name of an argument which the user has given there.

    Raises:
        ValueError: As what runs inside.
    """
    try:
        yield
    except ValueError as error:
        if str(error).partition(":")[0] not in given:
            raise
        raise ValueError(f"{key}.{error}") from error
