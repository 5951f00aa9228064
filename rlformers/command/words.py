"""The words of the command line that are not options: run directories and settings KEY=VALUE."""

import re
from collections.abc import Sequence
from pathlib import Path

from rlformers.errors import UserError


def is_setting(word: str) -> bool:
    """Whether a word is KEY=VALUE. `runs/lr=0.1` is a path, and so is `./lr=0.1`."""
    return re.match(r"[+~]*[A-Za-z_][\w.]*=", word) is not None


def runs_and_settings(command: str, words: Sequence[str], usage: str) -> tuple[list[Path], list[str]]:
    """Run directories and settings. The name of a run directory may contain `=`.

    Raises:
        UserError: There is no run directory.
    """
    settings = [word for word in words if is_setting(word) and not (Path(word) / "config.yaml").exists()]
    run_dirs = [Path(word) for word in words if word not in settings]
    if not run_dirs:
        raise UserError(f"{command}: need a run directory; usage: rlformers {command} {usage}")
    return run_dirs, settings


def run_and_settings(command: str, words: Sequence[str], usage: str) -> tuple[Path, list[str]]:
    """The run directory and settings of a command that takes one run.

    Raises:
        UserError: There is no run directory, or more than one.
    """
    run_dirs, settings = runs_and_settings(command, words, usage)
    if len(run_dirs) > 1:
        raise UserError(f"{command}: takes one run directory, got {', '.join(map(str, run_dirs))}")
    return run_dirs[0], settings
