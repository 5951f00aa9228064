"""XLand-MiniGrid's benchmarks: files of rulesets, as the package saves and downloads them (Nikulin et al. 2023)."""

import bz2
import pickle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from xminigrid.core.goals import MAX_GOAL_ENCODING_LEN
from xminigrid.core.rules import MAX_RULE_ENCODING_LEN
from xminigrid.types import RuleSet

from rlformers.envs.meta.task import DEFAULT_SPLIT, split_tasks
from rlformers.errors import UserError

# All that a pickle of arrays names, of NumPy before and after 2.0 and of jax. Others could run anything.
_ALLOWED = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("jax._src.array", "_reconstruct_array"),
}
# Axes after the number of the ruleset; None: any number.
_SHAPES = {"goals": (MAX_GOAL_ENCODING_LEN,), "rules": (None, MAX_RULE_ENCODING_LEN), "init_tiles": (None, 2)}


class _Unpickler(pickle.Unpickler):
    """Reads arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return super().find_class(module, name)


class Benchmark:
    """The rulesets of a file, each drawn equally often.

    A fixed quarter of them is held out, by their numbers in the file, spread evenly over it.

    Args:
        file: A bz2-compressed pickle of "goals" [N, 5], "rules" [N, R, 7] and "init_tiles" [N, M,
            2], of which the last two are padded with zeros.
        split: "train", "heldout" or "all".

    Raises:
        UserError: The file cannot be read or has something else, or an unknown split.
    """

    def __init__(self, file: str, split: str = DEFAULT_SPLIT):
        parts = _read(file)
        numbers = split_tasks(len(parts["goals"]), split)
        if not len(numbers):
            raise UserError(
                f"env_kwargs.split: need more rulesets in {file} to hold some out, got {len(parts['goals'])}"
            )
        goals, rules, tiles = (parts[name][numbers] for name in _SHAPES)
        self.rulesets = RuleSet(goal=goals, rules=rules, init_tiles=tiles)
        self.num_laid_out = tiles.shape[1]  # the package wants room for the padding, too

    def draw(self, key: PRNGKeyArray) -> RuleSet:
        """Draw a ruleset: goal [5], rules [R, 7] and init_tiles [M, 2]."""
        number = jax.random.randint(key, (), 0, len(self.rulesets.goal))
        return jax.tree.map(lambda part: jnp.asarray(part)[number], self.rulesets)


def _read(file: str) -> dict[str, np.ndarray]:
    """The parts of a benchmark, uint8."""
    try:
        with bz2.open(Path(file).expanduser(), "rb") as stream:
            given = _Unpickler(stream).load()
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, TypeError, ValueError) as error:
        raise UserError(f"env_kwargs.benchmark: need a file of xminigrid's rulesets, got {file!r}: {error}") from error
    if not isinstance(given, dict) or not set(_SHAPES) <= set(given):
        got = ", ".join(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise UserError(f"env_kwargs.benchmark: need {', '.join(_SHAPES)} in {file!r}, got {got}")
    parts = {name: np.asarray(given[name]) for name in _SHAPES}
    for name, shape in _SHAPES.items():
        array = parts[name]
        fits = array.ndim == 1 + len(shape) and array.shape[-1] == shape[-1] and array.dtype.kind in "iu"
        if not fits or not array.size or len(array) != len(parts["goals"]) or array.min() < 0 or array.max() > 255:
            size = " x ".join("n" if part is None else str(part) for part in (None, *shape))
            raise UserError(
                f"env_kwargs.benchmark: {name} of {file!r} needs {size} integers in 0 .. 255, as many as goals, "
                f"got {array.dtype} of shape {array.shape}"
            )
    return {name: array.astype(np.uint8) for name, array in parts.items()}
