"""Gated recurrent units."""

from collections.abc import Iterator

import jax.numpy as jnp

from rlformers.cores.gru import GRU
from rlformers.cores.lstm import LSTM

from .common import FORMS, KEY, Pair, batched, both, put


def gru_torch(d) -> Iterator[Pair]:
    yield from gated(d, GRU(width_of(d), key=KEY))


def lstm_torch(d) -> Iterator[Pair]:
    yield from gated(d, LSTM(width_of(d), key=KEY))


def width_of(d):
    """Ours have inputs of the width of the state; the smaller of the two is padded with units that stay 0."""
    return max(d["W_ih"].shape[1], d["W_hh"].shape[1])


def gated(d, core) -> Iterator[Pair]:
    hidden, width = d["W_hh"].shape[1], width_of(d)
    gates = len(d["W_ih"]) // hidden

    def pad(a):  # rows by gate -> columns by gate, in `width` rows and columns per gate
        a = a.reshape(gates, hidden, -1)
        a = jnp.pad(a, ((0, 0), (0, width - hidden), (0, 0)))
        return a.reshape(gates * width, -1).T

    def rows(a):
        return jnp.pad(a, ((0, width - len(a)), (0, 0)))

    b_ih, b_hh = pad(d["b_ih"])[0], pad(d["b_hh"])[0]
    if gates == 3:
        core = put(core, c_n=b_hh[2 * width :])
        b_hh = b_hh.at[2 * width :].set(0)
    core = put(core, W__weight=rows(pad(d["W_ih"])), W__bias=b_ih + b_hh, U=rows(pad(d["W_hh"])))
    x = jnp.pad(d["x"], ((0, 0), (0, 0), (0, width - d["x"].shape[-1])))
    for suffix, starts in both(d, x):
        for form, run in FORMS:
            state, y = batched(run, core, x, starts)
            yield Pair(f"y{suffix}", y[..., :hidden], form)
            for leaf, value in state._asdict().items():
                yield Pair(f"{leaf}_final{suffix}", value[:, :hidden], form)


CHECKS = {"gru_torch": gru_torch, "lstm_torch": lstm_torch}
