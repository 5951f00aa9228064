"""Turns words or a file into a checked `ExperimentConfig`, in one way for new runs, saved runs and sweeps.

The defaults are a `Node`, in which every key has a type. The files of the experiment are applied to
it, then the words `key=value`, each once. The frozen dataclasses check what depends on several
values. Every error is one line that names the key, and the file if there is one. A config is only
data: nothing in it is imported, and it cannot copy environment variables (and with them secrets)
into the logs.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from rlformers.config import CoreConfig, ExperimentConfig
from rlformers.config.experiments import experiments, find
from rlformers.config.files import about, config_file, read_layers, read_yaml
from rlformers.config.older_versions import meanings
from rlformers.config.overrides import CHOSEN, apply, given, parse, value_of
from rlformers.config.typed_node import Node, type_hints
from rlformers.cores import registry
from rlformers.errors import CodeError, UserError
from rlformers.value_types import NULLS

__all__ = [
    "Composer",
    "asked_for",
    "change",
    "compose",
    "experiments",
    "flatten",
    "from_dict",
    "from_words",
    "load",
    "to_dict",
    "to_yaml",
]

# Keys that identify a run: a new run from the configuration of another one has its own values.
OF_ONE_RUN = ("run_dir", "wandb.group", "wandb.entity")

Schema = TypeVar("Schema")


def compose(words: Sequence[str]) -> ExperimentConfig:
    """The experiment that words describe, e.g. `compose(["core=s5", "ppo.lr=3e-4"])`.

    Raises:
        UserError: One line that names the key, what was given and what is allowed.
    """
    return Composer()(parse(words))


def asked_for(words: Sequence[str]) -> tuple[ExperimentConfig, Path | None]:
    """The experiment that `train` is asked for, and with `resume=RUN_DIR` the directory of the run to continue.

    Raises:
        UserError: As in `compose`; or `run_dir` names another directory than `resume`.
    """
    resume = [word.partition("=")[2] for word in words if word.startswith("resume=")]
    words = [word for word in words if not word.startswith("resume=")]
    if any(word.startswith("vmap_over=") for word in words):
        raise UserError("vmap_over: works with --multirun only; add --multirun, or leave it out")
    if not resume or resume[-1] in NULLS:
        return compose(words), None
    run_dir = Path(resume[-1]).expanduser()
    config = change(load(run_dir / "config.yaml"), words)
    elsewhere = config.run_dir is None or Path(config.run_dir).resolve() != run_dir.resolve()
    if elsewhere and any(word.lstrip("+").startswith("run_dir=") for word in words):
        raise UserError(f"run_dir: need the directory of resume={resume[-1]}, or no run_dir=, got {config.run_dir}")
    return config, run_dir


def change(config: ExperimentConfig, words: Sequence[str]) -> ExperimentConfig:
    """The same experiment with some values changed. The core cannot be changed.

    Raises:
        UserError: As in `compose`.
    """
    node = _saved(to_dict(config))
    apply(node, _values(words))
    return from_node(node)


def from_words(schema: type[Schema], words: Sequence[str]) -> Schema:
    """A config dataclass that is not an experiment, such as the options of `evaluate`.

    Raises:
        UserError: As in `compose`.
    """
    node = Node(schema)
    apply(node, _values(words))
    return schema(**node.nested())


def _values(words: Sequence[str]) -> list[Override]:
    """Words that set single values."""
    overrides = parse(words)
    for override in overrides:
        key = override.key_or_group
        if override.is_sweep_override():
            raise UserError(f"{key}: {given(override)!r} is a sweep, need one value; quote it if it is meant as one")
        if key in CHOSEN:
            raise UserError(f"{key}: cannot be changed; the run keeps the one in its config.yaml")
    return overrides


class Composer:
    """Composes experiments. Defaults and files that several of them share are read and typed once."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str | None, ...], Node] = {}

    def __call__(self, overrides: Sequence[Override]) -> ExperimentConfig:
        """The experiment that overrides describe.

        Raises:
            UserError: As in `compose`.
        """
        chosen: dict[str, str | None] = dict.fromkeys(CHOSEN)
        values, options = [], {}
        for override in overrides:
            key, text = override.key_or_group, given(override)
            if override.is_sweep_override():
                raise UserError(f"{key}: {text!r} is a sweep; add --multirun, or quote it if it is meant as one value")
            if key.split("/")[0].split(".")[0] == "hydra":
                raise UserError(f"{key}: Hydra's own settings work with --multirun only")
            if key not in CHOSEN:
                values.append(override)
                continue
            value = value_of(override)
            if key == "core" and isinstance(value, dict) and "name" in value:  # as `wandb agent` writes it
                options = {name: item for name, item in value.items() if name != "name"}
                value = value["name"]
            name = value if isinstance(value, str) else text
            chosen[key] = None if name in NULLS and key != "core" else name
        start = self._start(*(chosen[key] for key in CHOSEN))
        node = start.copy()
        for option, value in options.items():
            node.set(f"core.{option}", value, str(value))
        apply(node, values)
        try:
            return from_node(node)
        except UserError as error:
            file = chosen["experiment"] or chosen["config"]
            with contextlib.suppress(UserError):
                from_node(start)
                file = None  # the file is fine alone: the words do not fit
            if file is None or isinstance(error, CodeError):  # which has a traceback of its own
                raise
            raise UserError(f"{file}: {error}") from error

    def _start(self, core: str | None, experiment: str | None, config: str | None) -> Node:
        """The defaults with the files applied to them."""
        if (core, experiment, config) in self._begun:
            return self._begun[core, experiment, config]
        if experiment and config:
            raise UserError(f"config: {config} is a whole experiment; leave out experiment={experiment}")
        path = find(experiment) if experiment else config_file(config) if config else None
        layers = read_layers(path) if path else []
        name = core or next((layer.core for layer in reversed(layers) if layer.core), CoreConfig().name)
        with about(None if core else path):
            node = Node(ExperimentConfig, name)
        defaults = dict(node.values)
        node.values |= meanings(layers[-1].values) if config else {}
        for path, _, values, options in layers:
            with about(path):
                node.update(values, exact=bool(config))
                node.update(options.get(name) or {}, "core.", exact=bool(config))
        node.values |= {key: defaults[key] for key in OF_ONE_RUN} if config else {}
        self._begun[core, experiment, config] = node
        return node


def from_node(node: Node) -> ExperimentConfig:
    """The experiment of a node, after the checks that depend on several values.

    Raises:
        UserError: One line that names the key.
    """
    values = node.nested()
    options = values.pop("core")
    name = options.pop("name")
    core = registry.make_config(name, options)
    values["wandb"]["tags"] = [tag for tag in values["wandb"]["tags"] if tag.strip()]  # W&B refuses empty ones
    return _build(ExperimentConfig, values | {"core": CoreConfig(name, {key: getattr(core, key) for key in options})})


def _build(schema: type[Schema], values: dict[str, Any]) -> Schema:
    kinds = type_hints(schema)  # type: ignore[arg-type]
    return schema(
        **{
            key: _build(kinds[key], value) if is_dataclass(kinds[key]) and isinstance(value, dict) else value
            for key, value in values.items()
        }
    )


def to_dict(config: ExperimentConfig) -> dict[str, Any]:
    """The config as plain nested dicts, the core's options beside its name: `{"core": {"name": "s5", ...}, ...}`."""
    return asdict(config) | {"core": {"name": config.core.name} | config.core.options}


def from_dict(values: Any) -> ExperimentConfig:
    """The inverse of `to_dict`. Keys that values of an older version lack mean what they meant.

    Raises:
        UserError: One line that names a key that is no longer known, or a value that is no longer
            allowed.
    """
    return from_node(_saved(values))


def _saved(values: Any) -> Node:
    if not isinstance(values, dict):
        raise UserError(f"need the keys of an experiment with their values, got {values!r}")
    core = values.get("core")
    if not isinstance(core, dict) or not isinstance(core.get("name"), str):
        raise UserError(f"core: need the name and the options of a core, such as {{name: gru}}, got {core!r}")
    node = Node(ExperimentConfig, core["name"])
    node.values |= meanings(values)
    node.update({key: value for key, value in values.items() if key != "core"}, exact=True)
    node.update({key: value for key, value in core.items() if key != "name"}, "core.", exact=True)
    return node


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
        UserError: One line with the path: there is no such file, it is not YAML, or a key or value
            is not allowed.
    """
    values = read_yaml(path)
    with about(path):
        return from_dict(values)
