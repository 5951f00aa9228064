"""Cores against outputs of independent implementations (tests/data/vectors/)."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.gru import GRU
from rlformers.cores.linear_scan import linear_scan
from rlformers.cores.lstm import LSTM
from rlformers.cores.s5 import S5, Config, hippo_eigenbasis

VECTORS = Path(__file__).parents[1] / "data" / "vectors"


def load(name):
    with np.load(VECTORS / f"{name}.npz", allow_pickle=False) as file:
        return {key: jnp.asarray(file[key]) for key in file}


def run(core, x, starts):
    """Over the batch axis of x [T, B, D]."""
    ys = []
    for b in range(x.shape[1]):
        flags = starts if starts.ndim == 1 else starts[:, b]
        ys.append(core.scan(core.initial_state(), x[:, b], flags)[1])
    return jnp.stack(ys, axis=1)


@pytest.mark.parametrize("name", ["gru_torch", "lstm_torch"])
def test_gated(name):
    v = load(name)
    gates = {"gru_torch": 3, "lstm_torch": 4}[name]
    hidden, inputs = v["W_hh"].shape[1], v["W_ih"].shape[1]
    padded = jnp.zeros((hidden, gates * hidden)).at[:inputs].set(v["W_ih"].T)
    x = jnp.pad(v["x"], ((0, 0), (0, 0), (0, hidden - inputs)))  # our cores have inputs of their own width
    if name == "gru_torch":
        core = GRU(hidden, key=jax.random.key(0))
        bias = v["b_ih"] + v["b_hh"].at[2 * hidden :].set(0)
        core = eqx.tree_at(lambda c: (c.c_n, c.W.bias), core, (v["b_hh"][2 * hidden :], bias))
    else:
        core = LSTM(hidden, key=jax.random.key(0))
        core = eqx.tree_at(lambda c: c.W.bias, core, v["b_ih"] + v["b_hh"])
    core = eqx.tree_at(lambda c: (c.W.weight, c.U), core, (padded, v["W_hh"].T))
    resets = v["resets"].astype(bool)
    np.testing.assert_allclose(run(core, x, jnp.zeros_like(resets)), v["y"], atol=5e-6, rtol=1e-5)
    np.testing.assert_allclose(run(core, x, resets), v["y_resets"], atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("method", ["sequential", "associative"])
@pytest.mark.parametrize("form", ["zoh_conj", "zoh_full", "bilinear_conj", "bilinear_full"])
def test_s5_state_space(form, method):
    v = load(f"s5_ssm_{form}")
    discretization, pairs = form.split("_")
    stored, H = v["B"].shape[:2]
    conj = pairs == "conj"
    config = Config(state_size=stored * (2 if conj else 1), conj_sym=conj, discretization=discretization)
    core = S5(H, config, key=jax.random.key(0))
    where = lambda c: (c.Lambda_re, c.Lambda_im, c.B, c.C, c.D, c.log_step)  # noqa: E731
    core = eqx.tree_at(where, core, tuple(v[k] for k in ("Lambda_re", "Lambda_im", "B", "C", "D", "log_step")))
    Lambda_bar, B_bar = core.discretize()
    np.testing.assert_allclose(Lambda_bar, v["Lambda_bar"], atol=5e-6, rtol=1e-5)
    for suffix, starts in (("", jnp.zeros(len(v["x"]), bool)), ("_resets", v["resets"].astype(bool))):
        h0 = core.initial_state().h
        _, states = linear_scan(Lambda_bar, v["x"].astype(B_bar.dtype) @ B_bar.T, starts, h0, method)
        np.testing.assert_allclose(states, v[f"state_seq{suffix}"], atol=5e-6, rtol=1e-5)
        np.testing.assert_allclose(core._read(states) + core.D * v["x"], v[f"y{suffix}"], atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("conj", [True, False])
def test_hippo_eigenbasis_diagonalises_the_normal_part(conj):
    Lambda, V = hippo_eigenbasis(8, 1, conj)
    n = np.arange(8)
    A = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1.0)
    normal = A + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5))
    rebuilt = (V * Lambda) @ V.conj().T
    np.testing.assert_allclose(2 * rebuilt.real if conj else rebuilt, normal, atol=1e-12)
