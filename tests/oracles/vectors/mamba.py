"""Selective state spaces: Mamba, Mamba-3."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.cores import mamba, mamba3
from rlformers.cores.linear_scan import FUSED_METHODS

from .common import FORMS, KEY, Pair, batched, both, put

METHODS = [method for method in FUSED_METHODS if method != "auto"]


def s6_scan(d) -> Iterator[Pair]:
    dts = jax.nn.softplus(d["delta_raw"] + d["delta_bias"])

    @functools.partial(jax.jit, static_argnames="method")
    def run(starts, method):
        def one(*tokens):
            return mamba.selective_scan(d["A"], *tokens, jnp.zeros_like(d["A"]), method)

        return jax.vmap(one, 1, (0, 1))(dts, d["B"], d["C"], d["u"], starts)

    for suffix, starts in both(d, dts):
        for method in METHODS:
            h, s = run(starts, method=method)
            yield Pair(f"y{suffix}", (s + d["D"] * d["u"]) * jax.nn.silu(d["z"]), method)
            yield Pair(f"h_final{suffix}", h, method)


def mamba_block(d) -> Iterator[Pair]:
    core = mamba.Mamba(len(d["in_proj"]), mamba.Config(), key=KEY)
    core = put(core, W_in__weight=d["in_proj"], W_x__weight=d["x_proj"], W_out__weight=d["out_proj"])
    core = put(core, conv__weight=d["conv_W"], conv__bias=d["conv_b"], A_log=d["A_log"], D=d["D"])
    core = put(core, W_dt__weight=d["dt_proj_W"], W_dt__bias=d["dt_proj_b"])
    for suffix, starts in both(d, d["x"]):
        for form, run in FORMS:
            state, y = batched(run, core, d["x"], starts)
            yield Pair(f"y{suffix}", y, form)
            yield Pair(f"ssm_state{suffix}", state.h, form)
            yield Pair(f"conv_state{suffix}", jnp.swapaxes(state.conv, 0, 1), form)


def mamba3_siso(d) -> Iterator[Pair]:
    (H, N), P = d["k_bias"].shape, d["V"].shape[-1]

    def heads(a):  # of their group
        return jnp.repeat(a, H // a.shape[2], axis=2)

    k, q = mamba3.pairs(heads(d["K"]) + d["k_bias"]), mamba3.pairs(heads(d["Q"]) + d["q_bias"])
    empty = mamba3.Mamba3State(
        jnp.zeros((H, P, N // 2), k.dtype), jnp.zeros((H, N // 2), k.dtype), jnp.zeros((H, P), q.real.dtype)
    )

    @jax.jit
    def steps():
        return jax.vmap(lambda *tokens: mamba3.discretize(*tokens, N // 2), 1, 1)(
            d["ADT"], d["DT"], d["trap_logit"], d["angle_raw"]
        )

    @functools.partial(jax.jit, static_argnames="method")
    def run(steps, starts, method):
        def one(steps, k, q, v, starts):
            return mamba3.trapezoidal_scan(steps, k, q, v, starts, empty, method)

        return jax.vmap(one, 1, (0, 1))(steps, k, q, d["V"], starts)

    steps = steps()
    for suffix, starts in both(d, d["V"]):
        for method in METHODS:
            state, s = run(steps, starts, method=method)
            yield Pair(f"y{suffix}", (s + d["D"][:, None] * d["V"]) * jax.nn.silu(d["Z"]), method)
            yield from mamba3_states(d, state, steps, starts, suffix, method)


def mamba3_states(d, state, steps, starts, suffix, form) -> Iterator[Pair]:
    """Theirs are turned by the angle since the start, which ours does not know: decays sum it up."""
    yield Pair(f"v_final{suffix}", state.v, form)
    if (name := f"angle_final{suffix}") not in d:
        return
    angle = d[name]
    decay = np.asarray(steps.decay, np.complex128)[..., : angle.shape[-1]]
    turn = np.ones_like(decay[0])
    for d_t, start in zip(decay, np.asarray(starts), strict=True):
        turn = np.where(start[:, None, None], 1, turn) * (np.abs(d_t) / d_t)
    yield Pair(name, turn, form, lambda angle: np.exp(1j * angle))
    turn = jnp.exp(1j * jnp.pad(angle, ((0, 0), (0, 0), (0, state.k.shape[-1] - angle.shape[-1]))))
    for name, z in (("ssm", state.h * turn[:, :, None]), ("k", state.k * turn)):
        z = jnp.stack([z.real, z.imag], axis=-1)
        yield Pair(f"{name}_final{suffix}", z.reshape(*z.shape[:-2], -1), form)


def mamba3_block(d) -> Iterator[Pair]:
    core = mamba3.Mamba3(len(d["in_proj"]), mamba3.Config(head_size=1), key=KEY)
    core = put(core, W_in__weight=d["in_proj"], W_out__weight=d["out_proj"], dt_bias=d["dt_bias"], D=d["D"])
    core = put(core, B_norm__scale=d["B_norm"], C_norm__scale=d["C_norm"], B_bias=d["B_bias"], C_bias=d["C_bias"])
    steps = jax.jit(jax.vmap(lambda core, x: core.project(x)[-1], (None, 1), 1))(core, d["x"])
    for suffix, starts in both(d, d["x"]):
        for form, run in FORMS:
            state, y = batched(run, core, d["x"], starts)
            yield Pair(f"y{suffix}", y, form)
            yield from mamba3_states(d, state, steps, starts, suffix, form)


CHECKS = {
    "mamba_s6_scan": s6_scan,
    "mamba_block": mamba_block,
    "mamba3_siso": mamba3_siso,
    "mamba3_block": mamba3_block,
}
