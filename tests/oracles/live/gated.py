"""Gated recurrent units of torch and flax."""

from functools import partial

import jax.numpy as jnp
import pytest
from vectors.common import KEY

from rlformers.cores.registry import make_core

from .common import B, Case, D, L, Ours, Theirs, fill, from_jax, from_torch, seeded_torch

LEAVES = {"gru": ("h",), "lstm": ("c", "h")}  # of the state


def of_torch(kind: str) -> tuple[Theirs, Ours]:
    torch = seeded_torch()
    model = getattr(torch.nn, kind.upper())(D, D, L).double()

    def forward(x):
        y, last = model(x)
        last = {"h": last} if kind == "gru" else dict(zip("hc", last, strict=True))
        return y, {leaf: a.swapaxes(0, 1) for leaf, a in last.items()}

    def layer(p, i):
        W, U, b, c = (p[f"{name}_l{i}"].T for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        leaves = {"W__weight": W, "U": U, "W__bias": b + c}
        # Of the biases that meet h, the one inside the product with r is no sum with another.
        return leaves if kind == "lstm" else leaves | {"W__bias": b + c.at[2 * D :].set(0), "c_n": c[2 * D :]}

    def state(ours):
        return {leaf: jnp.stack([getattr(s, leaf) for s in ours.layers], 1) for leaf in LEAVES[kind]}

    return from_torch(model, forward), Ours(lambda p: fill(make_core(kind, D, L, key=KEY), partial(layer, p)), state)


def of_flax(kind: str, api: str) -> tuple[Theirs, Ours]:
    flax = pytest.importorskip(f"flax.{api}")
    cell = {"gru": flax.GRUCell, "lstm": flax.OptimizedLSTMCell}[kind]
    zero = jnp.zeros((B, D))
    carry = zero if kind == "gru" else (zero, zero)
    biased = "i" if kind == "gru" else "h"  # one bias per sum: with W of x or U of h
    if api == "linen":
        module = cell(D, param_dtype=zero.dtype)
        parameters = module.init(KEY, carry, zero)["params"]

        def step(p, carry, x):
            return module.apply({"params": p}, carry, x)

        def leaves(p):
            gates = {"gru": "rzn", "lstm": "ifgo"}[kind]
            W, U = (jnp.concatenate([p[f"{side}{gate}"]["kernel"] for gate in gates], 1) for side in "ih")
            b = jnp.concatenate([p[f"{biased}{gate}"]["bias"] for gate in gates])
            return {"W__weight": W, "U": U, "W__bias": b} | ({"c_n": p["hn"]["bias"]} if kind == "gru" else {})
    else:
        graph, parameters = flax.split(cell(D, D, param_dtype=zero.dtype, rngs=flax.Rngs(0)))

        def step(p, carry, x):
            return flax.merge(graph, p)(carry, x)

        def leaves(p):
            p = flax.to_pure_dict(p)
            W, U = (p[f"dense_{side}"]["kernel"] for side in "ih")
            return {"W__weight": W, "U": U, "W__bias": p[f"dense_{biased}"]["bias"]}  # c_n stays 0: they have none

    def build(p):
        return fill(make_core(kind, D, 1, key=KEY), lambda _: leaves(p))

    return from_jax(parameters, step, carry, LEAVES[kind]), Ours(build, lambda ours: ours.layers[0]._asdict())


CASES = {
    "torch.nn.GRU": Case(partial(of_torch, "gru"), x64=True),
    "torch.nn.LSTM": Case(partial(of_torch, "lstm"), x64=True),
    "flax.linen.GRUCell": Case(partial(of_flax, "gru", "linen"), x64=True),
    "flax.linen.OptimizedLSTMCell": Case(partial(of_flax, "lstm", "linen"), x64=True),
    "flax.nnx.GRUCell": Case(partial(of_flax, "gru", "nnx"), x64=True),
    "flax.nnx.OptimizedLSTMCell": Case(partial(of_flax, "lstm", "nnx"), x64=True),
}
