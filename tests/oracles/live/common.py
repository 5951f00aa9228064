"""Comparison of a core with an implementation by others that runs beside it.

Parameters are theirs, drawn anew, and ours are made of them, so that gradients can be compared parameter by parameter.
They know no starts: of the two memories of a segment, theirs gets each by itself.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vectors import Result, measure
from vectors.common import FORMS, batched, put

T, B, D, L = 24, 2, 20, 2
START = 9  # of the second memory
NOISE = 0.2  # added to their parameters: those that begin as 0 or 1 would hide mistakes
GRADIENT_TOLERANCE = {False: 1e-5, True: 1e-11}  # relative to the largest, by jax_enable_x64


class Theirs(NamedTuple):
    """`run` takes inputs and weights [T, B, D] to the outputs [T, B, D], the last states [B, ...] by name, and the
    gradients of the weighted outputs with respect to parameters and inputs."""

    parameters: Any
    run: Callable[[np.ndarray, np.ndarray], tuple[Any, dict[str, Any], Any]]


class Ours(NamedTuple):
    """`build` makes the core of their parameters, `state` gives its state under their names, `norm` makes of their
    parameters the norm after the last layer, which is the agent's affair and not the core's."""

    build: Callable[[Any], Any]
    state: Callable[[Any], dict[str, Any]] = lambda state: {}
    norm: Callable[[Any], Any] = lambda p: lambda y: y


class Case(NamedTuple):
    """`make` runs under jax_enable_x64 = `x64`; it skips the test where a package is missing."""

    make: Callable[[], tuple[Theirs, Ours]]
    x64: bool


def seeded_torch():
    """torch, of which models made next have the same parameters in every run; skips the test where it is missing."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch


def from_torch(model, forward) -> Theirs:
    """`forward` takes a memory [n, B, D] to the outputs and the last state."""
    import torch

    with torch.no_grad():
        for p in model.parameters():
            p += NOISE * torch.randn(p.shape)

    def run(x, w):
        x = torch.tensor(x, requires_grad=True)
        outputs, states = zip(*(forward(memory) for memory in x.split([START, T - START])), strict=True)
        y = torch.cat(outputs)
        (y * torch.tensor(w)).sum().backward()
        grads = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}
        return y.detach(), {name: s.detach() for name, s in states[-1].items()}, (grads, x.grad)

    return Theirs({name: jnp.asarray(p.detach().numpy()) for name, p in model.named_parameters()}, run)


def from_jax(parameters, cell, carry, names) -> Theirs:
    """`cell` takes parameters, carry and a token [B, D] to the next carry and the output; `names` are its leaves'."""
    leaves, tree = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    parameters = tree.unflatten([p + NOISE * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)])

    def forward(parameters, x):
        def scan(memory):
            return jax.lax.scan(lambda carry, token: cell(parameters, carry, token), carry, memory)

        (_, first), (last, second) = (scan(memory) for memory in jnp.split(x, [START]))
        return jnp.concatenate([first, second]), dict(zip(names, jax.tree.leaves(last), strict=True))

    def run(x, w):
        y, pullback, state = jax.vjp(forward, parameters, x, has_aux=True)
        return y, state, pullback(jnp.asarray(w))

    return Theirs(parameters, run)


def fill(stack, layer):
    """The stack with the leaves `layer(i)` in layer i."""
    return put(stack, layers=tuple(put(old, **layer(i)) for i, old in enumerate(stack.layers)))


def of_layer(p, i):
    """Their parameters of layer i without the prefix of their names; matrices as (in, out)."""
    prefix = f"layers.{i}."
    return {name.removeprefix(prefix): a.T for name, a in p.items() if name.startswith(prefix)}


def compare(theirs: Theirs, ours: Ours) -> Iterator[Result]:
    """In float32 unless jax has x64 enabled."""
    x, w = np.random.default_rng(0).normal(size=(2, T, B, D)).astype(jax.dtypes.canonicalize_dtype(float))
    y, state, grads = theirs.run(x, w)
    starts = jnp.broadcast_to(jnp.arange(T)[:, None] == START, (T, B))
    largest = max(np.abs(np.asarray(g)).max() for g in jax.tree.leaves(grads))
    for form, run in FORMS:

        def forward(parameters, x, run=run):
            state, y = batched(run, ours.build(parameters), x, starts)
            return ours.norm(parameters)(y), ours.state(state)

        our_y, pullback, our_state = jax.vjp(forward, theirs.parameters, jnp.asarray(x), has_aux=True)
        assert our_state.keys() == state.keys()
        yield measure(f"y ({form})", our_y, y)
        for name in state:
            yield measure(f"{name} ({form})", our_state[name], state[name])
        errors = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), pullback(jnp.asarray(w)), grads)
        for path, error in jax.tree_util.tree_leaves_with_path(errors):
            ratio = np.nan_to_num(error / largest / GRADIENT_TOLERANCE[jax.config.jax_enable_x64], nan=np.inf)
            yield Result(f"gradient{jax.tree_util.keystr(path)} ({form})", float(error / largest), float(ratio))
