"""The table of cores that `test_laws.py` tests, and the inputs and programs of its laws."""

import functools
from contextlib import contextmanager
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.registry import make_core

CORES = {
    "mlp": ("mlp", {}),
    "gru": ("gru", {}),
    "lstm": ("lstm", {}),
    "mingru": ("mingru", {"scan": "sequential"}),
    "mingru-associative": ("mingru", {"scan": "associative"}),
    "lru": ("lru", {"state_size": 8, "scan": "sequential"}),
    "lru-doubling": ("lru", {"state_size": 8, "scan": "doubling"}),
    "ffm": ("ffm", {"traces": 4, "contexts": 3, "scan": "sequential"}),
    "ffm-chunked": ("ffm", {"traces": 4, "contexts": 3, "scan": "chunked"}),
    "s4d": ("s4d", {"state_size": 8, "scan": "sequential"}),
    "s4d-chunked": ("s4d", {"state_size": 8, "scan": "chunked"}),
    "s5": ("s5", {"state_size": 8, "scan": "sequential"}),
    "s5-associative": ("s5", {"state_size": 12, "blocks": 2, "activation": "full_glu", "scan": "associative"}),
    "gtrxl": ("gtrxl", {"memory": 8, "heads": 2}),
    "gtrxl-long": ("gtrxl", {"memory": 50, "heads": 2, "head_size": 4, "gate": "sigtanh"}),
    "gtrxl-learned": ("gtrxl", {"memory": 8, "heads": 2, "positions": "learned"}),
    "transformer": ("transformer", {"memory": 8, "heads": 2}),
    "transformer-everything": (
        "transformer",
        {
            "memory": 40,
            "heads": 4,
            "positions": "alibi",
            "norm": "rms",
            "ffn": "swiglu",
            "qk_norm": True,
            "attention_gate": True,
            "clipped_softmax": 0.03,
        },
    ),
    "transformer-sinusoidal": ("transformer", {"memory": 8, "heads": 2, "positions": "sinusoidal", "loops": 2}),
    "transformer-learned": (
        "transformer",
        {"memory": 8, "heads": 2, "positions": "learned", "max_position": 9, "ffn": "geglu"},
    ),
    "transformer-relative": ("transformer", {"memory_per_layer": (3, 40, 8), "heads": 2, "positions": "relative"}),
    "framestack": ("framestack", {"frames": 5}),
    "lmu": ("lmu", {"channels": 2, "order": 6, "theta_min": 5.0, "theta_max": 20.0, "scan": "sequential"}),
    "lmu-doubling": ("lmu", {"channels": 2, "order": 6, "theta_max": 20.0, "scan": "doubling"}),
    "lmu-voelker": ("lmu", {"cell": "voelker", "order": 6, "theta_max": 20.0}),
    "lmu-keras": ("lmu", {"cell": "keras", "channels": 2, "order": 6, "theta_max": 20.0, "learn_theta": True}),
    "lmuformer": ("lmuformer", {"channels": 2, "order": 6, "theta_max": 20.0, "ffn_ratio": 2}),
    "lmuformer-frozen": (
        "lmuformer",
        {"channels": 1, "order": 6, "theta_max": 20.0, "norm": "frozen_bn", "ffn_ratio": 1},
    ),
    "spiking_lmuformer": ("spiking_lmuformer", {"channels": 3, "order": 4, "theta_max": 20.0, "ffn_ratio": 1}),
    "mamba": ("mamba", {"state_size": 5, "scan": "sequential"}),
    "mamba-chunked": ("mamba", {"state_size": 4, "conv_size": 2, "norm": "none", "scan": "chunked"}),
    "mamba-associative": ("mamba", {"state_size": 4, "expand": 1, "scan": "associative"}),
    "mamba3": ("mamba3", {"state_size": 8, "head_size": 8, "scan": "sequential"}),
    "mamba3-chunked": ("mamba3", {"state_size": 6, "head_size": 4, "rotating": 1.0, "scan": "chunked"}),
    "mamba3-associative": ("mamba3", {"state_size": 2, "head_size": 8, "rotating": 0.0, "scan": "associative"}),
    "mamba2": ("mamba2", {"state_size": 5, "head_size": 8}),
    "mamba2-groups": ("mamba2", {"state_size": 3, "head_size": 4, "groups": 2, "conv_size": 2, "chunk": 9}),
    "linear_attention": ("linear_attention", {"heads": 2}),
    "linear_attention-rms": ("linear_attention", {"heads": 4, "normaliser": "rms", "head_size": 3, "chunk": 40}),
    "linear_attention-plain": ("linear_attention", {"heads": 2, "decay": False, "conv_size": 1, "chunk": 1}),
    "mlstm": ("mlstm", {"heads": 2}),
    "mlstm-chunk": ("mlstm", {"heads": 4, "block_size": 2, "conv_size": 2, "chunk": 9}),
    "slstm": ("slstm", {"heads": 2}),
    "slstm-heads": ("slstm", {"heads": 4, "conv_size": 1, "ffn_ratio": 0.5}),
    "deltanet": ("deltanet", {"heads": 2, "expand": 1}),
    "stack": (
        "stack",
        {"layers": ("mamba", "transformer"), "options": {"mamba": {"state_size": 5}, "transformer": {"memory": 8}}},
    ),
    "deltanet-ungated": ("deltanet", {"heads": 2, "head_size": 3, "decay": False, "chunk": 9}),
}


class Case(NamedTuple):
    row: str
    width: int = 16
    depth: int = 2
    lengths: tuple[int, ...] = (1, 40)
    x64: bool = False
    compute: str = "float32"

    def __str__(self):
        suffix = "-x64" if self.x64 else "" if self.compute == "float32" else f"-{self.compute}"
        return f"{self.row}-{self.width}x{self.depth}{suffix}"


# A dash marks another path through the code of a core: those rows are slow ones, at one size per
# precision.
FAST = [Case(row, depth=2 if row in ("gru", "s5", "gtrxl") else 1) for row in CORES if "-" not in row]
SLOW = [
    Case(row, width, depth, (1, 2, 7, 64, 257), x64)
    for row in CORES
    for width, depth in ((8, 1), (64, 3))
    for x64 in (False, True)
    if "-" not in row or (width == 8) == x64
]
# What rounds differently in the last bit of float32 may round to another number of 8 bits, 2^-7
# apart: the programs of most cores have no such sum between two products. The largest measured are
# 1.5 and 6 times that.
NARROW = [Case(row, depth=1, compute="bfloat16") for row in CORES]
NARROW_TOLERANCES = 3 * 2**-7, 12 * 2**-7
# Of a float32 output, relative to the largest. These cores sum what a chunk, or a window, holds in
# another order when they scan. In float64 all hold to 1e-11.
TOLERANCE = {"lmu": 1e-5, "lmuformer": 1e-5, "mamba2": 2e-5, "deltanet": 2e-5, "mlstm": 2e-5}
# A memory of one token reads ±v or, where q·k is near 0, what the norm makes of almost nothing: any
# rounding of q·k shows (tests/cores/test_mlstm.py).
STEEP = {("mlstm", "everywhere"): 5}  # times the tolerance
STARTS = {"random": 0.1, "dense": 0.6, "everywhere": 1.0, "absent": 0.0}

SCAN = jax.jit(lambda core, state, xs, starts: core.scan(state, xs, starts))
LOOP = jax.jit(lambda core, state, xs, starts: jax.lax.scan(lambda s, t: core.step(s, *t), state, (xs, starts)))
PREPARE = jax.jit(lambda core, state: core.prepare(state))
FORMS = {"scan": SCAN, "loop": LOOP}


class Setup(NamedTuple):
    case: Case
    core: eqx.Module
    dirty: NamedTuple  # a state after other tokens
    tolerance: float  # for outputs, relative to the largest
    gradient_tolerance: float

    def tokens(self, T, seed=1):
        return random_numbers(seed, (T, self.case.width), np.float64 if self.case.x64 else np.float32)


@functools.cache
def build(case):
    """Parameters away from their initial values: zero biases would hide mistakes."""
    name, options = CORES.get(case.row, (case.row, {}))  # another test's row is a name
    if "memory_per_layer" in options:
        options = options | {"memory_per_layer": options["memory_per_layer"][: case.depth]}
    core = make_core(name, case.width, case.depth, key=jax.random.key(0), **options)
    tolerances = (1e-11, 1e-9) if case.x64 else (TOLERANCE.get(name, 5e-6), 1e-4)
    if case.compute == "bfloat16":
        tolerances = NARROW_TOLERANCES
    # A sum over the width is equally large at any width, so gates that are exponentials of such
    # sums stay in bounds.
    noise = min(0.1, 0.4 / case.width**0.5)
    setup = Setup(case, add_noise(core, noise), None, *tolerances)
    T = case.lengths[-1] // 2  # the program of test_chain
    dirty, _ = SCAN(setup.core, core.initial_state(), setup.tokens(T, seed=2), np.arange(T) == T - 16)
    return setup._replace(dirty=dirty)


def marked(case, *marks):
    """One worker has all tests of a case, so that its programs are compiled once."""
    return pytest.param(case, marks=[pytest.mark.xdist_group(str(case)), *marks])


@contextmanager
def optimised_little():
    """Float64 is for the algebra, which rounding hides in float32: a third of the compilation is spared."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


# Data are NumPy's: every operation of jax.numpy outside a program is a program to compile, once for
# every shape.


def random_numbers(seed, shape, dtype):
    numbers = np.random.default_rng(seed).normal(size=(*shape, 2))
    return (numbers[..., 0] + 1j * numbers[..., 1] if np.issubdtype(dtype, complex) else numbers[..., 0]).astype(dtype)


def starts_of(pattern, T, seed=3):
    return np.random.default_rng(seed).random(T) < STARTS[pattern]


def add_noise(tree, size, seed=4):
    leaves, structure = jax.tree.flatten(tree)
    noisy = [np.asarray(x) + size * random_numbers((seed, i), x.shape, x.dtype) for i, x in enumerate(leaves)]
    return jax.tree.unflatten(structure, map(jnp.asarray, noisy))


def map_floats(f, tree):
    return jax.tree.map(lambda x: f(x) if eqx.is_inexact_array_like(x) else x, tree)


def perturb(state):
    """A state that no tokens produce.

    Factors above 0: the empty slots of a memory are 0 and normalisers are positive by contract.
    """
    return map_floats(lambda x: np.asarray(x) * np.exp(0.5 * random_numbers(5, x.shape, x.dtype)), state)


def largest(tree):
    return max((float(np.abs(x).max()) for x in jax.tree.leaves(tree) if x.size), default=0.0)


def assert_close(actual, expected, tolerance):
    """Leaf by leaf, relative to the largest number of the tree: some leaves are exactly 0 and others all but."""
    bound = tolerance * max(largest(expected), 1e-3)
    for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=bound)


def assert_same(actual, expected):
    """Bit by bit."""
    for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(x, y)
