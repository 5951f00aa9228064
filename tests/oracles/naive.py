"""The papers' recurrences, one token at a time, in float64 NumPy: no batches, no masks, no caches.

Parameters are read from our modules by name; nothing else of the library is used. autograd can differentiate it.
"""

import autograd.numpy as np


def f64(x):
    return np.array(x, np.complex128 if np.iscomplexobj(x) else np.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def dense(linear, x):
    y = x @ f64(linear.weight)
    return y if linear.bias is None else y + f64(linear.bias)


def layer_norm(norm, x):
    return (x - x.mean()) / np.sqrt(x.var() + norm.eps) * f64(norm.scale) + f64(norm.bias)


def gru(layer, xs, starts, h):
    """Cho et al. 2014, as torch documents it."""
    W, b, U, c = (f64(a) for a in (layer.W.weight, layer.W.bias, layer.U, layer.c_n))
    D = len(c)
    (W_r, W_z, W_n), (U_r, U_z, U_n), (b_r, b_z, b_n) = (
        (a[..., :D], a[..., D : 2 * D], a[..., 2 * D :]) for a in (W, U, b)
    )
    ys = []
    for x, start in zip(f64(xs), starts, strict=True):
        h = np.zeros(D) if start else h
        r = sigmoid(x @ W_r + b_r + h @ U_r)
        z = sigmoid(x @ W_z + b_z + h @ U_z)
        n = np.tanh(x @ W_n + b_n + r * (h @ U_n + c))
        h = (1 - z) * n + z * h
        ys.append(h)
    return np.stack(ys), h


def lstm(layer, xs, starts, c, h):
    """Hochreiter & Schmidhuber 1997 with a forget gate, as torch documents it."""
    D = len(c)
    ys = []
    for x, start in zip(f64(xs), starts, strict=True):
        c, h = (np.zeros(D), np.zeros(D)) if start else (c, h)
        i, f, g, o = np.split(dense(layer.W, x) + h @ f64(layer.U), 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return np.stack(ys), c, h


def s5(layer, xs, starts, h):
    """Smith et al. 2023, section 3, with zero-order hold or the bilinear rule."""
    Lambda = np.minimum(f64(layer.Lambda_re), -1e-4) + 1j * f64(layer.Lambda_im)
    B = f64(layer.B) @ np.array([1, 1j])
    C = f64(layer.C) @ np.array([1, 1j])
    dt = np.exp(f64(layer.log_step))
    if layer.config.discretization == "zoh":
        Lambda_bar = np.exp(Lambda * dt)
        B_bar = ((Lambda_bar - 1) / Lambda)[:, None] * B
    else:
        Lambda_bar = (1 + dt / 2 * Lambda) / (1 - dt / 2 * Lambda)
        B_bar = (dt / (1 - dt / 2 * Lambda))[:, None] * B
    ys = []
    for x, start in zip(f64(xs), starts, strict=True):
        u = layer_norm(layer.norm, x)
        h = Lambda_bar * (np.zeros_like(h) if start else h) + B_bar @ u
        s = (2 if layer.config.conj_sym else 1) * (C @ h).real + f64(layer.D) * u
        match layer.config.activation:
            case "gelu":
                s = gelu(s)
            case "half_glu1":
                s = gelu(s) * sigmoid(dense(layer.out2, gelu(s)))
            case "half_glu2":
                s = s * sigmoid(dense(layer.out2, gelu(s)))
            case "full_glu":
                s = dense(layer.out1, gelu(s)) * sigmoid(dense(layer.out2, gelu(s)))
        ys.append(x + s)
    return np.stack(ys), h


def gate(g, x, y):
    """Parisotto et al. 2019, section 3.2."""
    D = len(x)
    W, U, b = (None if a is None else f64(a) for a in (g.W, g.U, g.b))
    match g.kind:
        case "gru":
            r = sigmoid(y @ W[:, :D] + x @ U[:, :D])
            z = sigmoid(y @ W[:, D : 2 * D] + x @ U[:, D : 2 * D] - b)
            h = np.tanh(y @ W[:, 2 * D :] + (r * x) @ U[:, 2 * D :])
            return (1 - z) * x + z * h
        case "input":
            return sigmoid(x @ U) * x + y
        case "output":
            return x + sigmoid(x @ U - b) * y
        case "highway":
            return sigmoid(x @ U + b) * x + (1 - sigmoid(x @ U + b)) * y
        case "sigtanh":
            return x + sigmoid(y @ W[:, :D] - b) * np.tanh(y @ W[:, D:])
    return x + y


def position(d, D):
    """Dai et al. 2019: all sines, then all cosines."""
    angles = d * 10000.0 ** (-np.arange(0, D, 2) / D)
    return np.concatenate([np.sin(angles), np.cos(angles)])


def gtrxl(core, xs, starts):
    """Parisotto et al. 2019; the memory of every layer is a list. From the empty memory."""
    L = len(core.layers)
    memories = [[] for _ in range(L)]
    ys = []
    for x, start in zip(f64(xs), starts, strict=True):
        memories = [[] for _ in range(L)] if start else memories
        e = x
        for i, layer in enumerate(core.layers):
            tokens = [*memories[i], e]
            memories[i] = tokens[-layer.M :]
            e = gtrxl_layer(layer, tokens)
        ys.append(e)
    return np.stack(ys), memories


def gtrxl_layer(layer, tokens):
    """The output at the last of the tokens, which sees all of them."""
    E, D, H = layer.W_o.weight.shape[0], len(tokens[0]), layer.H
    d_h = E // H
    W_q, W_k, W_v = np.split(f64(layer.W_qkv.weight), 3, axis=1)
    c = [layer_norm(layer.norm1, e) for e in tokens]
    u, w, heads = f64(layer.u), f64(layer.w), []
    for i in range(H):
        columns = slice(i * d_h, (i + 1) * d_h)
        q = c[-1] @ W_q[:, columns]
        scores = []
        for j, c_j in enumerate(c):
            r = position(len(c) - 1 - j, D) @ f64(layer.r.W.weight)[:, columns]
            scores.append(((q + u[i]) @ (c_j @ W_k[:, columns]) + (q + w[i]) @ r) / np.sqrt(d_h))
        weights = np.exp(np.array(scores) - np.max(np.array(scores)))
        weights = weights / weights.sum()
        heads.append(sum(p * (c_j @ W_v[:, columns]) for p, c_j in zip(weights, c, strict=True)))
    o = gate(layer.gate1, tokens[-1], np.maximum(dense(layer.W_o, np.concatenate(heads)), 0))
    f = dense(layer.W_2, np.maximum(dense(layer.W_1, layer_norm(layer.norm2, o)), 0))
    return gate(layer.gate2, o, np.maximum(f, 0))
