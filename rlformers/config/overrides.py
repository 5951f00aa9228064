"""The words of the command line: `key=value` in Hydra's grammar, and common ways of writing it differently."""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlformers.config.experiments import experiments
from rlformers.config.hints import ELSEWHERE
from rlformers.config.ppo import NUMBER_KEYS
from rlformers.config.typed_node import Node
from rlformers.cores import registry
from rlformers.errors import UserError, first_line
from rlformers.value_types import NULLS

PATHS = ("run_dir", "config", "experiment", "init_from")  # keys of paths, in which `=` and `~` need no quotes
CHOSEN = ("core", "experiment", "config")  # keys that decide which other keys exist, and their values


class _Names:
    """The names that `core=glob(*)` chooses from."""

    def get_group_options(self, group: str, **_: Any) -> list[str]:
        return list(registry.entries()) if group == "core" else list(experiments()) if group == "experiment" else []


def parse(words: Sequence[str]) -> list[Override]:
    """Parse words, and check what can be checked without a schema.

    Raises:
        UserError: One line about the first word that is wrong.
    """
    return [_checked(_parse(_as_assignment(word, words[at + 1 :]))) for at, word in enumerate(words)]


def _as_assignment(word: str, rest: Sequence[str]) -> str:
    """The word itself. Raises a `UserError` if it is an option with dashes."""
    if not word.startswith("-"):
        return word
    key, assigned, value = word.lstrip("-").partition("=")
    if not assigned and rest and "=" not in rest[0]:
        word, value = f"{word} {rest[0]}", rest[0]
    meant = ELSEWHERE.get(key.replace("-", "_"), key)
    raise UserError(f"{word!r}: write {key if ' ' in meant else meant}={value or 'VALUE'}, without dashes")


@functools.lru_cache(4096)
def _parse(word: str) -> Override:
    parser = OverridesParser.create(config_loader=_Names())  # type: ignore[arg-type]
    key, _, text = word.partition("=")
    tries = [word]
    if key.lstrip("+") in PATHS:
        tries.append(f"{key}={quoted(text)}")
    elif text.startswith("{"):  # `wandb agent` writes a dict with quotes around its keys
        with contextlib.suppress(OmegaConfBaseException, ValueError):
            tries.append(f"{key}={_dict(OmegaConf.to_container(OmegaConf.create(text)))}")
    for attempt in tries:
        try:
            override = parser.parse_override(attempt)
            override.input_line = word
            return override
        except HydraException as error:
            first_error = error
    raise UserError(
        f"{word!r}: need key=value; put a value with special characters in quotes, e.g. 'env_kwargs.a=\"b=c\"'"
    ) from first_error


def quoted(text: str) -> str:
    """A string in the grammar of overrides."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def _dict(value: Any) -> str:
    """A plain value in the grammar of overrides."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_dict(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dict, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(value) if isinstance(value, int | float) else value if value in NULLS else quoted(str(value))


def given(override: Override) -> str:
    """The text of an override after its `=`."""
    return (override.input_line or "").partition("=")[2]


def value_of(override: Override) -> Any:
    """The value of an override: lists and dicts of numbers, strings, bools and None. `~` in paths is expanded."""
    value = override.value()
    if override.key_or_group in PATHS and isinstance(value, str) and value.startswith("~"):
        return str(Path(value).expanduser())
    return value


def _checked(override: Override) -> Override:
    key = override.key_or_group
    if "_target_" in str(override.input_line):
        raise UserError(f"{key}: '_target_' is not allowed: a config holds data, not code")
    if "oc.env" in given(override):
        raise UserError(f"{key}: ${{oc.env:...}} is not allowed: a config must not depend on the environment")
    if override.package:
        raise UserError(f"{key}@{override.package}: packages cannot be changed; write {key}=...")
    return override


def expanded(override: Override) -> list[Override]:
    """One override for each value of a sweep.

    Raises:
        UserError: The sweep is an interval, which has no list of values.
    """
    if not override.is_sweep_override():
        return [override]
    if not override.is_discrete_sweep():
        raise UserError(f"{override.key_or_group}: need values to choose from, e.g. 0.1,0.2, got an interval")
    try:
        return [_parse(f"{override.get_key_element()}={value}") for value in override.sweep_string_iterator()]
    except HydraException as error:
        raise UserError(f"{override.key_or_group}: {first_line(error)}") from error


def apply(node: Node, overrides: Sequence[Override]) -> None:
    """Set values of a node in place.

    Raises:
        UserError: One line that names the key, what was given and what is allowed.
    """
    for override in overrides:
        key, text = override.key_or_group, given(override)
        if override.is_delete():
            node.remove(key)
            continue
        if key == "core.name":
            raise UserError("core.name: choose the core with core=NAME")
        if override.is_add() and not override.is_force_add() and key in node.kinds and node.free(key) is None:
            raise UserError(f"+{key}: the key exists; write {key}=...")
        if key.startswith("sweep."):
            raise UserError(f"{key}: unknown key{sweep_hint(override)}")
        value = value_of(override)
        # Where null is allowed, None without quotes is null.
        exact = isinstance(override._value, QuotedString)
        try:
            node.set(key, value, text, exact)
        except UserError as error:
            listed = isinstance(value, list) and key in node.kinds and f"{key}: need" in str(error)
            hint = listed and not isinstance(node.values.get(key), list | tuple)
            raise UserError(f"{error}{sweep_hint(override) if hint else ''}") from None


def sweep_hint(override: Override) -> str:
    """How to try several values of a key, for users who wrote it in another way."""
    key = str(override.key_or_group).removeprefix("sweep.").removeprefix("hparams.")
    together = f"vmap_over={key} " if key in NUMBER_KEYS else ""
    return f"; several values: --multirun {together}{key}={','.join(choices(given(override)))}"


def choices(text: str) -> list[str]:
    """The values in a text `[A,B]` or `A,B`."""
    return [value.strip() for value in text.strip().removeprefix("[").removesuffix("]").split(",")]
