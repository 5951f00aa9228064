"""Comparison of the cores with golden vectors: `.npz` files of weights, inputs and the outputs that follow.

`check(path)` gives one `Result` per compared array, or nothing for a file that no function here knows. Weights are
put into our modules; every size is read from the arrays. Each module of this package has the comparisons of a family
of cores: functions from the arrays and the name of a file to `Pair`s, listed in its `CHECKS` by pattern of the name.
"""

import fnmatch
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import attention, diagonal, gated, lmu, mamba, matrix, s5
from .common import Pair

CHECKS = {
    pattern: function
    for module in (attention, diagonal, gated, lmu, mamba, matrix, s5)
    for pattern, function in module.CHECKS.items()
}


class Result(NamedTuple):
    """How far an array of ours is from the expected one; `ratio` > 1 is out of tolerance."""

    name: str
    error: float
    ratio: float


def check(path: Path) -> list[Result]:
    """Compare; in float32 unless jax has x64 enabled."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: jnp.asarray(file[name]) for name in file}
    if jax.config.jax_enable_x64:
        arrays = {name: widen(a) for name, a in arrays.items()}
    for pattern, function in CHECKS.items():
        if fnmatch.fnmatch(path.stem, pattern):
            return [measure(pair) for pair in function(arrays, path.stem)]
    return []


def widen(a: jax.Array) -> jax.Array:
    return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


def measure(pair: Pair) -> Result:
    ours, expected = np.asarray(pair.ours), np.asarray(pair.expected)
    if ours.shape != expected.shape:
        raise ValueError(f"{pair.name}: shape {ours.shape}, expected {expected.shape}")
    absolute, relative = (1e-10, 1e-10) if jax.config.jax_enable_x64 else (5e-6, 1e-5)
    error = np.abs(ours - expected)
    # A NaN is out of every tolerance.
    ratio = np.nan_to_num(error / (max(absolute, pair.upstream_error) + relative * np.abs(expected)), nan=np.inf)
    return Result(pair.name, float(error.max(initial=0)), float(ratio.max(initial=0)))
