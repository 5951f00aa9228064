"""Arguments that users give by name, against the signature of what takes them. Imports neither jax nor gymnax."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rlformers.errors import UserError
from rlformers.value_types import fits, in_words


def check_arguments(
    function: Callable[..., Any], given: Mapping[str, Any], key: str, lead: str, taken: Collection[str] = ()
) -> dict[str, Any]:
    """Check names and types of arguments.

    What fits an annotation is said by `rlformers.value_types.convert`; the values stay as they are, but for whole
    floats, which are ints where an int is needed: so `wandb agent` writes them.

    Args:
        function: What will be called with them, a function or a class. One with `**kwargs` takes any name.
        given: The arguments.
        key: What stands before their names in messages, e.g. `env_kwargs`.
        lead: What stands before the names that there are, e.g. `env 'memory/Copy' has`.
        taken: Arguments that are not for users to give.

    Returns:
        The arguments to call it with.

    Raises:
        UserError: An argument that there is not, or of another type than its annotation; one line that names it.
    """
    parameters = _signature(function).parameters
    names = [name for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    names = [name for name in names if name not in taken]
    open_ended = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    arguments = dict(given)
    for name, value in given.items():
        if name in names:
            annotation = parameters[name].annotation
            if not fits(annotation, value):
                arguments[name] = _whole(value)
            if not fits(annotation, arguments[name]):
                raise UserError(f"{key}.{name}: need {in_words(annotation)}, got {value!r}")
        elif name in taken or not open_ended:
            raise UserError(f"{key}.{name}: {lead} {', '.join(names) or 'no arguments'}")
    return arguments


def _whole(value: Any) -> Any:
    """The same with ints for whole floats, in lists too."""
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """With annotations as objects, unless they are names that only a type checker knows."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # whatever an annotation raises
        return inspect.signature(function)


@contextmanager
def naming(key: str, given: Collection[str]) -> Iterator[None]:
    """Put `key` before errors that begin with the bare name of an argument which the user has given there.

    Raises:
        UserError: As what runs inside.
    """
    try:
        yield
    except ValueError as error:
        if str(error).partition(":")[0] not in given:
            raise
        raise UserError(f"{key}.{error}") from error
