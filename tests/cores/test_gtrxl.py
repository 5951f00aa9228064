"""What is particular to GTrXL, and the blocks of attention behind it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core
from rlformers.cores import attention
from rlformers.cores.gtrxl import GATES, Config, Gate

M, D = 6, 8


def make(num_layers=1, **options):
    options = {"memory": M, "heads": 2} | options
    return make_core("gtrxl", D, num_layers, key=jax.random.key(0), **options)


def tokens(T, seed=1):
    return jax.random.normal(jax.random.key(seed), (T, D))


@jax.jit
def run(core, xs):
    return core.scan(core.initial_state(), xs, jnp.zeros(len(xs), bool))


@pytest.mark.parametrize("kind", GATES)
def test_gate_is_its_formula(kind):
    gate = Gate(kind, D, 2.0, key=jax.random.key(0))
    x, y = tokens(2)
    sigmoid = jax.nn.sigmoid
    parts = [None if matrix is None else jnp.split(matrix, matrix.shape[1] // D, axis=1) for matrix in (gate.W, gate.U)]
    match kind, parts:
        case "gru", [[W_r, W_z, W_h], [U_r, U_z, U_h]]:
            z = sigmoid(y @ W_z + x @ U_z - 2)
            expected = (1 - z) * x + z * jnp.tanh(y @ W_h + (sigmoid(y @ W_r + x @ U_r) * x) @ U_h)
        case "input", [None, [U]]:
            expected = sigmoid(x @ U) * x + y
        case "output", [None, [U]]:
            expected = x + sigmoid(x @ U - 2) * y
        case "highway", [None, [U]]:
            expected = sigmoid(x @ U + 2) * x + (1 - sigmoid(x @ U + 2)) * y
        case "sigtanh", [[W, U], None]:
            expected = x + sigmoid(y @ W - 2) * jnp.tanh(y @ U)
        case "none", [None, None]:
            expected = x + y
    np.testing.assert_allclose(gate(x, y), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "output", "highway", "sigtanh"])
def test_a_large_gate_bias_makes_the_identity(kind):
    xs = tokens(10)
    _, ys = run(make(2, gate=kind, gate_bias=20.0), xs)
    np.testing.assert_allclose(ys, xs, atol=1e-5)


def test_new_gru_gates_are_near_the_identity():
    xs = tokens(50)
    _, gated = run(make(gate="gru"), xs)
    _, residual = run(make(gate="none"), xs)
    assert jnp.abs(gated - xs).mean() < 0.5 * jnp.abs(xs).mean()
    assert jnp.abs(gated - xs).mean() < 0.5 * jnp.abs(residual - xs).mean()


@pytest.mark.parametrize("T", [20, 75])
def test_window_is_the_last_M_tokens(T):
    core, xs = make(), tokens(T)
    _, ys = run(core, xs)
    outside = run(core, xs.at[T - 1 - M - 1].multiply(-1))[1]
    inside = run(core, xs.at[T - 1 - M].multiply(-1))[1]
    np.testing.assert_array_equal(outside[-1], ys[-1])
    assert jnp.abs(inside[-1] - ys[-1]).max() > 1e-5


@pytest.mark.parametrize("memory", [1, 6, 32, 45])
def test_blocks_equal_one_dense_block(memory, monkeypatch):
    H, d, T = 2, 4, 75
    random = np.random.default_rng(0)
    shapes = [(T, H, d), (T, H, d), (memory + T, H, d), (memory + T, H, d), (memory + 1, H, d)]
    q, q_position, k, v, r = (random.standard_normal(shape, np.float32) for shape in shapes)
    starts = np.isin(np.arange(T), (17, 40, 41))
    lengths, valid = attention.memory_lengths(jnp.asarray(starts), jnp.int32(min(3, memory)), memory)
    assert int(valid) == min(memory, T - 41)

    expected = np.empty((T, H, d))
    length = min(3, memory)
    for t in range(T):
        length = 0 if starts[t] else length
        assert int(lengths[t]) == length
        seen = slice(memory + t - length, memory + t + 1)
        scores = np.einsum("hd,jhd->jh", q[t], k[seen]) + np.einsum("hd,jhd->jh", q_position[t], r[memory - length :])
        weights = np.exp(scores - scores.max(0))
        expected[t] = np.einsum("jh,jhd->hd", weights / weights.sum(0), v[seen])
        length = min(memory, length + 1)

    def attend(q, q_position, k, v, r, lengths):
        return attention.attend(q, k, v, lengths, attention.Positions(q_position, r))

    arguments = [jnp.asarray(a) for a in (q, q_position, k, v, r)]
    for block in (attention.BLOCK, 1000):
        monkeypatch.setattr(attention, "BLOCK", block)
        blocked = jax.jit(attend)(*arguments, lengths)
        np.testing.assert_allclose(blocked, expected, atol=2e-6)


def test_a_value_that_is_not_finite_is_seen_by_those_whose_memory_it_is_in():
    T = 40
    starts = jnp.zeros(T, bool).at[jnp.array([9, 35])].set(True)
    lengths, _ = attention.memory_lengths(starts, jnp.int32(0), M)
    k, v = jax.random.normal(jax.random.key(0), (2, M + T, 2, 4))
    for bad in (jnp.nan, jnp.inf):
        y = attention.attend(k[M:], k, v.at[M + jnp.array([5, 20, 33])].set(bad), lengths)
        seen = [*range(5, 9), *range(20, 20 + M + 1), 33, 34]
        np.testing.assert_array_equal(~jnp.isfinite(y).all((1, 2)), np.isin(np.arange(T), seen))


def test_shift_moves_row_i_by_i():
    C, N = 4, 3
    scores = jnp.arange(1.0, 1 + C * N).reshape(C, N)
    shifted = attention.shift(scores)
    assert shifted.shape == (C, N - 1 + C)
    for i in range(C):
        np.testing.assert_array_equal(shifted[i, i : i + N], scores[i])


def test_prepare_lets_keys_and_values_learn_from_the_memory():
    core = make()
    state, _ = run(core, tokens(10, seed=2))
    xs, starts = tokens(1), jnp.zeros(1, bool)

    def loss(core, prepare):
        return jnp.sin(core.scan(core.prepare(state) if prepare else state, xs, starts)[1]).sum()

    with_memory, without = (
        jax.jit(jax.grad(loss), static_argnums=1)(core, prepare).layers[0].W_qkv.weight.reshape(D, 3, -1)
        for prepare in (True, False)
    )
    assert jnp.abs(with_memory - without)[:, 0].max() < 1e-6  # queries are of the new token alone
    assert jnp.abs(with_memory - without)[:, 1].max() > 1e-4
    assert jnp.abs(with_memory - without)[:, 2].max() > 1e-4


def test_prepare_projects_with_the_present_parameters():
    old, xs = make(2), tokens(10)
    new = jax.tree.map(lambda x: 1.1 * x, old)
    (state, _), (expected, _) = run(old, xs), run(new, xs)
    bottom, expected_bottom = new.prepare(state).layers[0], expected.layers[0]
    for leaf, value in zip(bottom, expected_bottom, strict=True):
        np.testing.assert_allclose(leaf, value, atol=1e-5)


def test_empty_slots_are_zero():
    core = make()
    starts = jnp.zeros(10, bool).at[7].set(True)
    state, _ = scan(core, core.initial_state(), tokens(10), starts)
    for layer in (*state.layers, *core.prepare(state).layers):
        assert layer.valid == 3
        for cache in layer[:3]:
            assert not cache[: M - 3].any()
            assert cache[M - 3 :].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "rope"}, "core.positions: 'rope' is none of relative, learned"),
        ({"gate": "lstm"}, "core.gate: 'lstm' is none of gru, input"),
        ({"memory": 0}, "core.memory: need at least 1, got 0"),
        ({"heads": 0}, "core.heads: need at least 1, got 0"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
        ({"head_size": -1}, "core.head_size: need at least 0, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="core.heads: width 8 is not divisible by heads=3"):
        make(heads=3)
    assert make(heads=3, head_size=4).layers[0].u.shape == (3, 4)
