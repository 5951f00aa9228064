"""State spaces that are time-invariant."""

import numpy as np

from .common import Draw, Formula, complex_of, gelu, layer_norm, loop, sigmoid


def lru(draw: Draw, a: int, b: int) -> Formula:
    P = 4

    def run(w, x):
        decay = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))

        def step(h, x):
            h = decay * h + np.exp(w["gamma_log"]) * (w["B"] @ x)
            return h, (w["C"] @ h).real + w["D"] @ x

        h, y = loop(step, np.zeros(P, complex), x)
        return {"y": y}, {"h_final": h}

    weights = {name: draw(P) for name in ("nu_log", "theta_log", "gamma_log")}
    weights |= {"B": draw(P, a) + 1j * draw(P, a), "C": draw(b, P) + 1j * draw(b, P), "D": draw(b, a)}
    return Formula(weights, {"x": (a,)}, run)


def s4d_layer(draw: Draw, a: int, b: int) -> Formula:
    def run(w, x):
        A = -np.exp(w["log_A_real"]) + 1j * w["A_imag"]
        decay = np.exp(A * np.exp(w["log_dt"])[:, None])

        def step(h, x):
            h = decay * h + (decay - 1) / A * x[:, None]
            s = gelu(2 * (complex_of(w["C"]) * h).sum(-1).real + w["D"] * x)
            z, gate = np.split(s @ w["W_out"] + w["b_out"], 2)
            return h, z * sigmoid(gate)

        h, y = loop(step, np.zeros((a, b), complex), x)
        return {"y": y}, {"h_final": h}

    weights = {"log_dt": draw(a, mean=-2), "log_A_real": draw(a, b), "A_imag": draw(a, b, scale=3), "C": draw(a, b, 2)}
    return Formula(weights | {"D": draw(a), "W_out": draw(a, 2 * a), "b_out": draw(2 * a)}, {"x": (a,)}, run)


def ffm(draw: Draw, a: int, b: int) -> Formula:
    M, C = 3, 2

    def run(w, x):
        decay = np.exp(w["alpha"][:, None] + 1j * w["omega"])

        def step(S, x):
            def affine(name, x=x):
                return x @ w[f"W_{name}"] + w[f"b_{name}"]

            S = decay * S + (affine("pre") * sigmoid(affine("ing")))[:, None]
            z = layer_norm(affine("mix", np.stack([S.real, S.imag], -1).reshape(-1)))
            o = sigmoid(affine("outg"))
            return S, z * o + affine("skip") * (1 - o)

        S, y = loop(step, np.zeros((M, C), complex), x)
        return {"y": y}, {"h_final": S}

    weights = {"alpha": -np.abs(draw(M)), "omega": draw(C)}
    for name, i, o in (("pre", a, M), ("ing", a, M), ("outg", a, b), ("skip", a, b), ("mix", 2 * M * C, b)):
        weights |= {f"W_{name}": draw(i, o), f"b_{name}": draw(o)}
    return Formula(weights, {"x": (a,)}, run)


def s5_weights(draw, H, P):
    return {
        "Lambda_re": -np.abs(draw(P, mean=1)),
        "Lambda_im": draw(P, scale=3),
        "B": draw(P, H, 2),
        "C": draw(H, P, 2),
        "D": draw(H),
        "log_step": draw(P, mean=-2),
    }


def s5_states(w, x, bilinear, h):
    """Λ̄, B̄ and all states."""
    w = {name: w[name].astype(np.float64) for name in ("Lambda_re", "Lambda_im", "log_step", "B")}
    Lambda, dt = w["Lambda_re"] + 1j * w["Lambda_im"], np.exp(w["log_step"])
    q = 1 / (1 - dt / 2 * Lambda)
    decay = q * (1 + dt / 2 * Lambda) if bilinear else np.exp(Lambda * dt)
    B = (q * dt if bilinear else (decay - 1) / Lambda)[:, None] * complex_of(w["B"])

    def step(h, x):
        h = decay * h + B @ x
        return h, h

    return decay, B, loop(step, h, x)[1]


def s5_ssm(bilinear, factor):
    def make(draw: Draw, a: int, b: int) -> Formula:
        def run(w, x):
            _, _, states = s5_states(w, x, bilinear, np.zeros(b))
            return {"y": factor * (states @ complex_of(w["C"]).T).real + w["D"] * x, "state_seq": states}, {}

        w = s5_weights(draw, a, b)
        decay, B, _ = s5_states(w, np.zeros((1, a)), bilinear, np.zeros(b))
        return Formula(w | {"Lambda_bar": decay, "B_bar": B}, {"x": (a,)}, run)

    return make


def s5_resettable_carry(draw, T, B, a, b, resets):
    w, x, h0 = s5_weights(draw, a, b), draw(T, a), draw(b) + 1j * draw(b)
    h, states = h0, []
    for t in range(T):
        h = s5_states(w, x[t : t + 1], False, np.zeros(b) if resets[t] else h)[2][0]
        states.append(h)
    y = 2 * (np.stack(states) @ complex_of(w["C"]).T).real + w["D"].astype(float) * x
    return w | {"x": x, "resets": resets, "h0": h0, "y": y, "h_final": h}


def s5_init_hippo(draw, T, B, a, b, resets):
    n = np.arange(2 * a)
    p = np.sqrt(n + 0.5)
    A = -np.tril(2 * np.outer(p, p), -1) - np.diag(n + 1.0)
    S = A + np.outer(p, p)
    values = np.linalg.eigvals(S)
    values = values[np.argsort(values.imag)]
    file = {"A_hippo": A, "P_lowrank": p, "B_hippo": np.sqrt(2 * n + 1.0), "normal_part": S, "Lambda": values}
    return file | {"Lambda_half_conj": values[:a], "V_times_Vh": np.eye(2 * a) + 0j}


def s5_layer(activation):
    def g(x):  # flax's
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def make(draw: Draw, a: int, b: int) -> Formula:
        def run(w, x):
            ssm = {name.removeprefix("ssm_"): array for name, array in w.items()}
            u = layer_norm(x, w["ln_scale"], w["ln_bias"], 1e-6)
            s = 2 * (s5_states(ssm, u, False, np.zeros(b))[2] @ complex_of(ssm["C"]).T).real + ssm["D"] * u
            match activation:
                case "gelu":
                    s = g(s)
                case "half_glu1":
                    s = g(s) * sigmoid(g(s) @ w["out2_W"] + w["out2_b"])
                case "half_glu2":
                    s = s * sigmoid(g(s) @ w["out2_W"] + w["out2_b"])
                case "full_glu":
                    s = (g(s) @ w["out1_W"] + w["out1_b"]) * sigmoid(g(s) @ w["out2_W"] + w["out2_b"])
            return {"y": x + s}, {}

        weights = {f"ssm_{name}": array for name, array in s5_weights(draw, a, b).items()}
        weights |= {"ln_scale": draw(a, mean=1), "ln_bias": draw(a)}
        for out in {"gelu": (), "full_glu": ("out1", "out2")}.get(activation, ("out2",)):
            weights |= {f"{out}_W": draw(a, a), f"{out}_b": draw(a)}
        return Formula(weights, {"x": (a,)}, run)

    return make


FORMULAS = {
    "lru": lru,
    "s4d_layer": s4d_layer,
    "ffm": ffm,
    "s5_ssm_zoh_conj": s5_ssm(False, 2),
    "s5_ssm_zoh_full": s5_ssm(False, 1),
    "s5_ssm_bilinear_conj": s5_ssm(True, 2),
    "s5_ssm_bilinear_full": s5_ssm(True, 1),
    **{f"s5_layer_{activation}": s5_layer(activation) for activation in ("half_glu1", "half_glu2", "full_glu", "gelu")},
}
WHOLE = {"s5_resettable_carry": s5_resettable_carry, "s5_init_hippo": s5_init_hippo}
