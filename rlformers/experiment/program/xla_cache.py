"""Compiled programs are kept between runs."""

import os
from pathlib import Path

import jax


def enable_compilation_cache() -> None:
    """Keep compiled programs between runs, unless the user has said where (or that jax should not)."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rlformers" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
