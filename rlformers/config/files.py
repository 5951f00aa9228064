"""Files of experiments: a user's own, those of packages, and the `config.yaml` of a run.

env: memory/TMaze
core: s5                        # or with options: {name: s5, state_size: 64}
base: tmaze                     # another experiment, by name or path, that this one changes
core_options:                   # used if the core is chosen
  gtrxl: {heads: 2}
ppo: {lr: 3e-4}
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlformers.config.experiments import find
from rlformers.errors import UserError, first_line


class Layer(NamedTuple):
    """What one file says."""

    path: Path
    core: str | None
    values: dict[str, Any]
    options: dict[str, dict[str, Any]]  # of cores, by name


@contextlib.contextmanager
def about(path: Path | str | None) -> Iterator[None]:
    """Name a file in errors."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}" if path else str(error)) from error


def config_file(config: str) -> Path:
    """The file that `config=RUN_DIR|FILE` names.

    Raises:
        UserError: There is no such file.
    """
    path = Path(config).expanduser()
    path = path / "config.yaml" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"config: need a run directory or a config.yaml, got {config!r}; there is no file {path}")
    return path


def read_yaml(path: Path | str) -> Any:
    """The contents of a YAML file, as plain values.

    Raises:
        UserError: One line with the path: there is no such file, or it is not YAML.
    """
    try:
        return OmegaConf.to_container(OmegaConf.load(os.path.expanduser(path)))
    except (OmegaConfBaseException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {first_line(error)}") from error
    except OSError as error:  # OmegaConf raises one without strerror if the document is a number
        raise UserError(f"{path}: {error.strerror or 'not the config of an experiment'}") from error
    except Exception as error:  # the errors of a YAML parser
        raise UserError(f"{path}: not the config of an experiment ({' '.join(str(error).split())})") from error


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> list[Layer]:
    """The file of an experiment, after the files that it builds on.

    Raises:
        UserError: One line with the path.
    """
    values = read_yaml(path)
    with about(path):
        if not isinstance(values, dict):
            raise UserError(f"need the keys of an experiment with their values, got {values!r}")
        core, base = _from_defaults(values.pop("defaults", None))
        core, base = values.pop("core", core), values.pop("base", base)
        options = values.pop("core_options", None) or {}
        if not isinstance(base, str | None):
            raise UserError(f"base: need the name or the path of an experiment, got {base!r}")
        if base is not None and len(above) > 9:
            raise UserError(f"base: {base!r} builds on itself")
        beside = path.parent / str(base)
        under = beside if "." in str(base) and beside.is_file() else find(base, but=(path, *above)) if base else None
    layers = read_layers(under, (path, *above)) if under else []
    with about(path):
        if isinstance(core, dict):
            own = dict(core)
            below = next((layer.core for layer in reversed(layers) if layer.core), "gru")
            core = own.pop("name", below)
            options = {**options, core: {**(options.get(core) or {}), **own}}
        if not isinstance(core, str | None):
            raise UserError(f"core: need a name, or a name with options, such as {{name: gru}}, got {core!r}")
        for name, item in options.items() if isinstance(options, dict) else [("NAME", options)]:
            if not isinstance(item, dict | None):
                raise UserError(f"core_options.{name}: need keys with values, got {item!r}")
    return [*layers, Layer(path, core, values, options)]


def _from_defaults(entries: Any) -> tuple[str | None, str | None]:
    """Core and base from a defaults list of Hydra, which experiments had before version 0.2."""
    core = base = None
    for entry in entries or []:
        for key, value in entry.items() if isinstance(entry, dict) else [("experiment", entry)]:
            if str(key).removeprefix("override ").lstrip("/") == "core":
                core = value
            elif str(key).lstrip("/") == "experiment" and value != "_self_":
                base = str(value).removeprefix("/experiment/")
            elif value != "_self_":
                raise UserError(f"defaults: {entry!r} is not supported; write `core: NAME` and `base: EXPERIMENT`")
    return core, base
