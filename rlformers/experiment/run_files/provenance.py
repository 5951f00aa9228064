"""What the numbers of a run depend on besides its configuration."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlformers.config import ExperimentConfig


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    packages = ("rlformers", "jax", "jaxlib", "equinox", "optax", "distrax", "gymnax", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plugins(config: ExperimentConfig) -> dict[str, dict[str, Any]]:
    """The commits of the repositories of core and environment, by package, unless they belong to rlformers.

    Returns:
        For each top-level package whose file a git repository tracks, its `commit`, and whether it
        has uncommitted changes (`dirty`).
    """
    from rlformers.cores import registry as cores
    from rlformers.envs import registry as envs

    makers = (cores.load(config.core.name).make, envs.load(envs.find(config.env)))
    names = [getattr(getattr(maker, "func", maker), "__module__", None) or "" for maker in makers]
    _, _, rest = config.env.partition("/")
    names += [rest.partition(":")[0]] * (":" in rest)  # gymnasium/my_package.my_module:MyEnv-v0
    found = {}
    for name in names:
        package, file = name.partition(".")[0], getattr(sys.modules.get(name), "__file__", None)
        commit = _commit_of(Path(file).resolve()) if file and package != "rlformers" else None
        if commit:
            found[package] = {"commit": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}
    return found


def git_commit() -> str | None:
    """Commit of the checkout that rlformers runs from, marked if it has uncommitted changes; None outside one."""
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
