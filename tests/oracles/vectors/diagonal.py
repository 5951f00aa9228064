"""Diagonal linear recurrences: LRU, S4D, FFM, minGRU."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from rlformers.cores import ffm, lru, mingru, s4d

from .common import KEY, Pair, batched, both, put


def forms(f):
    """`f(core, state, xs, starts)` over a segment, and token by token."""

    def loop(core, state, xs, starts):
        def step(state, token):
            state, ys = f(core, state, *token)
            return state, ys[0]

        return jax.lax.scan(step, state, (xs[:, None], starts[:, None]))

    return (("scan", f), ("step", loop))


def compare(d, core, f, x, last="h", skip=0.0, outputs=None) -> Iterator[Pair]:
    """The first outputs, or all, and, by the name `last` in the state, final states, with and without resets."""
    for suffix, starts in both(d, x):
        for form, run in forms(f):
            state, y = batched(run, core, x, starts)
            yield Pair(f"y{suffix}", y[..., :outputs] + skip, form)
            yield Pair(f"h_final{suffix}", state._asdict()[last], form)


def pair(z):
    return jnp.stack([z.real, z.imag], axis=-1)


def lru_layer(d) -> Iterator[Pair]:
    core = lru.LRU(d["x"].shape[-1], lru.Config(len(d["nu_log"])), key=KEY)
    core = put(core, **{name: d[name] for name in ("nu_log", "theta_log", "gamma_log")}, B=pair(d["B"]), C=pair(d["C"]))
    # The file's D is a matrix and not square.
    yield from compare(d, core, lru.LRU.recur, d["x"], skip=d["x"] @ d["D"].T)


def s4d_layer(d) -> Iterator[Pair]:
    width, N = d["A_imag"].shape
    core = s4d.S4D(width, s4d.Config(2 * N), key=KEY)
    core = put(core, **{name: d[name] for name in ("log_dt", "log_A_real", "A_imag", "C", "D")})
    core = put(core, glu__W__weight=d["W_out"], glu__W__bias=d["b_out"])
    yield from compare(d, core, s4d.S4D.scan, d["x"])


def ffm_layer(d) -> Iterator[Pair]:
    """Ours has as many inputs as outputs: inputs that are added are 0, and where there are more inputs than outputs all
    outputs are there several times, which changes neither their mean nor their spread."""
    inputs, outputs = d["W_skip"].shape
    times = -(-inputs // outputs)
    more = times * outputs - inputs
    core = ffm.FFM(inputs + more, ffm.Config(len(d["alpha"]), len(d["omega"])), key=KEY)
    core = put(core, alpha=d["alpha"], omega=d["omega"])
    for ours, name in (("W_g", "pre"), ("W_i", "ing"), ("W_o", "outg"), ("W_s", "skip"), ("W_z", "mix")):
        weight, bias = d[f"W_{name}"], d[f"b_{name}"]
        if name != "mix":
            weight = jnp.pad(weight, ((0, more), (0, 0)))
        if name not in ("pre", "ing"):
            weight, bias = jnp.tile(weight, times), jnp.tile(bias, times)
        core = put(core, **{f"{ours}__weight": weight, f"{ours}__bias": bias})
    x = jnp.pad(d["x"], ((0, 0), (0, 0), (0, more)))
    yield from compare(d, core, ffm.FFM.scan, x, "S", outputs=outputs)


def mingru_cell(d) -> Iterator[Pair]:
    width, hidden = d["W_h"].shape
    core = mingru.MinGRU(width, mingru.Config(), key=KEY)
    core = put(core, W__weight=jnp.concatenate([d["W_z"], d["W_h"]], axis=1), W__bias=jnp.zeros(2 * hidden))
    core = put(core, W_o__weight=jnp.zeros((hidden, width)))

    def recur(core, state, xs, starts):
        h, hs = core.recur(state.h, xs, starts)
        return state._replace(h=h), hs

    yield from compare(d, core, recur, d["x"])


CHECKS = {"lru": lru_layer, "s4d_layer": s4d_layer, "ffm": ffm_layer, "mingru": mingru_cell}
