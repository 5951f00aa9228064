"""What is particular to frame stacking."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_layer_is_its_formula(frames):
    core = make_core("framestack", 4, key=jax.random.key(0), frames=frames)
    xs, starts = np.random.default_rng(0).standard_normal((12, 4)), np.isin(np.arange(12), (0, 7))
    _, ys = scan(core, core.initial_state(), jnp.asarray(xs, jnp.float32), jnp.asarray(starts))
    W, b = core.layers[0].W.reshape(-1, 4), core.layers[0].b
    for t, y in enumerate(ys):
        seen = xs[max(7 if t >= 7 else 0, t - frames + 1) : t + 1]
        stacked = np.concatenate([np.zeros((frames - len(seen), 4)), seen]).reshape(-1)
        np.testing.assert_allclose(y, np.maximum(stacked @ W + b, 0), atol=1e-5)


def test_bad_options():
    with pytest.raises(ValueError, match="core.frames: need at least 1, got 0"):
        make_core("framestack", 4, key=jax.random.key(0), frames=0)
