"""Shared parts of the formulas."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.special


class Formula(NamedTuple):
    """`run(w, **tokens, **first)` takes the weights, the tokens [T, ...] of one memory and the state before them to the
    arrays per token [T, ...] and those of the last state."""

    weights: dict[str, np.ndarray]
    tokens: dict[str, tuple[int, ...]]  # the shape of one
    run: Callable[..., tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]
    sizes: dict[str, float] = {}
    axes: dict[str, int] = {}  # of the environments in arrays of last states, where it is not the first
    signs: dict[str, int] = {}  # of tokens that have one
    spikes: tuple[str, ...] = ()  # tokens that are 0 or 1
    first: dict[str, tuple[int, ...]] = {}  # shapes of a state that an environment begins with
    once: tuple[str, ...] = ()  # outputs that a file has without resets only
    resettable: bool = True  # else that is all of them


class Draw:
    """Numbers that are exactly float32."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)

    def __call__(self, *shape: int, scale: float = 0.5, mean: float = 0.0) -> np.ndarray:
        return (mean + scale * self.generator.normal(size=shape)).astype(np.float32)


def sigmoid(x):
    return scipy.special.expit(x)


def softplus(x):
    return np.logaddexp(0, x)


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x * scipy.special.ndtr(x)


def relu(x):
    return np.maximum(x, 0)


def layer_norm(x, scale=1.0, bias=0.0, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * scale + bias


def rms_norm(x, scale=1.0):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale


def loop(step, state, *tokens):
    """`step(state, *token)` gives the next state and the output."""
    ys = []
    for token in zip(*tokens, strict=True):
        state, y = step(state, *token)
        ys.append(y)
    return state, np.stack(ys)


def delay_system(order, theta):
    """A and B of the delay network, the window divided in."""
    i, j = np.meshgrid(np.arange(order), np.arange(order), indexing="ij")
    A = (2 * i + 1) / theta * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    return A, (2 * i[:, 0] + 1) / theta * (-1.0) ** i[:, 0]


def delay(order, theta):
    """Ā and B̄: zero-order hold."""
    A, B = delay_system(order, theta)
    block = scipy.linalg.expm(np.block([[A, B[:, None]], [np.zeros((1, order + 1))]]))
    return block[:order, :order], block[:order, order]


def complex_of(a):
    return a[..., 0] + 1j * a[..., 1]
