"""From command-line overrides to a checked `ExperimentConfig`, through Hydra.

The schema is structured: the dataclasses of `config.py`, and for the group `core` the config dataclass of every
registered core. Hydra thus checks names and types; every complaint leaves here as one line that names the key.
A config is data only: no `_target_` is instantiated, and the resolver that copies environment variables (and with
them secrets) into logged configs is removed.
"""

import contextlib
import difflib
import math
import os
import typing
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, ValidationError
from omegaconf.errors import OmegaConfBaseException

from rlformers.config import (
    CheckpointConfig,
    CoreConfig,
    EvalConfig,
    ExperimentConfig,
    ModelConfig,
    WandbConfig,
    WrapConfig,
)
from rlformers.config.experiments import CONFIGS, experiments
from rlformers.config.ppo import NUMBER_KEYS, PPOConfig
from rlformers.config.typed_node import FREE_NODES, core_node, in_free_node, leaves, store_schema, typed_config
from rlformers.cores import registry
from rlformers.errors import UserError
from rlformers.value_types import in_words


def compose(overrides: list[str]) -> ExperimentConfig:
    """The experiment that the overrides describe, e.g. `compose(["core=s5", "ppo.lr=3e-4"])`.

    Raises:
        UserError: One line that names the key, what was given and what is allowed.
    """
    with session() as overrides_parser:
        parsed = parse(overrides, overrides_parser)
        for override in parsed:
            if override.is_sweep_override():
                raise UserError(f"{override.key_or_group}: {given(override)!r} is a sweep; add --multirun, or quote it")
            if override.key_or_group.split("/")[0].split(".")[0] == "hydra":
                raise UserError(f"{override.key_or_group}: Hydra's own settings apply to --multirun only")
        groups = [override for override in parsed if override.key_or_group in ("core", "experiment")]
        typed = _hydra_compose(groups)
        for override in parsed:
            if override not in groups:
                check_override(typed, override)
        config = _hydra_compose(parsed)
        _apply_core_options(config, {override.key_or_group for override in parsed})
        return from_node(config)


def from_dict(values: Any) -> ExperimentConfig:
    """The experiment of which `to_dict` gave these values. What they lack, of an older version, is default.

    Raises:
        UserError: One line that names a key that is no longer known, or a value that is no longer allowed.
    """
    try:
        return from_node(typed_values(values))
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error


def typed_values(values: Any) -> DictConfig:
    """The values of `to_dict`, or of the file of `to_yaml`, with the types of the schema.

    Raises:
        UserError: Something else stands where keys with values should.
    """
    plain: Any = OmegaConf.to_container(values) if OmegaConf.is_config(values) else values
    if not isinstance(plain, dict):
        raise UserError(f"need the keys of an experiment with their values, got {plain!r}")
    core = plain.get("core")
    if not isinstance(core, dict) or not isinstance(core.get("name"), str):
        raise UserError(f"core: need the options of a core and its name, such as {{name: gru}}, got {core!r}")
    typed = typed_config(core["name"])
    _check_nodes(OmegaConf.to_container(typed), plain, "")
    return OmegaConf.merge(typed, values)  # type: ignore[return-value]


def _check_nodes(typed: Any, values: dict[Any, Any], prefix: str) -> None:
    """OmegaConf's own complaints of a value in the place of a node are about its classes."""
    for name, node in typed.items():
        if isinstance(node, dict) and name in values:
            if not isinstance(values[name], dict):
                raise UserError(f"{prefix}{name}: need keys with values, got {values[name]!r}")
            _check_nodes(node, values[name], f"{prefix}{name}.")


def _apply_core_options(config: DictConfig, given_keys: set[str]) -> None:
    """Set what the experiment says about the chosen core, unless the command line does.

    An experiment cannot say it in `core`: with another core (`experiment=popgym_lu2023 core=gru`) the key is unknown.
    """
    said: Any = OmegaConf.to_container(OmegaConf.create((config.core_options or {}).get(config.core.name) or {}))
    told = [f"{key}." for key in given_keys if key.startswith("core.")]
    for key, value in flatten(said).items():
        if not any(f"core.{key}.".startswith(other) for other in told):
            try:
                OmegaConf.update(config, f"core.{key}", value, force_add=in_free_node(f"core.{key}"))
            except OmegaConfBaseException as error:
                raise UserError(f"core_options.{config.core.name}.{key}: {str(error).splitlines()[0]}") from error


@contextlib.contextmanager
def session() -> Iterator[OverridesParser]:
    """Hydra, initialised on the configs of this package; gives the parser of its overrides."""
    OmegaConf.clear_resolver("oc.env")
    store_schema()
    # Hydra knows one application at a time, and a caller may be inside of one: its own, or a sweep of ours.
    instance = GlobalHydra.instance()
    outer, instance.hydra = instance.hydra, None
    try:
        with hydra.initialize_config_dir(str(CONFIGS.resolve()), version_base="1.3"):
            yield OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    finally:
        GlobalHydra.instance().hydra = outer


def parse(overrides: list[str], parser: OverridesParser) -> list[Override]:
    """Parse overrides and check what needs no composed config: syntax, groups and what is forbidden.

    Raises:
        UserError: One line, about the first override that is wrong.
    """
    parsed = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise UserError(
                f"{text!r}: need key=value; put a value with special characters into quotes, "
                "e.g. 'run_dir=\"runs/a=b\"'"
            ) from error
        # The nodes that take any key take it with Hydra's `+` and without.
        if in_free_node(f"{override.key_or_group}.") and not override.is_delete():
            override = parser.parse_override("++" + text.lstrip("+"))
        _check_group(override)
        # `experiment=null` is the default, but Hydra refuses to be told so.
        if (override.key_or_group, given(override)) != ("experiment", "null"):
            parsed.append(override)
    return parsed


def given(override: Override) -> str:
    """The text of an override behind its `=`."""
    return (override.input_line or "").partition("=")[2]


def _check_group(override: Override) -> None:
    key = override.key_or_group
    if "_target_" in str(override.input_line):
        raise UserError(f"{key}: '_target_' is not allowed: a config holds data, no code")
    if "oc.env" in given(override):
        raise UserError(f"{key}: ${{oc.env:...}} is not allowed: a config must not depend on the environment")
    if override.is_delete() and not in_free_node(f"{key}."):
        raise UserError(f"~{key}: keys cannot be removed; set another value")
    if override.package:
        raise UserError(f"{key}@{override.package}: packages cannot be changed; write {key}=...")
    choices: Any = {"core": registry.entries, "experiment": experiments}.get(key)
    if choices is None:
        return
    if key == "experiment" and given(override) == "null":
        return
    names = override.sweep_string_iterator() if override.is_sweep_override() else [given(override)]
    for name in names:
        if key == "core":
            core_node(str(name))  # one that is unknown, or cannot be imported, or needs another package
        elif name not in choices():
            raise UserError(f"{key}: {name!r} is none of {', '.join(choices())}{_hint(str(name), choices())}")


def check_override(typed: DictConfig, override: Override) -> None:
    """Check the key and the type of one value against the typed config."""
    key = override.key_or_group
    free = not key.startswith("core.") or "options" in typed.core  # of cores, only `stack` has a free node
    if free and (in_free_node(key) or (key in FREE_NODES and isinstance(override.value(), dict))):
        return
    known = dict(leaves(typed))
    if key == "core.name":
        raise UserError("core.name: choose the core with core=NAME")
    if key not in known:
        inner = [name for name in known if name.startswith(f"{key}.")]
        if inner or (free and key in FREE_NODES):
            example = inner[0] if inner else f"{key}.NAME"
            raise UserError(f"{key}: need {example}=..., got {given(override)!r}")
        raise UserError(
            f"{key}: unknown key{_sweep_hint(override)}" if key.startswith("sweep.") else _unknown(key, known)
        )
    if override.is_add():
        raise UserError(f"+{key}: the key exists; write {key}=...")
    try:
        OmegaConf.update(typed, key, override.value())
    except ValidationError as error:
        raise UserError(_wrong_type(known[key], override)) from error


def _unknown(key: str, known: Iterable[str]) -> str:
    known = list(known)
    siblings = [name for name in known if name.startswith("core.")] if key.startswith("core.") else []
    siblings = [name for name in siblings if name != "core.name"]
    allowed = f" of this core, which has {', '.join(siblings) or 'no options'}" if key.startswith("core.") else ""
    return f"{key}: unknown key{allowed}{_hint(key, siblings or known)}"


def _hint(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5) or [k for k in known if k.split(".")[-1] == word][:1]
    return f"; did you mean {near[0]!r}?" if near else ""


def _wrong_type(annotation: Any, override: Override) -> str:
    text = given(override)
    complaint = f"{override.key_or_group}: need {in_words(annotation)}, got {text if text == 'null' else repr(text)}"
    lists = typing.get_origin(annotation) in (list, tuple)
    return complaint + (_sweep_hint(override) if isinstance(override.value(), list) and not lists else "")


def _sweep_hint(override: Override) -> str:
    """How several values of a key are tried, for those who know another way of asking for it."""
    key = str(override.key_or_group).removeprefix("sweep.").removeprefix("hparams.")
    together = f"vmap_over={key} " if key in NUMBER_KEYS else ""
    return f"; several values: --multirun {together}{key}={','.join(choices(given(override)))}"


def choices(text: str) -> list[str]:
    """The values in a text `[A,B]` or `A,B`."""
    return [value.strip() for value in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _hydra_compose(overrides: list[Override]) -> DictConfig:
    try:
        return hydra.compose("train", [str(override.input_line) for override in overrides])
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """The complaint itself: Hydra and OmegaConf add paths, object types and advice in further lines."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None)
    return f"{key}: {str(cause).splitlines()[0]}" if key else str(error).splitlines()[0]


def from_node(node: DictConfig) -> ExperimentConfig:
    """A composed (or loaded) config as the dataclass, with the core's own checks done.

    Raises:
        UserError: One line that names the key.
    """
    try:
        values: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    values.pop("core_options")
    _check_plain(values, "")
    if not all(isinstance(tag, str) for tag in values["wandb"]["tags"]):
        raise UserError(f"wandb.tags: need a list [...] of strings, got {values['wandb']['tags']}")
    options = dict(values["core"])
    name = options.pop("name")
    core = registry.make_config(name, options)
    return ExperimentConfig(
        **values
        | {
            "wrap": WrapConfig(**values["wrap"]),
            "core": CoreConfig(name, {key: getattr(core, key) for key in options}),
            "model": ModelConfig(**values["model"]),
            "ppo": PPOConfig(**values["ppo"]),
            "eval": EvalConfig(**values["eval"]),
            "checkpoint": CheckpointConfig(**values["checkpoint"]),
            "wandb": WandbConfig(**values["wandb"]),
        }
    )


def _check_plain(values: dict[Any, Any], prefix: str) -> None:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name == "_target_":
            raise UserError(f"{key}: not allowed: a config holds data, no code")
        if isinstance(value, dict):
            _check_plain(value, f"{key}.")
        elif isinstance(value, float) and not math.isfinite(value) and not in_free_node(key):
            raise UserError(f"{key}: need a finite number, got {value}")


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The config as plain nested dicts, the core's options beside its name: `{"core": {"name": "s5", ...}, ...}`."""
    return asdict(config) | {"core": {"name": config.core.name} | config.core.options}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def to_yaml(config: ExperimentConfig) -> str:
    """The config as YAML that `load` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(config)))


def load(path: Path | str) -> ExperimentConfig:
    """Read a `config.yaml` that `to_yaml` wrote.

    Raises:
        UserError: One line with the path: no such file, no YAML, or a key or value outside the schema.
    """
    try:
        loaded: Any = OmegaConf.load(os.path.expanduser(path))
        OmegaConf.clear_resolver("oc.env")
        return from_node(typed_values(loaded))
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {one_line(error)}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:  # OmegaConf's own, of a number as a document, has no number
        raise UserError(f"{path}: {error.strerror or 'no config of an experiment'}") from error
    except Exception as error:  # a YAML parser's own errors
        raise UserError(f"{path}: no config of an experiment ({str(error).splitlines()[0]})") from error
