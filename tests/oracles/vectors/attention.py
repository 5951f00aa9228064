"""Cores with attention."""

import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from rlformers.cores.attention import attend, sinusoids
from rlformers.cores.gtrxl import Config as GTrXLConfig
from rlformers.cores.gtrxl import Gate, GTrXL
from rlformers.cores.layers import LayerNorm

from .common import KEY, LOOP, SCAN, Pair, batched, put


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
    "gtrxl_gates": gtrxl_gates,
    "gtrxl_masked_resets": gtrxl_masked_resets,
    "relattn_transformer_xl": relattn_transformer_xl,
}
