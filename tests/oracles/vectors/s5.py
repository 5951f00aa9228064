"""S5. Its files have no axis of environments: tokens are [T, H]."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.cores.hippo import hippo_eigenbasis, legs_system
from rlformers.cores.linear_scan import linear_scan
from rlformers.cores.s5 import ACTIVATIONS, DISCRETIZATIONS, S5, Config

from .common import FORMS, KEY, Pair, put

METHODS = ("sequential", "associative")


def runs(d):
    """The runs of a file, as in `common.both`."""
    yield "", jnp.zeros(len(d["x"]), bool)
    if "resets" in d:
        yield "_resets", d["resets"]


def s5_module(d, config, prefix=""):
    names = ("Lambda_re", "Lambda_im", "B", "C", "D", "log_step")
    return put(S5(len(d[f"{prefix}D"]), config, key=KEY), **{name: d[prefix + name] for name in names})


def s5_ssm(discretization, conj, d) -> Iterator[Pair]:
    config = Config((1 + conj) * len(d["Lambda_re"]), conj_sym=conj, discretization=discretization)
    core = s5_module(d, config)
    Lambda_bar, B_bar = jax.jit(S5.discretize)(core)
    yield Pair("Lambda_bar", Lambda_bar)
    yield Pair("B_bar", B_bar)
    for suffix, starts in runs(d):
        for method in METHODS:
            _, y, states = s5_run(core, d["x"], starts, core.initial_state().h, method)
            yield Pair(f"state_seq{suffix}", states, method)
            yield Pair(f"y{suffix}", y, method)


@functools.partial(jax.jit, static_argnames="method")
def s5_run(core, x, starts, h, method):
    """The state space alone, without the layer's norm, activation and residual."""
    Lambda_bar, B_bar = core.discretize()
    h, states = linear_scan(Lambda_bar, x @ B_bar.T, starts, h, method)
    return h, core.read(states) + core.D * x, states


def s5_resettable_carry(d) -> Iterator[Pair]:
    core = s5_module(d, Config(2 * len(d["Lambda_re"])))
    for method in METHODS:
        h, y, _ = s5_run(core, d["x"], d["resets"], d["h0"], method)
        yield Pair("y", y, method)
        yield Pair("h_final", h, method)


def s5_layer(activation, d) -> Iterator[Pair]:
    config = Config(2 * len(d["ssm_Lambda_re"]), activation=activation)
    core = put(s5_module(d, config, "ssm_"), norm__scale=d["ln_scale"], norm__bias=d["ln_bias"])
    for out in ("out1", "out2"):
        if getattr(core, out) is not None:
            core = put(core, **{f"{out}__weight": d[f"{out}_W"], f"{out}__bias": d[f"{out}_b"]})
    for suffix, starts in runs(d):
        for form, run in FORMS:
            yield Pair(f"y{suffix}", run(core, core.initial_state(), d["x"], starts)[1], form)


def s5_init_hippo(d) -> Iterator[Pair]:
    P = len(d["Lambda"])
    A, p = legs_system(P)
    yield Pair("A_hippo", A)
    yield Pair("P_lowrank", p)
    yield Pair("B_hippo", np.sqrt(2) * p)
    Lambda, V = hippo_eigenbasis(P, 1, conj_sym=False)
    yield Pair("Lambda", Lambda)
    yield Pair("normal_part", (V * Lambda) @ V.conj().T)
    yield Pair("V_times_Vh", V @ V.conj().T)
    if P % 2 == 0:
        half, V = hippo_eigenbasis(P, 1, conj_sym=True)
        yield Pair("Lambda_half_conj", half)
        yield Pair("normal_part", 2 * ((V * half) @ V.conj().T).real, "of half of the eigenvalues")


CHECKS = {
    **{
        f"s5_ssm_{rule}_{pairs}": functools.partial(s5_ssm, rule, pairs == "conj")
        for rule in DISCRETIZATIONS
        for pairs in ("conj", "full")
    },
    "s5_resettable_carry": s5_resettable_carry,
    **{f"s5_layer_{activation}": functools.partial(s5_layer, activation) for activation in ACTIVATIONS},
    "s5_init_hippo": s5_init_hippo,
}
