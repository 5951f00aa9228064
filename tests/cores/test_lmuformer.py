"""What is particular to the LMUFormer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.lmuformer import NORMS, Config, Embedding, FrozenBatchNorm, make_norm


@pytest.mark.parametrize("norm", NORMS)
def test_embedding_sees_eleven_tokens(norm):
    T, D = 30, 6
    embedding = Embedding(D, norm, key=jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (T, D))

    def last(xs):
        return embedding.scan(embedding.initial_state(), xs, jnp.zeros(len(xs), bool))[1][-1]

    reach = jnp.abs(jax.jit(jax.jacobian(last))(xs)).sum((0, 2))
    assert (reach[-11:] > 0).all()
    assert (reach[:-11] == 0).all()


def test_frozen_batch_norm_is_its_formula():
    mean, var, scale, bias, x = np.random.default_rng(0).random((5, 7))
    norm = FrozenBatchNorm.of(*map(jnp.asarray, (mean, var, scale, bias)))
    np.testing.assert_allclose(norm(jnp.asarray(x)), (x - mean) / np.sqrt(var + 1e-5) * scale + bias, atol=1e-5)


def test_a_new_frozen_batch_norm_is_the_identity():
    np.testing.assert_array_equal(make_norm("frozen_bn", 3)(jnp.arange(3.0)), jnp.arange(3.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "batch"}, "core.norm: 'batch' is none of layer, rms, none, frozen_bn"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
        ({"channels": 0}, "core.channels: need at least 1, got 0"),
        ({"scan": "associative"}, "core.scan: 'associative' is none of"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
