"""What the base class gives to cores, and what callers can do with every core."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.core import Core
from rlformers.cores.registry import built_in, make_core


class Sum(Core[jax.Array]):
    """By its `scan` alone."""

    def initial_state(self):
        return jnp.zeros(2)

    def scan(self, state, xs, starts):
        assert starts.dtype == bool
        total = jnp.where(starts[0], 0, state) + xs.sum(0)
        return total, jnp.cumsum(xs, 0)


@pytest.mark.parametrize("start", [True, np.True_, np.array(True), jnp.array(True)], ids=repr)
def test_a_step_is_a_segment_of_one_token(start):
    total, y = Sum().step(jnp.ones(2), jnp.array([2.0, 3.0]), start)
    np.testing.assert_array_equal(total, [2, 3])
    np.testing.assert_array_equal(y, [2, 3])


def test_a_core_has_a_step_or_a_scan():
    with pytest.raises(TypeError, match="Nothing: a core must define step or scan, or both"):

        class Nothing(Core):
            def initial_state(self):
                return ()


OPTIONS = {"lmu": {"cell": "keras"}, "transformer": {"positions": "learned"}}  # other code than by default


@pytest.fixture(params=[*((name, {}) for name in built_in()), *OPTIONS.items()], ids=str)
def core(request):
    """Its shapes."""
    name, options = request.param
    return jax.eval_shape(lambda key: make_core(name, 8, key=key, **options), jax.random.key(0))


def test_a_start_may_be_a_plain_bool(core):
    x = jax.ShapeDtypeStruct((8,), jnp.float32)
    for start in (True, False):
        _, y = jax.eval_shape(lambda core, x, start=start: core.step(core.initial_state(), x, start), core, x)
        assert y.shape == x.shape


def test_states_have_the_precision_of_the_parameters(core):
    """Not that of the session."""
    x = jax.ShapeDtypeStruct((8,), jnp.float32)
    with jax.enable_x64(True):
        initial = jax.eval_shape(lambda core: core.initial_state(), core)
        state, y = jax.eval_shape(lambda core, *inputs: core.step(*inputs, jnp.array(False)), core, initial, x)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(initial)} <= {"float32", "complex64", "int32"}
    assert (state, y.dtype) == (initial, jnp.float32)
