"""Comparison of the cores with golden vectors: `.npz` files of weights, inputs and the outputs that follow.

`check(path)` yields one `Result` per compared array, or nothing for a file that no function here knows. Weights are
put into our modules; every size is read from the arrays.
"""

import fnmatch
import functools
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rlformers.cores.attention import attend, sinusoids
from rlformers.cores.gru import GRU
from rlformers.cores.gtrxl import Config as GTrXLConfig
from rlformers.cores.gtrxl import Gate, GTrXL
from rlformers.cores.layers import LayerNorm
from rlformers.cores.linear_scan import linear_scan
from rlformers.cores.lstm import LSTM
from rlformers.cores.s5 import S5, hippo_eigenbasis
from rlformers.cores.s5 import Config as S5Config

KEY = jax.random.key(0)  # of parameters that are replaced
SCAN = jax.jit(lambda core, state, xs, starts: core.scan(state, xs, starts))
LOOP = jax.jit(lambda core, state, xs, starts: jax.lax.scan(lambda s, t: core.step(s, *t), state, (xs, starts)))


class Result(NamedTuple):
    """How far an array of ours is from the expected one; `ratio` > 1 is out of tolerance."""

    name: str
    error: float
    ratio: float


class Pair(NamedTuple):
    name: str
    ours: jax.Array
    expected: jax.Array
    upstream_error: float = 0.0  # of the expected array itself


def check(path: Path) -> list[Result]:
    """Compare; in float32 unless jax has x64 enabled."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: jnp.asarray(file[name]) for name in file}
    if jax.config.jax_enable_x64:
        arrays = {name: widen(a) for name, a in arrays.items()}
    for pattern, function in CHECKS.items():
        if fnmatch.fnmatch(path.stem, pattern):
            return [measure(pair) for pair in function(arrays, path.stem)]
    return []


def widen(a: jax.Array) -> jax.Array:
    return a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a


def measure(pair: Pair) -> Result:
    ours, expected = np.asarray(pair.ours), np.asarray(pair.expected)
    if ours.shape != expected.shape:
        raise ValueError(f"{pair.name}: shape {ours.shape}, expected {expected.shape}")
    absolute, relative = (1e-10, 1e-10) if jax.config.jax_enable_x64 else (5e-6, 1e-5)
    error = np.abs(ours - expected)
    # A NaN is out of every tolerance.
    ratio = np.nan_to_num(error / (max(absolute, pair.upstream_error) + relative * np.abs(expected)), nan=np.inf)
    return Result(pair.name, float(error.max(initial=0)), float(ratio.max(initial=0)))


def put(module, **leaves):
    """The module with these leaves; `a__b` is the leaf b of its field a."""
    for name, value in leaves.items():
        module = eqx.tree_at(operator.attrgetter(name.replace("__", ".")), module, value)
    return module


@functools.partial(jax.jit, static_argnums=0)
def batched(run, core, x, starts, states=None):
    """Over the environments of x [T, B, D]; starts [T] or [T, B]."""
    starts = jnp.broadcast_to(starts.reshape(len(starts), -1), x.shape[:2])
    if states is None:
        states = jax.tree.map(lambda a: jnp.broadcast_to(a, (x.shape[1], *a.shape)), core.initial_state())
    return jax.vmap(run, (None, 0, 1, 1), (0, 1))(core, states, x, starts)


def both(d):
    """The two runs of a file: one sequence, and the same with resets."""
    return (("", jnp.zeros_like(d["resets"])), ("_resets", d["resets"]))


def gru_torch(d, _) -> Iterator[Pair]:
    yield from gated(d, GRU(width_of(d), key=KEY))


def lstm_torch(d, _) -> Iterator[Pair]:
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
    for suffix, starts in both(d):
        for form, run in (("scan", SCAN), ("step", LOOP)):
            state, y = batched(run, core, x, starts)
            yield Pair(f"y{suffix} ({form})", y[..., :hidden], d[f"y{suffix}"])
            for leaf, value in state._asdict().items():
                yield Pair(f"{leaf}_final{suffix} ({form})", value[:, :hidden], d[f"{leaf}_final{suffix}"])


def s5_module(d, config, prefix=""):
    names = ("Lambda_re", "Lambda_im", "B", "C", "D", "log_step")
    return put(S5(len(d[f"{prefix}D"]), config, key=KEY), **{name: d[prefix + name] for name in names})


def s5_ssm(d, stem) -> Iterator[Pair]:
    conj = stem.endswith("conj")
    discretization = "bilinear" if "bilinear" in stem else "zoh"
    stored = len(d["Lambda_re"])
    core = s5_module(d, S5Config((1 + conj) * stored, conj_sym=conj, discretization=discretization))
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
    return h, core._read(states) + core.D * x, states


def s5_resettable_carry(d, _) -> Iterator[Pair]:
    core = s5_module(d, S5Config(2 * len(d["Lambda_re"])))
    for method in ("sequential", "associative"):
        h, y, _ = s5_run(core, d["x"], d["resets"], d["h0"], method)
        yield Pair(f"y ({method})", y, d["y"])
        yield Pair(f"h_final ({method})", h, d["h_final"])


def s5_layer(d, stem) -> Iterator[Pair]:
    config = S5Config(2 * len(d["ssm_Lambda_re"]), activation=stem.removeprefix("s5_layer_"))
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


def gtrxl_gates(d, _) -> Iterator[Pair]:
    x, y = d["x"], d["y"]
    W_U = {
        "gru": (jnp.concatenate([d["Wr"], d["Wz"], d["Wg"]], 1), jnp.concatenate([d["Ur"], d["Uz"], d["Ug"]], 1)),
        "input": (None, d["Wg"]),
        "output": (None, d["Wg"]),
        "highway": (None, d["Wg"]),
        "sigtanh": (jnp.concatenate([d["Wg"], d["Ug"]], 1), None),
    }
    for kind, (W, U) in W_U.items():
        leaves = {"W": W, "U": U, "b": None if kind == "input" else d["bg"]}
        leaves = {name: leaf for name, leaf in leaves.items() if leaf is not None}
        gate = put(Gate(kind, x.shape[-1], 0.0, key=KEY), **leaves)
        yield Pair(f"out_{kind}", gate(x, y), d[f"out_{kind}"])


def gtrxl_module(d):
    H, D, E = int(d["n_heads"]), *d["l0_Wq"].shape
    L = sum(bool(re.fullmatch(r"l\d+_Wq", name)) for name in d)
    config = GTrXLConfig(int(d["mem_len"]), H, E // H, d["l0_mlp_W1"].shape[1] // D, share_uv=False, final_norm=False)
    core = GTrXL(D, L, config, key=KEY)
    layers = []
    for i, layer in enumerate(core.layers):
        p = {name.removeprefix(f"l{i}_"): a for name, a in d.items() if name.startswith(f"l{i}_")}
        leaves = {
            "W_qkv__weight": jnp.concatenate([p["Wq"], p["Wk"], p["Wv"]], 1),
            "W_r__weight": p["Wr"],
            "W_o__weight": p["Wo"],
            # Weights sum to 1, so the bias of the values passes through. Softmax ignores those of k and r.
            "W_o__bias": p["bv"] @ p["Wo"] + p["bo"],
        }
        for n in (1, 2):
            leaves |= {f"norm{n}__scale": p[f"ln{n}_scale"], f"norm{n}__bias": p[f"ln{n}_bias"]}
            leaves |= {f"W_{n}__weight": p[f"mlp_W{n}"], f"W_{n}__bias": p[f"mlp_b{n}"]}
            gate = {name: p[f"gate{n}_{name}"] for name in ("Wr", "Wz", "Wg", "Ur", "Uz", "Ug", "bg")}
            leaves[f"gate{n}__W"] = jnp.concatenate([gate["Wr"], gate["Wz"], gate["Wg"]], 1)
            leaves[f"gate{n}__U"] = jnp.concatenate([gate["Ur"], gate["Uz"], gate["Ug"]], 1)
            leaves[f"gate{n}__b"] = gate["bg"]
        layers.append(put(layer, **leaves))
    # The bias of the queries meets keys and positions alike: it is part of u and of w.
    b_q = jnp.stack([d[f"l{i}_bq"].reshape(H, -1) for i in range(L)])
    return put(core, layers=tuple(layers), u=d["u"] + b_q, w=d["v"] + b_q)


def gtrxl_masked_resets(d, _) -> Iterator[Pair]:
    core = gtrxl_module(d)
    x, starts = jax.nn.relu(d["x"] @ d["embed_W"] + d["embed_b"]), d["resets"]
    split = next(int(name.removeprefix("mem_after")) for name in d if name.startswith("mem_after"))

    def memory(state):
        return jnp.stack([layer.mem for layer in state.layers], 1), state.layers[0].valid

    for form, run in (("scan", SCAN), ("step", LOOP)):
        state, y = batched(run, core, x, starts)
        yield Pair(f"y ({form})", y, d["y"])
        for name, value in zip(("mem", "valid"), memory(state), strict=True):
            yield Pair(f"{name}_final ({form})", value, d[f"{name}_final"])

        middle, y_1 = batched(run, core, x[:split], starts[:split])
        for name, value in zip(("mem", "valid"), memory(middle), strict=True):
            yield Pair(f"{name}_after{split} ({form})", value, d[f"{name}_after{split}"])
        state, y_2 = batched(run, core, x[split:], starts[split:], jax.vmap(core.prepare)(middle))
        yield Pair(f"y in two segments ({form})", jnp.concatenate([y_1, y_2]), d["y"])
        for name, value in zip(("mem", "valid"), memory(state), strict=True):
            yield Pair(f"{name}_final in two segments ({form})", value, d[f"{name}_final"])


def relattn_transformer_xl(d, _) -> Iterator[Pair]:
    """Attention alone; its window has no end: the cache is padded until all distances fit."""
    H, (D, E) = int(d["n_heads"]), d["Wq"].shape
    norm = put(LayerNorm(D), scale=d["ln_scale"], bias=d["ln_bias"])

    def run(x, mem):
        T, valid = len(x), len(mem)
        M = valid + T - 1
        q, k, v = (
            (norm(a) @ W).reshape(-1, H, E // H)
            for a, W in ((x, d["Wq"]), (jnp.concatenate([mem, x]), d["Wk"]), (jnp.concatenate([mem, x]), d["Wv"]))
        )
        k, v = (jnp.pad(a, ((M - valid, 0), (0, 0), (0, 0))) for a in (k, v))
        r = (jnp.asarray(sinusoids(M, D), x.dtype) @ d["Wr"]).reshape(-1, H, E // H)
        scale = (E // H) ** -0.5
        a = attend((q + d["u"]) * scale, (q + d["v"]) * scale, k, v, r, valid + jnp.arange(T))
        return a.reshape(T, E) @ d["Wo"]

    for name, mem in (("y_mem", d["mem"]), ("y_nomem", d["mem"][:0])):
        y = jax.jit(jax.vmap(run, 1, 1))(d["x"], mem)
        yield Pair(name, y, d[name])
        yield Pair(f"{name}_official", y, d[f"{name}_official"], upstream_error=5e-7)


CHECKS = {
    "gru_torch": gru_torch,
    "lstm_torch": lstm_torch,
    "s5_ssm_*": s5_ssm,
    "s5_resettable_carry": s5_resettable_carry,
    "s5_layer_*": s5_layer,
    "s5_init_hippo_*": s5_init_hippo,
    "gtrxl_gates": gtrxl_gates,
    "gtrxl_masked_resets": gtrxl_masked_resets,
    "relattn_transformer_xl": relattn_transformer_xl,
}
