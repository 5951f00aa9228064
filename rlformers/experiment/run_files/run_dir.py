"""Run directories: one per run, and one process at a time. An existing run continues; nothing is overwritten."""

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlformers.config import ExperimentConfig
from rlformers.config.compose import load, to_yaml
from rlformers.errors import FileError, UserError
from rlformers.experiment.run_files.file_lock import fsync, lock

_BEGUN = (".lock", ".config.yaml.unfinished", ".sweep.json.unfinished")


def create_run_dir(config: ExperimentConfig) -> Path:
    """Make the directory of a run and write `config.yaml` into it, or find the directory of an earlier start.

    Raises:
        UserError: The directory exists and is not a run or has another configuration, or it cannot
            be written.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    path = given_path(config.run_dir) if config.run_dir else Path("runs") / config.env / config.core.name / stamp
    number = 1
    while True:
        try:
            path.mkdir(parents=True, exist_ok=bool(config.run_dir) and is_new(path))
            _begin(path, config)
            return path
        except FileExistsError as error:
            if config.run_dir:
                if (path / "config.yaml").exists():
                    _check_unchanged(path, config)
                    return path
                raise UserError(
                    f"run_dir: {path} exists and is not a run; nothing is ever overwritten; give another run_dir="
                ) from error
            number += 1
            path = path.with_name(f"{stamp}-{number}")
        except OSError as error:
            raise UserError(f"run_dir: cannot write {path}: {error.strerror}") from error


def given_path(path: Path | str) -> Path:
    """A path with `~` expanded; unchanged if the user has no home."""
    return Path(os.path.expanduser(path))


def is_new(path: Path) -> bool:
    """Whether a directory is empty, except for files of a run or sweep that died before it wrote its configuration."""
    return path.is_dir() and all(file.name in _BEGUN for file in path.iterdir())


def _begin(path: Path, config: ExperimentConfig) -> None:
    with locked(path):  # another process may be about to do the same in an existing directory
        if (path / "config.yaml").exists():
            _check_unchanged(path, config)
        else:
            write_config(path, config)


def _check_unchanged(path: Path, config: ExperimentConfig) -> None:
    from rlformers.experiment.checkpoints.resume import refuse_changes

    refuse_changes(load(path / "config.yaml"), config, path / "config.yaml")


def write_config(run_dir: Path, config: ExperimentConfig) -> None:
    """Write `config.yaml`, whole or not at all."""
    write_whole(run_dir / "config.yaml", to_yaml(config))


def write_whole(path: Path, text: str) -> None:
    """Write a text to a file. A reader sees the old text or the new one, whatever happens in between.

    Raises:
        FileError: The file cannot be written; the error has its path.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w") as file:
            file.write(text)
            file.flush()
            fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:  # the error of a full disk names no file
        raise FileError(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """`write_whole` of a value as JSON."""
    write_whole(path, json.dumps(finite(value), indent=indent, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training in a directory, where files can be locked. A process that dies frees it.

    Raises:
        UserError: Another process trains there, or the directory cannot be written.
    """
    try:
        file = (run_dir / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"run_dir: cannot write {run_dir}: {error.strerror}") from error
    with file:
        try:
            lock(file)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(f"run_dir: {run_dir} is in use by {file.read().strip() or 'another process'}") from error
        with contextlib.suppress(OSError):  # on a full disk the lock has no name, but holds
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
