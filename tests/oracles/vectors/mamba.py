"""Selective state spaces: Mamba, Mamba-3."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from rlformers.cores import mamba, mamba3
from rlformers.cores.linear_scan import FUSED_METHODS

from .common import KEY, LOOP, SCAN, Pair, batched, both, put

METHODS = [method for method in FUSED_METHODS if method != "auto"]
FORMS = {"scan": SCAN, "step": LOOP}


def s6_scan(d, _) -> Iterator[Pair]:
    dts = jax.nn.softplus(d["delta_raw"] + d["delta_bias"])

    @functools.partial(jax.jit, static_argnames="method")
    def run(starts, method):
        def one(*tokens):
            return mamba.selective_scan(d["A"], *tokens, starts, jnp.zeros_like(d["A"]), method)

        return jax.vmap(one, 1, (0, 1))(dts, d["B"], d["C"], d["u"])

    for suffix, starts in both(d):
        for method in METHODS:
            h, s = run(starts, method=method)
            yield Pair(f"y{suffix} ({method})", (s + d["D"] * d["u"]) * jax.nn.silu(d["z"]), d[f"y{suffix}"])
            yield Pair(f"h_final{suffix} ({method})", h, d[f"h_final{suffix}"])


def mamba_block(d, _) -> Iterator[Pair]:
    core = mamba.Mamba(len(d["in_proj"]), mamba.Config(), key=KEY)
    core = put(core, W_in__weight=d["in_proj"], W_x__weight=d["x_proj"], W_out__weight=d["out_proj"])
    core = put(core, conv__weight=d["conv_W"], conv__bias=d["conv_b"], A_log=d["A_log"], D=d["D"])
    core = put(core, W_dt__weight=d["dt_proj_W"], W_dt__bias=d["dt_proj_b"])
    for suffix, starts in both(d):
        for form, run in FORMS.items():
            state, y = batched(run, core, d["x"], starts)
            yield Pair(f"y{suffix} ({form})", y, d[f"y{suffix}"])
            yield Pair(f"ssm_state{suffix} ({form})", state.h, d[f"ssm_state{suffix}"])
            yield Pair(f"conv_state{suffix} ({form})", jnp.swapaxes(state.conv, 0, 1), d[f"conv_state{suffix}"])


def mamba3_siso(d, _) -> Iterator[Pair]:
    k, q = mamba3.pairs(d["K"] + d["k_bias"]), mamba3.pairs(d["Q"] + d["q_bias"])
    (H, M), P = k.shape[2:], d["V"].shape[-1]
    empty = mamba3.Mamba3State(
        jnp.zeros((H, P, M), k.dtype), jnp.zeros((H, M), k.dtype), jnp.zeros((H, P), q.real.dtype)
    )

    @functools.partial(jax.jit, static_argnames="method")
    def run(starts, method):
        def one(*tokens):
            *steps, k, q, v = tokens
            return mamba3.trapezoidal_scan(mamba3.discretize(*steps, M), k, q, v, starts, empty, method)

        return jax.vmap(one, 1, (0, 1))(d["ADT"], d["DT"], d["trap_logit"], d["angle_raw"], k, q, d["V"])

    for suffix, starts in both(d):
        for method in METHODS:
            state, s = run(starts, method=method)
            y = (s + d["D"][:, None] * d["V"]) * jax.nn.silu(d["Z"])
            yield Pair(f"y{suffix} ({method})", y, d[f"y{suffix}"])
            yield from mamba3_states(d, state, suffix, method)


def mamba3_states(d, state, suffix, form) -> Iterator[Pair]:
    """Theirs are turned by the angle since the start, which ours does not know."""
    angle = d[f"angle_final{suffix}"]
    turn = jnp.exp(1j * jnp.pad(angle, ((0, 0), (0, 0), (0, state.k.shape[-1] - angle.shape[-1]))))
    for name, z in (("ssm", state.h * turn[:, :, None]), ("k", state.k * turn)):
        z = jnp.stack([z.real, z.imag], axis=-1)
        yield Pair(f"{name}_final{suffix} ({form})", z.reshape(*z.shape[:-2], -1), d[f"{name}_final{suffix}"])
    yield Pair(f"v_final{suffix} ({form})", state.v, d[f"v_final{suffix}"])


def mamba3_block(d, _) -> Iterator[Pair]:
    core = mamba3.Mamba3(len(d["in_proj"]), mamba3.Config(head_size=1), key=KEY)
    core = put(core, W_in__weight=d["in_proj"], W_out__weight=d["out_proj"], dt_bias=d["dt_bias"], D=d["D"])
    core = put(core, B_norm__scale=d["B_norm"], C_norm__scale=d["C_norm"], B_bias=d["B_bias"], C_bias=d["C_bias"])
    for suffix, starts in both(d):
        for form, run in FORMS.items():
            state, y = batched(run, core, d["x"], starts)
            yield Pair(f"y{suffix} ({form})", y, d[f"y{suffix}"])
            if f"angle_final{suffix}" in d:
                yield from mamba3_states(d, state, suffix, form)


CHECKS = {
    "mamba_s6_scan": s6_scan,
    "mamba_block": mamba_block,
    "mamba3_siso": mamba3_siso,
    "mamba3_block": mamba3_block,
}
