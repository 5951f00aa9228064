"""A configuration that is being composed: every key has a type and a value. Every value is checked when it is set."""

import contextlib
import copy
import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from rlformers.config.hints import unknown
from rlformers.cores import registry
from rlformers.errors import UserError, first_line
from rlformers.value_types import convert, in_words


@functools.lru_cache
def type_hints(schema: Any) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return typing.get_type_hints(schema)


class Node:
    """The keys of a config dataclass, flat: `ppo.lr`.

    Keys of type `dict` are free: they hold whatever a user puts there. Others check it (the
    environment, a layer of the core `stack`).
    """

    def __init__(self, schema: type, core: str | None = None):
        """The defaults of a schema. The schema of an experiment needs the name of a core.

        Raises:
            UserError: There is no such core, or its plug-in is broken.
        """
        self.core = core
        self.kinds: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self._declare(schema, "")

    def _declare(self, schema: type, prefix: str) -> None:
        types = type_hints(schema)
        for item in fields(schema):
            key, kind = f"{prefix}{item.name}", types[item.name]
            if key == "core" and self.core is not None:
                self._declare(registry.load(self.core).Config, "core.")
            elif isinstance(kind, type) and is_dataclass(kind):
                self._declare(kind, f"{key}.")
            elif item.init:
                self.kinds[key] = kind
                if (value := _default(item)) is not MISSING:
                    self.values[key] = value

    def copy(self) -> "Node":
        """A copy. Changing it does not change this node."""
        new = copy.copy(self)
        new.values = dict(self.values)  # shallow: no value is ever changed in place
        return new

    def free(self, key: str) -> str | None:
        """The free key that equals a key or contains it."""
        parts = key.split(".")
        heads = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return next((head for head in heads if is_free(self.kinds.get(head))), None)

    def below(self, key: str) -> list[str]:
        """The keys below a key."""
        return [name for name in self.kinds if name.startswith(f"{key}.")]

    def set(self, key: str, value: Any, text: str | None = None, exact: bool = False) -> None:
        """Set a value, or several as a dict.

        Args:
            key: With dots.
            value: Of the key's type, or written in its place: 64.0 for an int, "null" or "None"
                where null is allowed.
            text: The user's text, for messages; None if the value comes from a file.
            exact: Keep strings as they are where the type allows a string.

        Raises:
            UserError: The key is unknown, or the value has another type.
        """
        free = self.free(key)
        if free:
            if key == free and not isinstance(value, Mapping):
                raise UserError(f"{key}: need {_keys(text, f'{key}.NAME')}, got {_shown(value, text)}")
            self._set_free(free, key, _plain(key, value, exact))
        elif key in self.kinds:
            reference = isinstance(value, str) and "${" in value
            self.values[key] = value if reference else self._typed(key, value, text, exact)
        elif below := self.below(key):
            if not isinstance(value, Mapping):
                raise UserError(f"{key}: need {_keys(text, below[0])}, got {_shown(value, text)}")
            for name, item in value.items():
                self.set(f"{key}.{name}", item, None if text is None else str(item), exact)
        else:
            raise UserError(unknown(key, self.kinds))

    def update(self, values: Mapping[str, Any], prefix: str = "", exact: bool = False) -> None:
        """Set the values of a file."""
        for key, value in values.items():
            self.set(f"{prefix}{key}", value, exact=exact)

    def _typed(self, key: str, value: Any, text: str | None, exact: bool) -> Any:
        kind = self.kinds[key]
        # Where a string is needed, 010 is "010", not "10".
        written = text if text is not None and isinstance(value, bool | int | float) else value
        for taken, loosely in ((value, False), (written, True)):
            if loosely or exact or not isinstance(value, str):
                with contextlib.suppress(TypeError):
                    typed = convert(kind, taken, loosely)
                    if isinstance(typed, float) and not math.isfinite(typed):
                        raise UserError(f"{key}: need a finite number, got {typed}")
                    return typed
        raise UserError(f"{key}: need {in_words(kind)}, got {'null' if value is None else _shown(value, text)}")

    def _set_free(self, free: str, key: str, value: Any) -> None:
        """Set a value in a free key. The keys of a dict are added to the existing ones."""
        for part in reversed(key[len(free) + 1 :].split(".") if key != free else []):
            value = {part: value}
        self.values[free] = _merged(self.values[free], value)

    def remove(self, key: str) -> None:
        """Remove a value from a free key.

        Raises:
            UserError: The key is not inside a free key, or does not exist.
        """
        free = self.free(key)
        if free in (None, key):
            raise UserError(f"~{key}: this key cannot be removed; set another value")
        *path, last = key[len(str(free)) + 1 :].split(".")
        self.values[str(free)] = place = copy.deepcopy(self.values[str(free)])
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise UserError(f"~{key}: there is no such key to remove")
        del place[last]

    def nested(self) -> dict[str, Any]:
        """All values as nested dicts, with references such as `${ppo.lr}` resolved.

        Raises:
            UserError: A reference names no key, or a value of another type.
        """
        tree: dict[str, Any] = {"core": {"name": self.core}} if self.core else {}
        for key, value in self.values.items():
            *path, last = key.split(".")
            place = tree
            for part in path:
                place = place.setdefault(part, {})
            place[last] = copy.deepcopy(value) if isinstance(value, dict) else value
        return self._resolved(tree) if "${" in str(tree) else tree

    def _resolved(self, tree: dict[str, Any]) -> dict[str, Any]:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        OmegaConf.clear_resolver("oc.env")  # it would copy environment variables, and with them secrets, into logs
        try:
            found: Any = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{getattr(error, 'full_key', None)}: {first_line(error)}") from error
        options = found.pop("core", {})
        options.pop("name", None)
        typed = self.copy()
        typed.update(found, exact=True)
        typed.update(options, "core.", exact=True)
        return typed.nested() if "${" not in str(typed.values) else tree


def _plain(key: str, value: Any, exact: bool) -> Any:
    """The value to keep in a free key: the string `None`, as Python writes it, becomes null."""
    if key.rpartition(".")[2] == "_target_":
        raise UserError(f"{key}: '_target_' is not allowed: a config holds data, not code")
    if isinstance(value, Mapping):
        return {name: _plain(f"{key}.{name}", item, exact) for name, item in value.items()}
    return None if value == "None" and not exact else value


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _keys(text: str | None, example: str) -> str:
    """What a key with others below it needs, in a file or on the command line."""
    return "keys with values" if text is None else f"{example}=..."


def _shown(value: Any, text: str | None) -> str:
    return repr(value if text is None else text)


def is_free(kind: Any) -> bool:
    """Whether a key of this type holds whatever a user puts there."""
    return kind is dict or typing.get_origin(kind) is dict


def _default(item: Field) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
