"""Vector files of any size, seed and resets, made with the formulas of the published ones in float64 NumPy.

A `Formula` is what one memory comes to: its tokens, from the first to the last, by themselves, so that nothing in a
formula knows of resets. `make_file` runs it over all memories of all environments. What is no sequence is made whole.
"""

from collections.abc import Callable

import numpy as np

from . import attention, gated, lmu, selective, state_space
from .common import Draw, Formula

MODULES = (attention, gated, lmu, selective, state_space)
FORMULAS: dict[str, Callable[[Draw, int, int], Formula]] = {
    name: formula for module in MODULES for name, formula in module.FORMULAS.items()
}
WHOLE: dict[str, Callable[..., dict]] = {
    name: function for module in MODULES for name, function in getattr(module, "WHOLE", {}).items()
}


def make_file(name: str, seed: int, T: int, B: int, a: int, b: int, resets: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a file: `a` and `b` are two of its sizes, such as those of inputs and outputs.

    Resets are [T] or [T, B].
    """
    draw = Draw(seed)
    if name in WHOLE:
        return WHOLE[name](draw, T, B, a, b, resets)
    formula = FORMULAS[name](draw, a, b)
    batch = () if name.startswith("s5") else (B,)
    tokens = {key: draw(T, *batch, *shape) for key, shape in formula.tokens.items()}
    tokens |= {key: sign * np.abs(tokens[key]) for key, sign in formula.signs.items()}
    tokens |= {key: (tokens[key] > 0).astype(np.float32) for key in formula.spikes}
    first = {key: draw(*batch, *shape) for key, shape in formula.first.items()}
    file = formula.weights | formula.sizes | tokens | first
    if not formula.resettable:
        return file | outputs(formula, tokens, first, np.zeros((T, *batch), bool))
    starts = np.broadcast_to(resets.reshape(T, -1), (T, B)) if batch else resets
    cleared = outputs(formula, tokens, first, starts)
    file |= outputs(formula, tokens, first, np.zeros_like(starts))
    file |= {f"{key}_resets": array for key, array in cleared.items() if key not in formula.once}
    return file | {"resets": resets}


def outputs(formula: Formula, tokens: dict, first: dict, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Of all environments, if there are any: starts [T] or [T, B]."""
    if starts.ndim == 1:
        ys, last = memories(formula, tokens, first, starts)
        return ys | last
    one = [
        memories(formula, {k: a[:, i] for k, a in tokens.items()}, {k: a[i] for k, a in first.items()}, starts[:, i])
        for i in range(starts.shape[1])
    ]
    ys, last = zip(*one, strict=True)
    return {key: np.stack([env[key] for env in ys], 1) for key in ys[0]} | {
        key: np.stack([env[key] for env in last], formula.axes.get(key, 0)) for key in last[0]
    }


def memories(formula: Formula, tokens: dict, first: dict, starts: np.ndarray) -> tuple[dict, dict]:
    """Of one environment, memory by memory: the arrays per token, and the last state."""
    borders = [0, *(t for t in range(1, len(starts)) if starts[t]), len(starts)]
    zeros = {key: np.zeros_like(a) for key, a in first.items()}
    state, parts = (zeros if starts[0] else first), []
    weights = {key: np.asarray(a, np.result_type(a, np.float64)) for key, a in formula.weights.items()}
    for begin, end in zip(borders[:-1], borders[1:], strict=True):
        part = {key: a[begin:end].astype(np.float64) for key, a in tokens.items()}
        per_token, last = formula.run(weights, **part, **state)
        parts.append(per_token)
        state = zeros
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, last
