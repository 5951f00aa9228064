"""Attention."""

import numpy as np

from .common import Draw, Formula, gelu, layer_norm, relu, sigmoid


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def angles(positions, width):
    return np.asarray(positions)[..., None] * 10000.0 ** (-np.arange(0, width, 2) / width)


def heads(x, H):
    """[K, E] to [H, K, d]."""
    return np.swapaxes(x.reshape(len(x), H, -1), 0, 1)


def relative(q, k, v, r, u, w, M):
    """Of T tokens after M: outputs [T, E] and weights [H, T, K]; r(d) is of distances d."""
    H, d = u.shape
    q, k, v = heads(q, H), heads(k, H), heads(v, H)
    T, K = q.shape[1], k.shape[1]
    distance = M + np.arange(T)[:, None] - np.arange(K)
    r = np.stack([heads(r(row), H) for row in np.maximum(distance, 0)], 1)  # [H, T, K, d]
    scores = np.einsum("htd,hkd->htk", q + u[:, None], k) + np.einsum("htd,htkd->htk", q + w[:, None], r)
    weights = softmax(np.where(distance >= 0, scores / np.sqrt(d), -np.inf))
    return np.swapaxes(weights @ v, 0, 1).reshape(T, -1), weights


def sinusoids(d, width):
    return np.concatenate([np.sin(angles(d, width)), np.cos(angles(d, width))], -1)


def relattn_transformer_xl(draw, T, B, a, b, resets):
    H, d, D, M = 3, a, 2 * b, a
    w = {f"W{name}": draw(D, H * d) for name in "qkvr"} | {"Wo": draw(H * d, D), "u": draw(H, d), "v": draw(H, d)}
    w |= {"ln_scale": draw(D, mean=1), "ln_bias": draw(D)}
    x, mem = draw(T, B, D), draw(M, B, D)
    p = {name: array.astype(float) for name, array in w.items()}

    def run(x, mem):
        c = layer_norm(np.concatenate([mem, x]).astype(float), p["ln_scale"], p["ln_bias"])
        q, k, v = c[len(mem) :] @ p["Wq"], c @ p["Wk"], c @ p["Wv"]
        y, weights = relative(q, k, v, lambda d: sinusoids(d, D) @ p["Wr"], p["u"], p["v"], len(mem))
        return y @ p["Wo"], weights

    with_memory, without = ([run(x[:, i], m[:, i]) for i in range(B)] for m in (mem, mem[:0]))
    file = w | {"x": x, "mem": mem, "n_heads": H, "attn_prob_mem": np.stack([weights for _, weights in with_memory])}
    for name, runs in (("mem", with_memory), ("nomem", without)):
        file |= dict.fromkeys((f"y_{name}", f"y_{name}_official"), np.stack([y for y, _ in runs], 1))
    return file


def gru_gate(w, name, x, y):
    W = {key: w[name + key] for key in ("Wr", "Ur", "Wz", "Uz", "Wg", "Ug", "bg")}
    r, z = sigmoid(y @ W["Wr"] + x @ W["Ur"]), sigmoid(y @ W["Wz"] + x @ W["Uz"] - W["bg"])
    return (1 - z) * x + z * np.tanh(y @ W["Wg"] + (r * x) @ W["Ug"])


def gtrxl_gates(draw, T, B, a, b, resets):
    w = {name: draw(a, a) for name in ("Wr", "Ur", "Wz", "Uz", "Wg", "Ug")} | {"bg": draw(a)}
    x, y = draw(T, a), draw(T, a)
    g, u, bg = x @ w["Wg"].astype(float), y @ w["Ug"].astype(float), w["bg"].astype(float)
    out = {"gru": gru_gate({k: v.astype(float) for k, v in w.items()}, "", x, y), "input": sigmoid(g) * x + y}
    out |= {"output": x + sigmoid(g - bg) * y, "highway": sigmoid(g + bg) * x + (1 - sigmoid(g + bg)) * y}
    out["sigtanh"] = x + sigmoid(y @ w["Wg"].astype(float) - bg) * np.tanh(u)
    return w | {"x": x, "y": y} | {f"out_{name}": array for name, array in out.items()}


def gtrxl_weights(draw, D, H, d, F, L, inputs):
    w = {"embed_W": draw(inputs, D), "embed_b": draw(D), "u": draw(H, d), "v": draw(H, d)}
    for i in range(L):
        layer = {f"W{name}": draw(D, H * d) for name in "qkvr"} | {f"b{name}": draw(H * d) for name in "qkvr"}
        layer |= {"Wo": draw(H * d, D), "bo": draw(D)}
        for n in (1, 2):
            layer |= {f"ln{n}_scale": draw(D, mean=1), f"ln{n}_bias": draw(D)}
            layer |= {f"gate{n}_{name}": draw(D, D) for name in ("Wr", "Ur", "Wz", "Uz", "Wg", "Ug")}
            layer |= {f"gate{n}_bg": draw(D)}
        layer |= {"mlp_W1": draw(D, F), "mlp_b1": draw(F), "mlp_W2": draw(F, D), "mlp_b2": draw(D)}
        w |= {f"l{i}_{name}": array for name, array in layer.items()}
    return w


def gtrxl_layer(w, i, tokens, e, legacy):
    """The outputs [T, D] of e, the last T of the tokens; the first ones are seen as well."""
    p = {name.removeprefix(f"l{i}_"): array for name, array in w.items() if name.startswith(f"l{i}_")}
    D = e.shape[-1]
    c = layer_norm(tokens, p["ln1_scale"], p["ln1_bias"])
    q = (e if legacy else c[len(tokens) - len(e) :]) @ p["Wq"] + p["bq"]
    k, v = c @ p["Wk"] + p["bk"], c @ p["Wv"] + p["bv"]
    a, _ = relative(q, k, v, lambda d: sinusoids(d, D) @ p["Wr"] + p["br"], w["u"], w["v"], len(tokens) - len(e))
    o = gru_gate(p, "gate1_", e, relu(a @ p["Wo"] + p["bo"]))
    f = relu(layer_norm(o, p["ln2_scale"], p["ln2_bias"]) @ p["mlp_W1"] + p["mlp_b1"]) @ p["mlp_W2"] + p["mlp_b2"]
    return gru_gate(p, "gate2_", o, relu(f))


def gtrxl_diengine_2seg(draw, T, B, a, b, resets):
    D, H, d, F, L, M = 6, 2, a, b, 2, 5
    w = gtrxl_weights(draw, D, H, d, F, L, a)
    p = {name: array.astype(float) for name, array in w.items()}
    file, mem = w | {"n_heads": H, "mem_len": M}, np.zeros((L + 1, M, B, D))
    for i in (1, 2):
        x = draw(T + i, B, a)
        streams = [relu(x @ p["embed_W"] + p["embed_b"])]
        for n in range(L):
            e = streams[-1]
            rows = [gtrxl_layer(p, n, np.concatenate([mem[n], e])[:, j], e[:, j], True) for j in range(B)]
            streams.append(np.stack(rows, 1))
        mem = np.concatenate([mem, np.stack(streams)], 1)[:, -M:]
        file |= {f"x{i}": x, f"y{i}": streams[-1], f"mem_after{i}": mem}
    return file


def gtrxl_masked_resets(draw, T, B, a, b, resets):
    """Token by token, with lists."""
    D, H, d, F, L, M = 6, 2, a, b, 2, 3
    w = gtrxl_weights(draw, D, H, d, F, L, a)
    p = {name: array.astype(float) for name, array in w.items()}
    x, split = draw(T, B, a), max(T // 2, 1)
    starts = np.broadcast_to(resets.reshape(T, -1), (T, B))
    y, states = np.zeros((T, B, D)), {}
    for j in range(B):
        memories = [[] for _ in range(L)]
        for t in range(T):
            memories = [[] for _ in range(L)] if starts[t, j] else memories
            e = relu(x[t, j] @ p["embed_W"] + p["embed_b"])
            for n in range(L):
                tokens = np.stack([*memories[n], e])
                memories[n] = list(tokens)[-M:]
                e = gtrxl_layer(p, n, tokens, e[None], False)[0]
            y[t, j] = e
            rows = [np.concatenate([np.zeros((M - len(m), D)), np.stack(m)]) for m in memories]
            states[t, j] = np.stack(rows), len(memories[0])
    file = w | {"x": x, "resets": resets, "y": y, "n_heads": H, "mem_len": M}
    for name, t in (("final", T - 1), (f"after{split}", split - 1)):
        mem, valid = zip(*(states[t, j] for j in range(B)), strict=True)
        file |= {f"mem_{name}": np.stack(mem), f"valid_{name}": np.array(valid)}
    return file


def transformer_preln(draw: Draw, a: int, b: int) -> Formula:
    D, H, d, F, L = 4, 2, a, b, 3
    w = {"lnf_scale": draw(D, mean=1), "lnf_bias": draw(D)}
    for i in range(L):
        layer = {f"W{name}": draw(D, H * d) for name in "qkv"} | {f"b{name}": draw(H * d) for name in "qkv"}
        layer |= {"Wo": draw(H * d, D), "bo": draw(D), "W1": draw(D, F), "b1": draw(F), "W2": draw(F, D), "b2": draw(D)}
        for n in (1, 2):
            layer |= {f"ln{n}_scale": draw(D, mean=1), f"ln{n}_bias": draw(D)}
        w |= {f"l{i}_{name}": array for name, array in layer.items()}

    def run(w, x):
        t = angles(np.arange(len(x)), D)
        x = x + np.stack([np.sin(t), np.cos(t)], -1).reshape(len(x), -1)
        past = np.tri(len(x), dtype=bool)
        for i in range(L):
            p = {name.removeprefix(f"l{i}_"): array for name, array in w.items() if name.startswith(f"l{i}_")}
            c = layer_norm(x, p["ln1_scale"], p["ln1_bias"])
            q, k, v = (heads(c @ p[f"W{name}"] + p[f"b{name}"], H) for name in "qkv")
            weights = softmax(np.where(past, q @ np.swapaxes(k, 1, 2) / np.sqrt(d), -np.inf))
            x = x + np.swapaxes(weights @ v, 0, 1).reshape(len(x), -1) @ p["Wo"] + p["bo"]
            c = layer_norm(x, p["ln2_scale"], p["ln2_bias"])
            x = x + gelu(c @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        return {"y": layer_norm(x, w["lnf_scale"], w["lnf_bias"])}, {}

    return Formula(w, {"x": (D,)}, run, {"n_heads": H})


def rope(draw, T, B, a, b, resets):
    q = draw(T, B, 2 * a)
    positions = 7 * np.arange(T) + b
    turn = np.exp(1j * angles(positions, 2 * a))[:, None]
    near = (q[..., ::2] + 1j * q[..., 1::2]) * turn
    far = (q[..., :a] + 1j * q[..., a:]) * turn
    file = {"q": q, "positions": positions, "out_interleaved": np.stack([near.real, near.imag], -1).reshape(q.shape)}
    return file | {"out_half_split": np.concatenate([far.real, far.imag], -1)}


FORMULAS = {"transformer_preln": transformer_preln}
WHOLE = {
    "relattn_transformer_xl": relattn_transformer_xl,
    "gtrxl_gates": gtrxl_gates,
    "gtrxl_diengine_2seg": gtrxl_diengine_2seg,
    "gtrxl_masked_resets": gtrxl_masked_resets,
    "rope": rope,
}
