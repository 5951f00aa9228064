"""LMU and LMUFormer."""

import numpy as np
import scipy.special

from .common import Draw, Formula, delay, delay_system, gelu, loop, relu

ORDER, THETA = 5, 9.5
SIZES = {"order": ORDER, "theta": THETA}


def memory(m, A, B, u):
    """Of channels u: the coefficients [C, N]."""
    return m @ A.T + u[:, None] * B


def lmu_cell_voelker(draw: Draw, a: int, b: int) -> Formula:
    A, B = delay(ORDER, THETA)

    def run(w, x):
        def step(state, x):
            h, m = state
            m = memory(m, A, B, w["e_x"] @ x + w["e_h"] @ h + w["e_m"] @ m[0])
            h = np.tanh(w["W_x"] @ x + w["W_h"] @ h + w["W_m"] @ m[0])
            return (h, m), h

        (h, m), y = loop(step, (np.zeros(b), np.zeros((1, ORDER))), x)
        return {"y": y}, {"h_final": h, "m_final": m[0]}

    weights = {"e_x": draw(1, a), "e_h": draw(1, b), "e_m": draw(1, ORDER, scale=0.1)}
    return Formula(weights | {"W_x": draw(b, a), "W_h": draw(b, b), "W_m": draw(b, ORDER)}, {"x": (a,)}, run, SIZES)


def lmu_keras_full_cell(draw: Draw, a: int, b: int) -> Formula:
    C = 3
    A, B = delay(ORDER, THETA)

    def run(w, x):
        def step(state, x):
            h, m = state
            u = np.concatenate([x, h]) @ w["kernel"] + w["bias"] + m.reshape(-1) @ w["recurrent_kernel"]
            m = memory(m, A, B, u)
            hidden = np.concatenate([m.reshape(-1), x]) @ w["hidden_kernel"]
            h = np.tanh(hidden + h @ w["hidden_recurrent"] + w["hidden_bias"])
            return (h, m), h

        return {"y": loop(step, (np.zeros(b), np.zeros((C, ORDER))), x)[1]}, {}

    weights = {"A_bar_T": A.T, "B_bar_T": B[None], "kernel": draw(a + b, C), "bias": draw(C)}
    weights |= {"recurrent_kernel": draw(C * ORDER, C, scale=0.1), "hidden_kernel": draw(C * ORDER + a, b)}
    weights |= {"hidden_recurrent": draw(b, b), "hidden_bias": draw(b)}
    return Formula(weights, {"x": (a,)}, run, SIZES | {"memory_d": C})


def parallel(A, B, us, x, W, bias):
    """relu([m, x] W + b), and all m."""

    def step(m, u):
        m = memory(m, A, B, u)
        return m, m.reshape(-1)

    _, ms = loop(step, np.zeros((us.shape[1], len(B))), us)
    return relu(np.concatenate([ms, x], 1) @ W + bias), ms


def lmu_keras_parallel(draw: Draw, a: int, b: int) -> Formula:
    C = 3
    A, B = delay(ORDER, THETA)

    def run(w, x):
        return {"y": parallel(A, B, x @ w["kernel"], x, w["hidden_kernel"], w["hidden_bias"])[0]}, {}

    weights = {"A_bar_T": A.T, "B_bar_T": B[None], "kernel": draw(a, C)}
    weights |= {"hidden_kernel": draw(C * ORDER + a, b), "hidden_bias": draw(b)}
    return Formula(weights, {"x": (a,)}, run, SIZES | {"memory_d": C})


def lmu_parallel_cell(draw: Draw, a: int, b: int) -> Formula:
    """Inputs as wide as outputs."""
    A, B = delay(ORDER, THETA)

    def run(w, x):
        y, ms = parallel(A, B, relu(x @ w["Wu"] + w["bu"]), x, w["Wh"], w["bh"])
        return {"y": y, "m_seq": ms}, {}

    weights = {"Wu": draw(a, 1), "bu": draw(1), "Wh": draw(ORDER + a, a), "bh": draw(a)}
    return Formula(weights, {"x": (a,)}, run, SIZES, resettable=False)


def lmu_matrices(draw, T, B, a, b, resets):
    order = a + b
    A, B_ = delay_system(order, THETA)
    A_bar, B_bar = delay(order, THETA)
    u = draw(T, B)

    def step(m, u):
        m = memory(m, A_bar, B_bar, u)
        return m, m

    impulse = [np.linalg.matrix_power(A_bar, k) @ B_bar for k in range(T)]
    file = {"A": A, "B": B_[:, None], "A_bar": A_bar, "B_bar": B_bar[:, None], "u": u}
    file |= {"A_bar_f32": A_bar.astype(np.float32), "B_bar_f32": B_bar[:, None].astype(np.float32)}
    file |= {"impulse": np.stack(impulse, 1), "m_seq": loop(step, np.zeros((B, order)), u)[1]}
    file |= {"euler_A": np.eye(order) + A, "euler_B": B_[:, None], "decode_r": np.linspace(0, 1, b)}
    decode = scipy.special.eval_legendre(np.arange(order)[:, None], 2 * file["decode_r"] - 1)
    return file | {"decode_matrix": decode, "order": order, "theta": THETA}


def lmu_keras_trainable_theta(draw, T, B, a, b, resets):
    """The gradient by a complex step, which is as exact as the outputs: they depend on θ by Ā and B̄ alone."""
    x, cotangent = draw(T, B, 1), draw(T, B, a)

    def run(inverse):
        A, B_ = delay(a, 1 / inverse)

        def step(m, u):
            m = memory(m, A, B_, u[:, 0])
            return m, m

        return loop(step, np.zeros((B, a)), x.astype(float))[1]

    gradient = (run(1 / THETA + 1e-30j).imag * cotangent).sum() / 1e-30
    return {"x": x, "cotangent": cotangent, "order": a, "theta": THETA, "y": run(1 / THETA), "grad_theta_inv": gradient}


def batch_norm(draw, name, width):
    return {
        f"{name}_mean": draw(width),
        f"{name}_var": np.abs(draw(width, mean=1)),
        f"{name}_scale": draw(width, mean=1),
        f"{name}_bias": draw(width),
    }


def normed(w, name, x):
    return (x - w[f"{name}_mean"]) / np.sqrt(w[f"{name}_var"] + 1e-5) * w[f"{name}_scale"] + w[f"{name}_bias"]


def lmuformer_block(draw: Draw, a: int, b: int) -> Formula:
    """Width a, of the channel mixer b."""
    A, B = delay(ORDER, THETA)

    def run(w, x):
        y, _ = parallel(A, B, relu(x @ w["Wu"] + w["bu"]), x, w["Wh"], w["bh"])
        branch = normed(w, "bnproj", y @ w["Wproj"] + w["bproj"])
        x = x + branch
        ffn = relu(normed(w, "bn2", gelu(normed(w, "bn1", x @ w["W1"] + w["b1"])) @ w["W2"] + w["b2"]))
        return {"y": x + ffn, "y_lmu_branch": branch, "y_ffn_branch": ffn}, {}

    weights = {"Wu": draw(a, 1), "bu": draw(1), "Wh": draw(ORDER + a, a), "bh": draw(a)}
    weights |= {"Wproj": draw(a, a), "bproj": draw(a), "W1": draw(a, b), "b1": draw(b), "W2": draw(b, a), "b2": draw(a)}
    for name, width in (("bnproj", a), ("bn1", b), ("bn2", a)):
        weights |= batch_norm(draw, name, width)
    return Formula(weights, {"x": (a,)}, run, SIZES, resettable=False)


def lmuformer_conv_embed(draw: Draw, a: int, b: int) -> Formula:
    """Widths a, then b, a, b + 2, b."""
    widths = (a, b, a, b + 2, b)

    def conv(x, kernel, ahead):
        x = np.pad(x, ((2 - ahead, ahead), (0, 0)))
        return sum(x[k : k + len(x) - 2] @ kernel[k] for k in range(3))

    def embed(w, x, ahead):
        for i in range(4):
            x = normed(w, f"bn{i}", relu(conv(x, w[f"conv{i}_W"], ahead)))
        return x + conv(x, w["rpe_W"], ahead)

    def run(w, x):
        return {"y_causal": embed(w, x, 0), "y_official_noncausal": embed(w, x, 1)}, {}

    weights = {"rpe_W": draw(3, b, b)}
    for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        weights |= {f"conv{i}_W": draw(3, inputs, outputs)} | batch_norm(draw, f"bn{i}", outputs)
    return Formula(weights, {"x": (a,)}, run, once=("y_official_noncausal",))


def fire(v, x, tau=2.0, threshold=1.0):
    v = v + (x - v) / tau
    s = (v >= threshold).astype(float)
    return (1 - s) * v, s


def lmuformer_lif(draw, T, B, a, b, resets):
    """The gradient backwards in time, none through resets."""
    tau, alpha = 2.5, 4.0
    x, cotangent = draw(T, B, a, scale=2), draw(T, B, a)

    def run(threshold):
        def step(v, x):
            before = v + (x - v) / tau
            v, s = fire(v, x, tau, threshold)
            return v, np.stack([s, v, before])

        return np.moveaxis(loop(step, np.zeros((B, a)), x.astype(float))[1], 1, 0)

    (s, v, before), flow, gradient = run(1.0), np.zeros((B, a)), []
    for t in reversed(range(T)):
        sigma = 1 / (1 + np.exp(-alpha * (before[t] - 1)))
        flow = cotangent[t] * alpha * sigma * (1 - sigma) + (1 - s[t]) * flow  # with respect to the membrane before
        gradient.append(flow / tau)
        flow = flow * (1 - 1 / tau)
    file = {"x": x, "cotangent": cotangent, "tau": tau, "surrogate_alpha": alpha, "spikes": s, "v_after": v}
    return file | {"spikes_thr05": run(0.5)[0], "grad_x": np.stack(gradient[::-1])}


def lmuformer_spiking_lmu(draw: Draw, a: int, b: int) -> Formula:
    A, B = delay(ORDER, THETA)

    def run(w, x):
        def step(state, x):
            v_u, m, v_m, v_h = state
            v_u, u = fire(v_u, normed(w, "bnu", x @ w["Wu"] + w["bu"]))
            m = memory(m, A, B, u)
            v_m, s = fire(v_m, normed(w, "bnm", m.reshape(-1)))
            v_h, y = fire(v_h, normed(w, "bnh", np.concatenate([s, x]) @ w["Wh"] + w["bh"]))
            return (v_u, m, v_m, v_h), y

        return {"y": loop(step, (np.zeros(1), np.zeros((1, ORDER)), np.zeros(ORDER), np.zeros(a)), x)[1]}, {}

    weights = {"Wu": draw(a, 1, scale=2), "bu": draw(1, mean=1), "Wh": draw(ORDER + a, a, scale=2), "bh": draw(a)}
    for name, width in (("bnu", 1), ("bnm", ORDER), ("bnh", a)):
        weights |= batch_norm(draw, name, width)
    weights["bnm_scale"] *= 4
    return Formula(weights, {"x": (a,)}, run, SIZES, spikes=("x",), resettable=False)


FORMULAS = {
    "lmu_cell_voelker": lmu_cell_voelker,
    "lmu_keras_full_cell": lmu_keras_full_cell,
    "lmu_keras_parallel": lmu_keras_parallel,
    "lmu_parallel_cell": lmu_parallel_cell,
    "lmuformer_block": lmuformer_block,
    "lmuformer_conv_embed": lmuformer_conv_embed,
    "lmuformer_spiking_lmu": lmuformer_spiking_lmu,
}
WHOLE = {
    "lmu_matrices": lmu_matrices,
    "lmu_keras_trainable_theta": lmu_keras_trainable_theta,
    "lmuformer_lif": lmuformer_lif,
}
