"""S5."""

import functools
from collections.abc import Iterator

import jax

from rlformers.cores.hippo import hippo_eigenbasis
from rlformers.cores.linear_scan import linear_scan
from rlformers.cores.s5 import S5, Config

from .common import KEY, LOOP, SCAN, Pair, both, put


def s5_module(d, config, prefix=""):
    names = ("Lambda_re", "Lambda_im", "B", "C", "D", "log_step")
    return put(S5(len(d[f"{prefix}D"]), config, key=KEY), **{name: d[prefix + name] for name in names})


def s5_ssm(d, stem) -> Iterator[Pair]:
    conj = stem.endswith("conj")
    discretization = "bilinear" if "bilinear" in stem else "zoh"
    stored = len(d["Lambda_re"])
    core = s5_module(d, Config((1 + conj) * stored, conj_sym=conj, discretization=discretization))
    Lambda_bar, B_bar = jax.jit(S5.discretize)(core)
    yield Pair("Lambda_bar", Lambda_bar, d["Lambda_bar"])
    yield Pair("B_bar", B_bar, d["B_bar"])
    for suffix, starts in both(d):
        for method in ("sequential", "associative"):
            _, y, states = s5_run(core, d["x"], starts, core.initial_state().h, method)
            yield Pair(f"state_seq{suffix} ({method})", states, d[f"state_seq{suffix}"])
            yield Pair(f"y{suffix} ({method})", y, d[f"y{suffix}"])


@functools.partial(jax.jit, static_argnames="method")
def s5_run(core, x, starts, h, method):
    """The state space alone, without the layer's norm, activation and residual."""
    Lambda_bar, B_bar = core.discretize()
    h, states = linear_scan(Lambda_bar, x @ B_bar.T, starts, h, method)
    return h, core.read(states) + core.D * x, states


def s5_resettable_carry(d, _) -> Iterator[Pair]:
    core = s5_module(d, Config(2 * len(d["Lambda_re"])))
    for method in ("sequential", "associative"):
        h, y, _ = s5_run(core, d["x"], d["resets"], d["h0"], method)
        yield Pair(f"y ({method})", y, d["y"])
        yield Pair(f"h_final ({method})", h, d["h_final"])


def s5_layer(d, stem) -> Iterator[Pair]:
    config = Config(2 * len(d["ssm_Lambda_re"]), activation=stem.removeprefix("s5_layer_"))
    core = put(s5_module(d, config, "ssm_"), norm__scale=d["ln_scale"], norm__bias=d["ln_bias"])
    for out in ("out1", "out2"):
        if getattr(core, out) is not None:
            core = put(core, **{f"{out}__weight": d[f"{out}_W"], f"{out}__bias": d[f"{out}_b"]})
    for suffix, starts in both(d):
        for form, run in (("scan", SCAN), ("step", LOOP)):
            yield Pair(f"y{suffix} ({form})", run(core, core.initial_state(), d["x"], starts)[1], d[f"y{suffix}"])


def s5_init_hippo(d, _) -> Iterator[Pair]:
    P = len(d["Lambda"])
    Lambda, V = hippo_eigenbasis(P, 1, conj_sym=False)
    yield Pair("Lambda", Lambda, d["Lambda"])
    yield Pair("normal_part", (V * Lambda) @ V.conj().T, d["normal_part"])
    yield Pair("V_times_Vh", V @ V.conj().T, d["V_times_Vh"])
    half, V = hippo_eigenbasis(P, 1, conj_sym=True)
    yield Pair("Lambda_half_conj", half, d["Lambda_half_conj"])
    yield Pair("normal_part (half)", 2 * ((V * half) @ V.conj().T).real, d["normal_part"])


CHECKS = {
    "s5_ssm_*": s5_ssm,
    "s5_resettable_carry": s5_resettable_carry,
    "s5_layer_*": s5_layer,
    "s5_init_hippo_*": s5_init_hippo,
}
