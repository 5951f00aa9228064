"""Comparison of the cores with golden vectors: `.npz` files of weights, inputs and the outputs that follow.

`check(path)` compares every array of a file that a function here knows. Weights are put into our
modules; every size is read from the arrays. Each module of this package has the comparisons of a
family of cores: functions from the arrays to `Pair`s, listed in its `CHECKS` by the name of the
file, which may go on (`gru_torch_1.npz`). `IGNORED` says why arrays of a file are not compared.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import attention, diagonal, gated, lmu, lmuformer, mamba, matrix, s5
from .common import Arrays, Pair

MODULES = (attention, diagonal, gated, lmu, lmuformer, mamba, matrix, s5)
CHECKS: dict[str, Callable[[Arrays], Iterator[Pair]]] = {
    name: function for module in MODULES for name, function in module.CHECKS.items()
}
IGNORED: dict[str, dict[str, str]] = {
    name: reasons for module in MODULES for name, reasons in getattr(module, "IGNORED", {}).items()
}


class Result(NamedTuple):
    """How far an array of ours is from the expected one; `ratio` > 1 is out of tolerance."""

    name: str
    error: float
    ratio: float


class Report(NamedTuple):
    """What came of a file."""

    results: list[Result]
    ignored: dict[str, str]  # arrays that took no part, and why
    missing: list[str]  # arrays to compare that the file lacks


def known(stem: str) -> str | None:
    """The longest name in CHECKS with which this one begins, and not in the middle of a word."""
    names = [name for name in CHECKS if stem.startswith(name) and not stem[len(name) : len(name) + 1].isalpha()]
    return max(names, key=len, default=None)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def check(path: Path) -> Report:
    """Compare; in float32 unless jax has x64 enabled.

    Raises:
        ValueError: No function knows the file, or there is nothing in it to compare.
    """
    name = known(path.stem)
    if name is None:
        raise ValueError(f"none of the known files: {', '.join(CHECKS)}")
    arrays = read(path)
    pairs, seen = compute(name, arrays)
    results = list(compare(pairs, arrays))
    if not results:
        raise ValueError(f"has none of {', '.join(sorted({pair.array for pair in pairs}))}")
    return Report(results, ignored(name, arrays, pairs, seen), sorted({p.array for p in pairs} - set(arrays)))


def compute(name: str, arrays: dict[str, np.ndarray]) -> tuple[list[Pair], set[str]]:
    """Ours of every array, and the names of the arrays that were read for that."""
    d = Arrays({key: jnp.asarray(widen(key, a)) if a.ndim else a for key, a in arrays.items()})
    return list(CHECKS[name](d)), d.seen


def widen(name: str, a: np.ndarray) -> np.ndarray:
    """Of the widest type of its kind: what jax makes 32 bits of, unless it has x64 enabled."""
    if name == "resets":
        return a.astype(bool)
    wide = {"f": np.float64, "c": np.complex128}.get(a.dtype.kind, a.dtype)
    return a.astype(jax.dtypes.canonicalize_dtype(wide))


def compare(pairs: Iterable[Pair], arrays: dict[str, np.ndarray]) -> Iterator[Result]:
    """What the pairs say about the arrays that are there."""
    for pair in pairs:
        if pair.array in arrays:
            name = f"{pair.array} ({pair.form})" if pair.form else pair.array
            yield measure(name, pair.ours, pair.view(arrays[pair.array]), pair.upstream_error)


def measure(name: str, ours: jax.Array, expected: np.ndarray, upstream_error: float = 0.0) -> Result:
    """The largest error.

    Raises:
        ValueError: The shapes differ, or there are no numbers.
    """
    ours, expected = np.asarray(ours), np.asarray(expected)
    if ours.shape != expected.shape or not ours.size:
        raise ValueError(f"{name}: shape {ours.shape}, expected {expected.shape}")
    absolute, relative = (1e-10, 1e-10) if jax.config.jax_enable_x64 else (5e-6, 1e-5)
    error = np.abs(ours - expected)
    # A NaN is out of every tolerance.
    ratio = np.nan_to_num(error / (max(absolute, upstream_error) + relative * np.abs(expected)), nan=np.inf)
    return Result(name, float(error.max()), float(ratio.max()))


def ignored(name: str, arrays: dict[str, np.ndarray], pairs: list[Pair], seen: set[str]) -> dict[str, str]:
    """The arrays that were neither read nor compared, with the reasons that are known."""
    left = [array for array in arrays if array not in seen and array not in {pair.array for pair in pairs}]
    sizes = {array: "a size, read from the weights" for array in left if arrays[array].dtype.kind in "iu"}
    reasons = sizes | IGNORED.get(name, {})
    return {array: reasons.get(array, "unknown") for array in left}
