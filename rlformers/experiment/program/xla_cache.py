"""Keeps compiled programs between runs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax


def enable_compilation_cache(report: Callable[[str], None] = print) -> None:
    """Keep compiled programs between runs, unless the user has set the directory (or told jax not to).

    `report` gets a line if there is no place for them: no home directory, or one that cannot be
    written.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home) / "rlformers" / "xla"
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without HOME and without an entry in passwd
        why = f"{error.filename or home}: {error.strerror}" if isinstance(error, OSError) else "no home directory"
        report(f"compiled programs are not kept ({why}); set JAX_COMPILATION_CACHE_DIR=DIR to keep them there")
        return
    jax.config.update("jax_compilation_cache_dir", str(cache))
