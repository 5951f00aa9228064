"""What numbers depend on besides the configuration."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    packages = ("rlformers", "jax", "jaxlib", "equinox", "optax", "distrax", "gymnax", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_commit() -> str | None:
    """Commit of the checkout that rlformers runs from, marked if it has uncommitted changes; None outside of one."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__]
    try:
        subprocess.run(tracked, check=True, capture_output=True)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
