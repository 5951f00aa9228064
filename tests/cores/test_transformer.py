"""What is particular to the transformer: its options by naive formulas, windows, loops, initialisation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core
from rlformers.config.compose import compose
from rlformers.cores.transformer import Config

M, D, H, d = 6, 8, 2, 4
STARTS = np.isin(np.arange(20), (8, 17))


def make(num_layers=1, **options):
    return make_core("transformer", D, num_layers, key=jax.random.key(0), **{"memory": M, "heads": H} | options)


def noisy(core):
    """Parameters of which none is 0 or 1."""
    leaves, structure = jax.tree.flatten(core)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, [x + n for x, n in zip(leaves, noise, strict=True)])


def tokens(T=20):
    return jax.random.normal(jax.random.key(2), (T, D))


@jax.jit
def run(core, xs, starts=None):
    return core.scan(core.initial_state(), xs, jnp.zeros(len(xs), bool) if starts is None else starts)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return x * (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2


def norm(x, p, rms=False):
    x = x if rms else x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p.scale
    return x if rms else x + p.bias


def turn(x, angle):
    """Rotation as a product of complex numbers."""
    z = (x[..., : d // 2] + 1j * x[..., d // 2 :]) * np.exp(1j * angle * 10000.0 ** (-2 * np.arange(d // 2) / d))
    return np.concatenate([z.real, z.imag], -1)


def naive(core, config, xs):
    """One layer, token by token and key by key, in float64."""
    core = jax.tree.map(lambda x: np.asarray(x, np.float64), core)
    absolute = config.positions in ("sinusoidal", "learned")
    body = core.layers[1] if absolute else core
    layer, rms, ys, memory, p = body.layers[0], config.norm == "rms", [], [], -1
    for x, start in zip(np.asarray(xs, np.float64), STARTS, strict=True):
        memory = [] if start else memory
        p = 0 if start else p + 1
        if config.positions == "learned":
            x = x + core.layers[0].table[min(p, config.max_position - 1)]
        if config.positions == "sinusoidal":
            angles = [p / 10000 ** (2 * (i // 2) / D) for i in range(D)]
            x = x + [math.cos(angle) if i % 2 else math.sin(angle) for i, angle in enumerate(angles)]
        c = norm(x, layer.norm1, rms)
        q, k, v = np.split(c @ layer.W_qkv.weight + (0 if layer.W_qkv.bias is None else layer.W_qkv.bias), 3)
        q, k, v = (a.reshape(H, d) for a in (q, k, v))
        if config.qk_norm:
            q, k = norm(q, layer.q_norm, True), norm(k, layer.k_norm, True)
        memory = [*memory, (k, v)][-M - 1 :]
        out = np.zeros((H, d))
        for h in range(H):
            scores = []
            for distance, (key, _) in zip(range(len(memory) - 1, -1, -1), memory, strict=True):
                if config.positions == "rope":
                    score = turn(q[h], distance) @ key[h]
                elif config.positions == "relative":
                    angles = distance * 10000.0 ** (-np.arange(0, D, 2) / D)
                    r = (np.concatenate([np.sin(angles), np.cos(angles)]) @ layer.r.W.weight).reshape(H, d)
                    score = (q[h] + layer.u[h]) @ key[h] + (q[h] + layer.w[h]) @ r[h]
                else:
                    score = q[h] @ key[h]
                slope = 2 ** (-8 * (h + 1) / H) if config.positions == "alibi" else 0
                scores.append(score / d**0.5 - slope * distance)
            weights = np.exp(scores) / np.exp(scores).sum()
            if config.clipped_softmax:
                weights = np.clip((1 + config.clipped_softmax) * weights - config.clipped_softmax, 0, 1)
            out[h] = sum(weight * value[h] for weight, (_, value) in zip(weights, memory, strict=True))
        if config.attention_gate:
            out *= sigmoid(c @ layer.W_g.weight + layer.W_g.bias)[:, None]
        x = x + out.reshape(-1) @ layer.W_o.weight + layer.W_o.bias
        hidden = norm(x, layer.norm2, rms) @ layer.ffn.W_1.weight + layer.ffn.W_1.bias
        if config.ffn == "gelu":
            hidden = gelu(hidden)
        else:
            a, b = np.split(hidden, 2)
            hidden = (gelu(a) if config.ffn == "geglu" else a * sigmoid(a)) * b
        ys.append(x + hidden @ layer.ffn.W_2.weight + layer.ffn.W_2.bias)
    return np.stack(ys)


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "rope"},
        {"positions": "rope", "qk_norm": True, "ffn": "swiglu"},
        {"positions": "sinusoidal", "attention_gate": True},
        {"positions": "learned", "max_position": 5, "ffn": "geglu"},
        {"positions": "alibi", "norm": "rms"},
        {"positions": "relative", "clipped_softmax": 0.2},
        {"positions": "none"},
    ],
    ids=str,
)
def test_layer_is_its_formula(options):
    core, xs = noisy(make(**options)), tokens()
    _, ys = run(core, xs, jnp.asarray(STARTS))
    np.testing.assert_allclose(ys, naive(core, Config(memory=M, heads=H, **options), xs), atol=2e-5)


@pytest.mark.parametrize("positions", ["rope", "alibi", "relative"])
def test_receptive_field_is_the_sum_of_the_windows(positions):
    core, xs = noisy(make(2, memory_per_layer=(3, 7), positions=positions)), tokens()
    _, ys = run(core, xs)
    outside = run(core, xs.at[-1 - 11].multiply(-1))[1]
    inside = run(core, xs.at[-1 - 10].multiply(-1))[1]
    np.testing.assert_array_equal(outside[-1], ys[-1])
    assert jnp.abs(inside[-1] - ys[-1]).max() > 1e-6


def test_rope_is_exact_after_many_tokens():
    """Slots, not steps: the angles of the last tokens are those of the first."""
    core, xs = noisy(make()), jnp.tile(tokens(M + 1), (300, 1))
    _, ys = run(core, xs)
    np.testing.assert_allclose(ys[-1], ys[M], atol=5e-6)


def test_loops_share_parameters_and_not_memories():
    once, thrice = make(2, loops=1), make(2, loops=3)
    assert [x.shape for x in jax.tree.leaves(once)] == [x.shape for x in jax.tree.leaves(thrice)]
    state, ys = run(thrice, tokens())
    memories = [layer.mem for layer in state.layers]
    assert len(memories) == 6
    assert all(jnp.abs(a - b).max() > 1e-3 for a, b in zip(memories, memories[1:], strict=False))


def test_branches_are_smaller_in_deeper_stacks():
    spread = {}
    for L, loops in ((1, 1), (8, 1), (2, 4)):
        core = make_core("transformer", 64, L, key=jax.random.key(0), loops=loops)
        layer = core.layers[-1]
        spread[L, loops] = [float(W.std()) for W in (layer.W_o.weight, layer.ffn.W_2.weight, layer.W_qkv.weight)]
    expected = [(2 / 128 / 2) ** 0.5, (2 / 192 / 2) ** 0.5, (2 / 128) ** 0.5]
    np.testing.assert_allclose(spread[1, 1], expected, rtol=0.05)
    for deep in ((8, 1), (2, 4)):
        np.testing.assert_allclose(spread[deep], np.divide(expected, [8**0.5, 8**0.5, 1]), rtol=0.05)


def test_prepare_lets_keys_and_values_learn_from_the_memory():
    core = make()
    state, _ = run(core, tokens())

    def loss(core, prepare):
        return jnp.sin(core.step(core.prepare(state) if prepare else state, tokens()[0], jnp.zeros((), bool))[1]).sum()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    with_memory, without = (gradient(core, prepare).layers[0].W_qkv.weight for prepare in (True, False))
    difference = jnp.abs(with_memory - without).reshape(D, 3, -1).max((0, 2))
    assert difference[0] < 1e-6
    assert (difference[1:] > 1e-4).all()


def test_windows_from_the_command_line():
    overrides = ["core=transformer", "core.memory_per_layer=[16,16,128]", "core.ffn_ratio=3", "model.num_layers=3"]
    assert compose(overrides).core.options["memory_per_layer"] == (16, 16, 128)
    with pytest.raises(ValueError, match=r"core.memory_per_layer: need a list \[...\] of ints, got 'x'"):
        compose(["core=transformer", "core.memory_per_layer=x"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "xpos"}, "core.positions: 'xpos' is none of rope, sinusoidal, learned, alibi, relative, none"),
        ({"norm": "batch"}, "core.norm: 'batch' is none of layer, rms, none"),
        ({"ffn": "relu"}, "core.ffn: 'relu' is none of gelu, swiglu, geglu"),
        ({"memory": 0}, "core.memory: need at least 1, got 0"),
        ({"loops": 0}, "core.loops: need at least 1, got 0"),
        ({"memory_per_layer": (4, 0)}, r"core.memory_per_layer: need numbers of at least 1, got \[4, 0\]"),
        ({"memory_per_layer": (4, 5)}, r"core.memory_per_layer: need one number per layer \(1\), got \[4, 5\]"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
        ({"clipped_softmax": 1.0}, "core.clipped_softmax: need at least 0 and less than 1, got 1.0"),
        ({"heads": 3}, "core.heads: width 8 is not divisible by heads=3"),
        ({"head_size": 3}, "core.head_size: need an even number with core.positions=rope, got 3"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
