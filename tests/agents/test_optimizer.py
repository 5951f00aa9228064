"""One step of the optimiser by hand; which parameters learn slowly, and which decay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.optimizer import adam, descend, learning_rates
from rlformers.config.ppo import Numbers, PPOConfig
from rlformers.cores.registry import make_core

# Of the second layer.
SLOW = {
    "s5": {".Lambda_re", ".Lambda_im", ".B", ".log_step"},
    "s4d": {".core.log_dt", ".core.log_A_real", ".core.A_imag"},
    "lru": {".core.nu_log", ".core.theta_log", ".core.gamma_log", ".core.B"},
    "ffm": {".alpha", ".omega"},
    "lmu": {".log_theta"},
    "mamba": {".core.A_log", ".core.D", ".core.W_dt.bias"},
    "mamba2": {".core.A_log", ".core.D", ".core.dt_bias"},
    "mamba3": {".core.D", ".core.dt_bias"},
    "deltanet": {".core.A_log", ".core.W_alpha.bias"},
    "linear_attention": {".core.log_rate"},
    "gru": set(),
    "transformer": set(),
}


def numbers(**changes):
    return Numbers.of(PPOConfig(), 10)._replace(**changes)


@pytest.mark.parametrize("name", SLOW)
def test_parameters_of_the_dynamics_have_a_learning_rate_of_their_own(name):
    options = {"cell": "keras", "learn_theta": True} if name == "lmu" else {}
    shapes = jax.eval_shape(lambda: make_core(name, 16, 2, key=jax.random.key(0), **options))
    core = jax.tree.map(lambda _: jnp.zeros(()), shapes)  # whose numbers do not matter
    rates = learning_rates({"core": core, "rest": [jnp.ones(2)]}, 0.25)
    assert rates["rest"] == [1.0]
    leaves = {jax.tree_util.keystr(path): rate for path, rate in jax.tree_util.tree_leaves_with_path(rates["core"])}
    assert set(leaves.values()) <= {1.0, 0.25}
    prefix = ".layers[1]"
    assert {path.removeprefix(prefix) for path in leaves if leaves[path] == 0.25 and path.startswith(prefix)} == SLOW[
        name
    ]


def test_gradients_are_clipped_by_their_norm_over_all_parameters():
    optimizer = adam(numbers(max_grad_norm=0.5, adam_b1=0.0, adam_eps=1.0))
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}  # norm 5, so both are divided by 10
    directions, _ = optimizer.update(grads, optimizer.init(grads))
    # The first second moment, unbiased, is g²: u = g / (|g| + 1).
    np.testing.assert_allclose([directions["a"][0], directions["b"][0]], [0.3 / 1.3, 0.4 / 1.4], rtol=1e-5)
    small = {"a": jnp.array([0.3]), "b": jnp.array([0.0])}
    directions, _ = optimizer.update(small, optimizer.init(small))
    np.testing.assert_allclose(directions["a"][0], 0.3 / 1.3, rtol=1e-5)


def test_moments_of_two_steps():
    optimizer = adam(numbers(max_grad_norm=100.0, adam_b1=0.5, adam_b2=0.75, adam_eps=0.0))
    state = optimizer.init(jnp.zeros(()))
    _, state = optimizer.update(jnp.float32(1.0), state)
    direction, _ = optimizer.update(jnp.float32(3.0), state)
    m = (0.5 * 0.5 * 1 + 0.5 * 3) / (1 - 0.5**2)
    v = (0.75 * 0.25 * 1 + 0.25 * 9) / (1 - 0.75**2)
    np.testing.assert_allclose(direction, m / v**0.5, rtol=1e-5)


def test_a_step_goes_down_and_only_matrices_decay():
    core = make_core("s5", 4, 1, key=jax.random.key(0), state_size=4)
    params = jax.tree.map(jnp.ones_like, {"core": core, "bias": jnp.ones(2)})
    new = descend(
        params, jax.tree.map(jnp.ones_like, params), jnp.float32(0.1), numbers(core_lr_scale=0.5, weight_decay=2)
    )
    np.testing.assert_allclose(new["bias"], 1 - 0.1, rtol=1e-6)
    layer = new["core"].layers[0]
    np.testing.assert_allclose(layer.out2.weight, 1 - 0.1 * 3, rtol=1e-6)
    np.testing.assert_allclose(layer.out2.bias, 1 - 0.1, rtol=1e-6)
    np.testing.assert_allclose(layer.B, 1 - 0.05, rtol=1e-6)  # of the dynamics: slow, and its size means something
