"""Cores with attention."""

import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.cores.attention import Positions, attend, attention_weights
from rlformers.cores.gtrxl import Gate
from rlformers.cores.layers import LayerNorm
from rlformers.cores.positions import rotate, sinusoids
from rlformers.cores.registry import make_core

from .common import FORMS, KEY, Pair, batched, both, no_starts, put, resets


def gtrxl_gates(d) -> Iterator[Pair]:
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
        yield Pair(f"out_{kind}", gate(x, y))


def by_layer(d):
    """The arrays of each layer, without the prefix of their names."""
    L = sum(bool(re.fullmatch(r"l\d+_Wq", name)) for name in d)
    return [{name.removeprefix(f"l{i}_"): d[name] for name in d if name.startswith(f"l{i}_")} for i in range(L)]


def gate_leaves(p, n):
    W, U, b = ([p[f"gate{n}_{name}"] for name in names] for names in (("Wr", "Wz", "Wg"), ("Ur", "Uz", "Ug"), ("bg",)))
    return {"W": jnp.concatenate(W, 1), "U": jnp.concatenate(U, 1), "b": b[0]}


def gtrxl_module(d):
    H, (D, E), L = int(d["n_heads"]), d["l0_Wq"].shape, len(by_layer(d))
    core = make_core("gtrxl", D, L, key=KEY, memory=int(d["mem_len"]), heads=H, head_size=E // H)
    layers = []
    for i, (layer, p) in enumerate(zip(core.layers, by_layer(d), strict=True)):
        # The bias of the queries meets keys and positions alike: it is part of u and of w.
        b_q = d[f"l{i}_bq"].reshape(H, -1)
        leaves = {
            "W_qkv__weight": jnp.concatenate([p["Wq"], p["Wk"], p["Wv"]], 1),
            "u": jnp.broadcast_to(d["u"], (L, *b_q.shape))[i] + b_q,
            "w": jnp.broadcast_to(d["v"], (L, *b_q.shape))[i] + b_q,
            "r__W__weight": p["Wr"],
            "W_o__weight": p["Wo"],
            # Weights sum to 1, so the bias of the values passes through. Softmax ignores those of k and r.
            "W_o__bias": p["bv"] @ p["Wo"] + p["bo"],
        }
        for n in (1, 2):
            leaves |= {f"norm{n}__scale": p[f"ln{n}_scale"], f"norm{n}__bias": p[f"ln{n}_bias"]}
            leaves |= {f"W_{n}__weight": p[f"mlp_W{n}"], f"W_{n}__bias": p[f"mlp_b{n}"]}
            leaves |= {f"gate{n}__{name}": a for name, a in gate_leaves(p, n).items()}
        layers.append(put(layer, **leaves))
    return put(core, layers=tuple(layers))


def gtrxl_masked_resets(d) -> Iterator[Pair]:
    core = gtrxl_module(d)
    x = jax.nn.relu(d["x"] @ d["embed_W"] + d["embed_b"])
    starts = resets(d, x) if "resets" in d else no_starts(x)
    splits = [int(name.removeprefix("mem_after")) for name in d if name.startswith("mem_after")]

    def memory(state, when, form):
        yield Pair(f"mem_{when}", jnp.stack([layer.mem for layer in state.layers], 1), form)
        yield Pair(f"valid_{when}", state.layers[0].valid, form)

    for form, run in FORMS:
        state, y = batched(run, core, x, starts)
        yield Pair("y", y, form)
        yield from memory(state, "final", form)
        for split in splits:
            middle, y_1 = batched(run, core, x[:split], starts[:split])
            yield from memory(middle, f"after{split}", form)
            if split < len(x):
                state, y_2 = batched(run, core, x[split:], starts[split:], jax.vmap(core.prepare)(middle))
                yield Pair("y", jnp.concatenate([y_1, y_2]), f"{form}, segments of {split} and the rest")
                yield from memory(state, "final", f"{form}, segments of {split} and the rest")


def unbanded(q, k, v, u, w, W_r, D):
    """The arguments of `attend` for q [T, E] and all that came before, k and v [K, E]. Our window has an end: zeros
    before the first key make it so long that every distance fits."""
    (H, size), T, M = u.shape, len(q), len(k) - 1
    q, k, v = (a.reshape(-1, H, size) for a in (q, k, v))
    k, v = (jnp.pad(a, ((T - 1, 0), (0, 0), (0, 0))) for a in (k, v))
    r = (jnp.asarray(sinusoids(M, D), q.dtype) @ W_r).reshape(-1, H, size)
    positions = Positions((q + w) * size**-0.5, r)
    return (q + u) * size**-0.5, k, v, M + 1 - T + jnp.arange(T), positions


def relattn_transformer_xl(d) -> Iterator[Pair]:
    """Attention alone."""
    D = len(d["Wq"])
    norm = put(LayerNorm(D), scale=d["ln_scale"], bias=d["ln_bias"])

    def run(x, mem):
        c = norm(jnp.concatenate([mem, x]))
        q, k, v = c[len(mem) :] @ d["Wq"], c @ d["Wk"], c @ d["Wv"]
        meeting = unbanded(q, k, v, d["u"], d["v"], d["Wr"], D)
        weights = attention_weights(*meeting)[..., len(x) - 1 :]
        return attend(*meeting).reshape(len(x), -1) @ d["Wo"], weights

    for name, mem in (("mem", d["mem"]), ("nomem", d["mem"][:0])):
        y, weights = jax.jit(jax.vmap(run, 1, (1, 0)))(d["x"], mem)
        yield Pair(f"y_{name}", y)
        yield Pair(f"y_{name}_official", y, upstream_error=5e-7)
        if name == "mem":
            yield Pair("attn_prob_mem", weights)


def gtrxl_diengine_2seg(d) -> Iterator[Pair]:
    """Unlike our core: queries of inputs that are not normalised, empty slots that are seen, windows without an end."""
    D = d["embed_W"].shape[1]

    def layer(p, mem, e):
        norm1, norm2 = (put(LayerNorm(D), scale=p[f"ln{n}_scale"], bias=p[f"ln{n}_bias"]) for n in (1, 2))
        gate1, gate2 = (put(Gate("gru", D, 0.0, key=KEY), **gate_leaves(p, n)) for n in (1, 2))
        c = norm1(jnp.concatenate([mem, e]))
        q, k, v = e @ p["Wq"] + p["bq"], c @ p["Wk"] + p["bk"], c @ p["Wv"] + p["bv"]
        meeting = unbanded(q, k, v, d["u"], d["v"], p["Wr"], D)  # softmax ignores the bias of r
        a = attend(*meeting).reshape(len(e), -1)
        o = gate1(e, jax.nn.relu(a @ p["Wo"] + p["bo"]))
        f = jax.nn.relu(norm2(o) @ p["mlp_W1"] + p["mlp_b1"]) @ p["mlp_W2"] + p["mlp_b2"]
        return gate2(o, jax.nn.relu(f))

    @jax.jit
    def run(x, mem):
        def one(x, mem):  # [T, D], [L + 1, M, D]
            streams = [jax.nn.relu(x @ d["embed_W"] + d["embed_b"])]
            for p, past in zip(by_layer(d), mem[:-1], strict=True):
                streams.append(layer(p, past, streams[-1]))
            M = mem.shape[1]
            return streams[-1], jnp.concatenate([mem, jnp.stack(streams)], 1)[:, -M:]

        return jax.vmap(one, (1, 2), (1, 2))(x, mem)

    L = len(by_layer(d))
    mem = jnp.zeros((L + 1, int(d["mem_len"]), d["x1"].shape[1], D), d["x1"].dtype)
    for i in (1, 2):
        y, mem = run(d[f"x{i}"], mem)
        # Upstream's own error, which shows in float64.
        yield Pair(f"y{i}", y, upstream_error=1e-8)
        yield Pair(f"mem_after{i}", mem, upstream_error=1e-8)


def transformer_preln(d) -> Iterator[Pair]:
    H, (D, E), F, L = int(d["n_heads"]), d["l0_Wq"].shape, d["l0_W1"].shape[1], len(by_layer(d))
    options = {"memory": len(d["x"]), "heads": H, "head_size": E // H, "ffn_ratio": F / D, "positions": "sinusoidal"}
    core = make_core("transformer", D, L, key=KEY, **options)
    clock, stack = core.layers
    layers = []
    for layer, p in zip(stack.layers, by_layer(d), strict=True):
        leaves = {
            f"W_qkv__{ours}": jnp.concatenate([p[f"{theirs}{name}"] for name in "qkv"], -1)
            for ours, theirs in (("weight", "W"), ("bias", "b"))
        }
        leaves |= {"W_o__weight": p["Wo"], "W_o__bias": p["bo"]}
        for n in (1, 2):
            leaves |= {f"norm{n}__scale": p[f"ln{n}_scale"], f"norm{n}__bias": p[f"ln{n}_bias"]}
            leaves |= {f"ffn__W_{n}__weight": p[f"W{n}"], f"ffn__W_{n}__bias": p[f"b{n}"]}
        layers.append(put(layer, **leaves))
    core = put(core, layers=(clock, put(stack, layers=tuple(layers))))
    norm = put(LayerNorm(D), scale=d["lnf_scale"], bias=d["lnf_bias"])  # an agent's, not the core's
    for suffix, starts in both(d, d["x"]):
        for form, run in FORMS:
            yield Pair(f"y{suffix}", norm(batched(run, core, d["x"], starts)[1]), form)


def rope(d) -> Iterator[Pair]:
    """Ours turns the pairs (i, i + d/2); with neighbours as pairs it is the same in another order."""
    q = d["q"]
    yield Pair("out_half_split", rotate(q, np.asarray(d["positions"])))
    turned = rotate(jnp.concatenate([q[..., ::2], q[..., 1::2]], -1), np.asarray(d["positions"]))
    yield Pair("out_interleaved", jnp.stack(jnp.split(turned, 2, -1), -1).reshape(q.shape))


CHECKS = {
    "gtrxl_gates": gtrxl_gates,
    "gtrxl_masked_resets": gtrxl_masked_resets,
    "gtrxl_diengine_2seg": gtrxl_diengine_2seg,
    "relattn_transformer_xl": relattn_transformer_xl,
    "transformer_preln": transformer_preln,
    "rope": rope,
}
