"""Gated units and matrix memories of language models."""

import numpy as np

from .common import Draw, Formula, loop, sigmoid


def packed(draw, gates, inputs, hidden):
    return {
        "W_ih": draw(gates * hidden, inputs),
        "W_hh": draw(gates * hidden, hidden),
        "b_ih": draw(gates * hidden),
        "b_hh": draw(gates * hidden),
    }


def gru_torch(draw: Draw, a: int, b: int) -> Formula:
    def run(w, x):
        def step(h, x):
            r_x, z_x, n_x = np.split(w["W_ih"] @ x + w["b_ih"], 3)
            r_h, z_h, n_h = np.split(w["W_hh"] @ h + w["b_hh"], 3)
            z = sigmoid(z_x + z_h)
            h = (1 - z) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + z * h
            return h, h

        h, y = loop(step, np.zeros(b), x)
        return {"y": y}, {"h_final": h}

    return Formula(packed(draw, 3, a, b), {"x": (a,)}, run)


def lstm_torch(draw: Draw, a: int, b: int) -> Formula:
    def run(w, x):
        def step(state, x):
            h, c = state
            i, f, g, o = np.split(w["W_ih"] @ x + w["b_ih"] + w["W_hh"] @ h + w["b_hh"], 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            return (h, c), h

        (h, c), y = loop(step, (np.zeros(b), np.zeros(b)), x)
        return {"y": y}, {"h_final": h, "c_final": c}

    return Formula(packed(draw, 4, a, b), {"x": (a,)}, run)


def mingru(draw: Draw, a: int, b: int) -> Formula:
    def run(w, x):
        def step(h, x):
            z, g = sigmoid(x @ w["W_z"]), x @ w["W_h"]
            h = (1 - z) * h + z * np.where(g >= 0, g + 0.5, sigmoid(g))
            return h, h

        h, y = loop(step, np.zeros(b), x)
        return {"y": y}, {"h_final": h}

    return Formula({"W_h": draw(a, b), "W_z": draw(a, b)}, {"x": (a,)}, run)


def linear_attention(draw: Draw, a: int, b: int) -> Formula:
    D, H = 4, 3

    def run(w, x):
        def phi(u):
            return np.where(u > 0, u + 1, np.exp(np.minimum(u, 0)))

        def step(state, x):
            S, n = state
            q, k, v = (np.einsum("d,dhk->hk", x, w[name]) for name in ("Wq", "Wk", "Wv"))
            S, n = S + phi(k)[:, :, None] * v[:, None], n + phi(k)
            return (S, n), np.einsum("hk,hkv->hv", phi(q), S) / (phi(q) * n).sum(-1, keepdims=True)

        (S, n), y = loop(step, (np.zeros((H, a, b)), np.zeros((H, a))), x)
        return {"y": y}, {"S_final": S, "z_final": n}

    return Formula({"Wq": draw(D, H, a), "Wk": draw(D, H, a), "Wv": draw(D, H, b)}, {"x": (D,)}, run)


def mlstm_cell(draw: Draw, a: int, b: int) -> Formula:
    H = 3

    def run(w, q, k, v, i_raw, f_raw):
        def step(state, q, k, v, i, f):
            C, n, m = state
            log_f = -np.logaddexp(0, -f)
            new = np.maximum(log_f + m, i)
            old, write = np.exp(log_f + m - new), np.exp(i - new)
            C = old[:, None, None] * C + write[:, None, None] * k[:, :, None] * v[:, None]
            n = old[:, None] * n + write[:, None] * k
            read, size = np.einsum("hk,hkv->hv", q, C), np.abs((q * n).sum(-1))
            return (C, n, new), read / (np.maximum(size, np.exp(-new)) + 1e-6)[:, None]

        empty = np.zeros((H, a, b)), np.zeros((H, a)), np.full(H, -np.inf)
        (C, n, m), y = loop(step, empty, q / np.sqrt(a), k, v, i_raw, f_raw)
        return {"y": y}, {"C_final": C, "n_final": n, "m_final": m}

    tokens = {"q": (H, a), "k": (H, a), "v": (H, b), "i_raw": (H,), "f_raw": (H,)}
    return Formula({}, tokens, run, {"eps": 1e-6})


FORMULAS = {
    "gru_torch": gru_torch,
    "lstm_torch": lstm_torch,
    "mingru": mingru,
    "linear_attention": linear_attention,
    "mlstm_cell": mlstm_cell,
}
