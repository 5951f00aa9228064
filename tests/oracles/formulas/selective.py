"""Selective state spaces."""

import numpy as np

from .common import Draw, Formula, loop, rms_norm, sigmoid, silu, softplus


def mamba_s6_scan(draw: Draw, a: int, b: int) -> Formula:
    def run(w, u, delta_raw, B, C, z):
        def step(h, u, dt, B, C):
            h = np.exp(dt[:, None] * w["A"]) * h + (dt * u)[:, None] * B
            return h, h @ C + w["D"] * u

        h, s = loop(step, np.zeros((a, b)), u, softplus(delta_raw + w["delta_bias"]), B, C)
        return {"y": s * silu(z)}, {"h_final": h}

    weights = {"A": -np.exp(draw(a, b)).astype(np.float32), "D": draw(a), "delta_bias": draw(a)}
    return Formula(weights, {"u": (a,), "delta_raw": (a,), "B": (b,), "C": (b,), "z": (a,)}, run)


def causal_conv(xs, weight, bias):
    """The outputs, and the last inputs."""
    past = np.concatenate([np.zeros((len(weight) - 1, xs.shape[1])), xs])
    ys = bias + sum(w * past[k : k + len(xs)] for k, w in enumerate(weight))
    return ys, past[len(past) - len(weight) + 1 :]


def mamba_block(draw: Draw, a: int, b: int) -> Formula:
    N, R, K = 3, 2, 3

    def run(w, x):
        u, z = np.split(x @ w["in_proj"], 2, axis=-1)
        u, past = causal_conv(u, w["conv_W"], w["conv_b"])
        u = silu(u)
        deltas, B, C = np.split(u @ w["x_proj"], (R, R + N), axis=-1)

        def step(h, u, dt, B, C):
            h = np.exp(-dt[:, None] * np.exp(w["A_log"])) * h + (dt * u)[:, None] * B
            return h, h @ C + w["D"] * u

        h, s = loop(step, np.zeros((b, N)), u, softplus(deltas @ w["dt_proj_W"] + w["dt_proj_b"]), B, C)
        return {"y": (s * silu(z)) @ w["out_proj"]}, {"ssm_state": h, "conv_state": past}

    weights = {"in_proj": draw(a, 2 * b), "conv_W": draw(K, b), "conv_b": draw(b), "x_proj": draw(b, R + 2 * N)}
    weights |= {"dt_proj_W": draw(R, b), "dt_proj_b": draw(b), "A_log": draw(b, N), "D": draw(b)}
    return Formula(weights | {"out_proj": draw(b, a)}, {"x": (a,)}, run, axes={"conv_state": 1})


def mamba2_ssd(draw: Draw, a: int, b: int) -> Formula:
    H = 2

    def run(w, X, dt, B, C, h0):
        def step(h, X, dt, B, C):
            h = np.exp(dt * w["A"])[:, None, None] * h + (dt[:, None] * X)[:, :, None] * B[:, None]
            return h, np.einsum("hpn,hn->hp", h, C)

        h, y = loop(step, h0, X, dt, B, C)
        return {"y": y}, {"h_final": h}

    tokens = {"X": (H, a), "dt": (H,), "B": (H, b), "C": (H, b)}
    return Formula({"A": -np.abs(draw(H))}, tokens, run, signs={"dt": 1}, first={"h0": (H, a, b)})


def mamba2_block(draw: Draw, a: int, b: int) -> Formula:
    D, (H, G, P, N, K) = a, (4, 2, b, 3, 3)
    E = H * P

    def run(w, x):
        z, uBC, dt = np.split(x @ w["in_proj"], (E, 2 * E + 2 * G * N), axis=-1)
        uBC, past = causal_conv(uBC, w["conv_W"], w["conv_b"])
        u, B, C = np.split(silu(uBC), (E, E + G * N), axis=-1)
        B, C = (np.repeat(m.reshape(-1, G, N), H // G, axis=1) for m in (B, C))

        def step(h, u, dt, B, C):
            decay = np.exp(-np.exp(w["A_log"]) * dt)
            h = decay[:, None, None] * h + (dt[:, None] * u)[:, :, None] * B[:, None]
            return h, np.einsum("hpn,hn->hp", h, C) + w["D"][:, None] * u

        h, s = loop(step, np.zeros((H, P, N)), u.reshape(-1, H, P), softplus(dt + w["dt_bias"]), B, C)
        gated = (s.reshape(len(x), E) * silu(z)).reshape(-1, G, E // G)
        y = rms_norm(gated).reshape(len(x), E) * w["norm_w"]
        return {"y": y @ w["out_proj"]}, {"ssm_state": h, "conv_state": past}

    channels = E + 2 * G * N
    weights = {"in_proj": draw(D, E + channels + H), "conv_W": draw(K, channels), "conv_b": draw(channels)}
    weights |= {"dt_bias": draw(H), "A_log": draw(H), "D": draw(H), "norm_w": draw(E, mean=1), "out_proj": draw(E, D)}
    sizes = {"n_heads": H, "head_dim": P, "d_state": N, "n_groups": G}
    return Formula(weights, {"x": (D,)}, run, sizes, {"conv_state": 1})


def rotated(x, angles):
    """The first pairs of neighbours turned, the others as they are."""
    z = x[..., ::2] + 1j * x[..., 1::2]
    z[..., : angles.shape[-1]] *= np.exp(1j * angles)
    return np.stack([z.real, z.imag], -1).reshape(x.shape)


def mamba3(q, k, v, log_decay, dt, mix, phi):
    """Of one memory, all per head: the outputs S q, and the last states."""
    angles = np.cumsum(np.pi * np.tanh(phi) * dt[..., None], axis=0)
    q, k = rotated(q, angles), rotated(k, angles)

    def step(state, q, k, v, log_decay, dt, mix):
        S, k_old, v_old = state
        decay = np.exp(log_decay)
        old, new = ((1 - mix) * dt * decay)[:, None, None], (mix * dt)[:, None, None]
        S = decay[:, None, None] * S + old * v_old[:, :, None] * k_old[:, None] + new * v[:, :, None] * k[:, None]
        return (S, k, v), np.einsum("hpn,hn->hp", S, q)

    (H, N), P = k.shape[1:], v.shape[-1]
    empty = np.zeros((H, P, N)), np.zeros((H, N)), np.zeros((H, P))
    (S, k, v), y = loop(step, empty, q, k, v, log_decay, dt, mix)
    return y, {"angle_final": angles[-1] % (2 * np.pi), "ssm_final": S, "k_final": k, "v_final": v}


def mamba3_siso(draw: Draw, a: int, b: int) -> Formula:
    H, N, R, P = 2, 2 * a, min(a, 2), b

    def run(w, Q, K, V, ADT, DT, trap_logit, angle_raw, Z):
        s, last = mamba3(Q + w["q_bias"], K + w["k_bias"], V, ADT, DT, sigmoid(trap_logit), angle_raw)
        return {"y": (s + w["D"][:, None] * V) * silu(Z)}, last

    tokens = {"Q": (1, N), "K": (1, N), "V": (H, P), "trap_logit": (H,), "angle_raw": (H, R), "Z": (H, P)}
    tokens |= {"DT": (H,), "ADT": (H,)}
    weights = {"q_bias": draw(H, N), "k_bias": draw(H, N), "D": draw(H)}
    return Formula(weights, tokens, run, signs={"DT": 1, "ADT": -1})


def mamba3_block(draw: Draw, a: int, b: int) -> Formula:
    D, (H, N, R, P) = a, (2, 6, 2, b)
    E = H * P

    def run(w, x):
        z, v, B, C, delta, A, trap, phi = np.split(x @ w["in_proj"], np.cumsum((E, E, N, N, H, H, H)), axis=-1)
        v = v.reshape(-1, H, P)
        k, q = (rms_norm(m, w[f"{n}_norm"])[:, None] + w[f"{n}_bias"] for m, n in ((B, "B"), (C, "C")))
        dt = softplus(delta + w["dt_bias"])
        A = np.minimum(-np.where(A >= 0, 1 + A, 1 / (1 - np.minimum(A, 0))), -1e-4)
        s, last = mamba3(q, k, v, A * dt, dt, sigmoid(trap), np.repeat(phi[:, None], H, axis=1))
        return {"y": ((s + w["D"][:, None] * v).reshape(-1, E) * silu(z)) @ w["out_proj"]}, last

    weights = {"in_proj": draw(D, 2 * E + 2 * N + 3 * H + R), "dt_bias": draw(H), "D": draw(H), "out_proj": draw(E, D)}
    for n in "BC":
        weights |= {f"{n}_bias": draw(H, N), f"{n}_norm": draw(N, mean=1)}
    return Formula(weights, {"x": (D,)}, run, {"d_state": N, "head_dim": P, "n_rope_angles": R})


FORMULAS = {
    "mamba_s6_scan": mamba_s6_scan,
    "mamba_block": mamba_block,
    "mamba2_ssd": mamba2_ssd,
    "mamba2_block": mamba2_block,
    "mamba3_siso": mamba3_siso,
    "mamba3_block": mamba3_block,
}
