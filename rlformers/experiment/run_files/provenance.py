"""What numbers depend on besides the configuration."""

import inspect
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    packages = ("rlformers", "jax", "jaxlib", "equinox", "optax", "distrax", "gymnax", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plugins(*targets: Any) -> dict[str, dict[str, Any]]:
    """Commits of the repositories that cores and environments of others come from, by package.

    Args:
        targets: Modules, classes, functions or objects of classes, those of rlformers among them.

    Returns:
        For each top-level package that is not of rlformers and lies in a git repository that tracks its file, the
        `commit` and whether there are uncommitted changes (`dirty`).
    """
    found = {}
    for target in targets:
        name = target.__name__ if inspect.ismodule(target) else getattr(target, "__module__", None)
        package = str(name).partition(".")[0]
        file = getattr(sys.modules.get(str(name)), "__file__", None)
        commit = _commit_of(Path(file).resolve()) if file and package != "rlformers" else None
        if commit:
            found[package] = {"commit": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}
    return found


def git_commit() -> str | None:
    """Commit of the checkout that rlformers runs from, marked if it has uncommitted changes; None outside of one."""
    return _commit_of(Path(__file__).resolve())


def _commit_of(file: Path) -> str | None:
    here = str(file.parent)
    command = ["git", "-C", here, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", here, "ls-files", "--error-unmatch", str(file)]
    try:
        subprocess.run(tracked, check=True, capture_output=True)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
