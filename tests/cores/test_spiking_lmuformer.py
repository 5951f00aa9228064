"""What is particular to spikes: they are equal or not. Also the whole network against a loop in float64."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core
from rlformers.cores.exact import select
from rlformers.cores.hippo import delay_memory
from rlformers.cores.spiking_lmuformer import Config

D = 16
OPTIONS = {"channels": 3, "order": 6, "theta_min": 4.0, "theta_max": 20.0, "ffn_ratio": 2.0}


def build(num_layers, **options):
    """Parameters at which every neuron fires now and then: noise, and biases that push."""
    core = make_core("spiking_lmuformer", D, num_layers, key=jax.random.key(0), **OPTIONS | options)
    leaves, structure = jax.tree_util.tree_flatten_with_path(core)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return structure.unflatten(
        [
            x + 0.4 * jax.random.normal(k, x.shape, x.dtype) + 0.4 * (getattr(path[-1], "name", "") == "bias")
            for (path, x), k in zip(leaves, keys, strict=True)
        ]
    )


def tokens(T, B):
    rng = np.random.default_rng(2)
    return rng.normal(size=(T, B, D)).astype(np.float32), rng.random((T, B)) < 0.05


SCAN = jax.jit(lambda core, states, xs, starts: jax.vmap(core.scan, (0, 1, 1), (0, 1))(states, xs, starts))
STEP = jax.jit(lambda core, states, x, start: jax.vmap(core.step)(states, x, start))


@pytest.mark.parametrize(
    ("B", "x64", "lengths"),
    [
        (1, False, (1, 257)),
        (4, True, (7,)),
        pytest.param(1, True, (1, 2, 7, 64, 257), marks=pytest.mark.slow),
        pytest.param(4, False, (1, 2, 7, 64, 257), marks=pytest.mark.slow),
    ],
)
def test_step_and_scan_spike_alike(B, x64, lengths):
    """To the last bit, membranes included, of states after acting one token at a time."""
    with jax.enable_x64(True) if x64 else nullcontext():
        core = build(1)
        empty = jax.tree.map(lambda a: jnp.broadcast_to(a, (B, *a.shape)), core.initial_state())
        xs, starts = tokens(lengths[-1], B)
        states, ys = [empty], []
        for x, start in zip(xs, starts, strict=True):
            state, y = STEP(core, states[-1], x, start)
            states.append(state)
            ys.append(y)
        for T in lengths:
            scanned, ys_scanned = SCAN(core, empty, xs[:T], starts[:T])
            jax.tree.map(np.testing.assert_array_equal, scanned, states[T])
            np.testing.assert_array_equal(ys_scanned, np.stack(ys[:T]))


@pytest.mark.parametrize("B", [1, 3])
def test_spikes_do_not_depend_on_the_batch(B):
    """Minibatches are smaller than the number of environments."""
    core = build(1)
    xs, starts = tokens(64, 8)
    empty = jax.tree.map(lambda a: jnp.broadcast_to(a, (8, *a.shape)), core.initial_state())
    states, ys = SCAN(core, empty, xs, starts)
    some, ys_some = SCAN(core, jax.tree.map(lambda a: a[:B], empty), xs[:, :B], starts[:, :B])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:B]), some, states)
    np.testing.assert_array_equal(ys_some, ys[:, :B])


@pytest.mark.parametrize("fan_in", [512, 1300])
def test_sums_of_weights_do_not_depend_on_their_order(fan_in):
    """Within a block of 512: another order, or batch, rounds otherwise wherever a sum is not exact."""
    rng = np.random.default_rng(3)
    s = (rng.random(fan_in) < 0.9).astype(np.float32)
    # All remainders nearly half of the coarse grid: their sum needs 24 bits and more.
    W = rng.integers(-50, 50, (fan_in, 40)) * 2.0**-12 + 2.0**-13 - rng.integers(1, 99, (fan_in, 40)) * 2.0**-28
    W = W.astype(np.float32)
    order = np.concatenate([block[rng.permutation(len(block))] for block in np.split(np.arange(fan_in), [512, 1024])])
    y = jax.jit(select)(s, W)
    np.testing.assert_array_equal(jax.jit(select)(s[order], W[order]), y)
    np.testing.assert_array_equal(jax.jit(jax.vmap(select, (0, None)))(np.stack([s] * 7), W), np.stack([y] * 7))
    np.testing.assert_allclose(y, s.astype(float) @ W, atol=2e-5)


def reference(core, xs, starts):
    """The equations of the docstring, one token after another; also the distances from the thresholds, and rates."""
    f64 = jax.tree.map(lambda a: np.asarray(a, np.float64), core)
    A, B = delay_memory(OPTIONS["order"], f64.blocks[0].cell.thetas)
    v, m, inputs, margins, fired = {}, {}, {}, [], {}

    def lif(name, x, threshold=1.0):
        u = v.get(name, 0.0) + (x - v.get(name, 0.0)) / core.embedding.tau
        s = 1.0 * (u >= threshold)
        v[name] = (1 - s) * u
        margins.append(np.abs(u - threshold).min())
        fired.setdefault(name, []).append(s.mean())
        return s

    def conv(i, x):
        window = [*inputs.get(i, [np.zeros(D)] * 2), x]
        inputs[i] = window[1:]
        return sum(tap @ kernel for tap, kernel in zip(window, f64.embedding.convs[i], strict=True))

    def norm(n, x):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * n.scale + n.bias

    def linear(w, x):
        return x @ w.weight + w.bias

    ys = []
    for x, start in zip(np.asarray(xs, np.float64), starts, strict=True):
        if start:
            v.clear(), m.clear(), inputs.clear()
        z = conv(0, x)
        for i in range(1, 4):
            z = conv(i, lif(f"e{i}", norm(f64.embedding.norms[i - 1], z)))
        x = z + conv(4, lif("e4", norm(f64.embedding.norms[3], z)))
        for b, block in enumerate(f64.blocks):
            s = lif(f"{b}x", norm(block.norm_x, x), 0.5)
            u = lif(f"{b}u", norm(block.cell.norm_u, linear(block.cell.W_u, s)))
            m[b] = np.einsum("cij,cj->ci", A, m.get(b, np.zeros_like(B))) + B * u[:, None]
            memory = lif(f"{b}m", norm(block.cell.norm_m, m[b].ravel()))
            hidden = linear(block.cell.W_h, np.concatenate([memory, s]))
            y = lif(f"{b}h", norm(block.cell.norm_h, hidden))
            x = x + norm(block.norm_p, linear(block.W_p, y))
            hidden = linear(block.W_1, lif(f"{b}1", norm(block.norm_1, x)))
            x = x + linear(block.W_2, lif(f"{b}2", norm(block.norm_2, hidden)))
        ys.append(x)
    return np.stack(ys), min(margins), {name: np.mean(rates) for name, rates in fired.items()}


def test_network_is_its_equations():
    core = build(2)
    xs, starts = tokens(40, 1)
    expected, margin, rates = reference(core, xs[:, 0], starts[:, 0])
    assert len(rates) == 4 + 2 * 6
    assert all(0.01 < rate < 0.9 for rate in rates.values()), rates
    assert margin > 1e-5  # float32 makes the same spikes
    _, ys = scan(core, core.initial_state(), xs[:, 0], starts[:, 0])
    np.testing.assert_allclose(ys, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.5}, "core.tau: need at least 1, got 0.5"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
        ({"norm": "batch"}, "core.norm: 'batch' is none of"),
        ({"channels": 1}, "core.channels: need at least 2 with core.norm=layer"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
