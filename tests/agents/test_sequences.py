"""How rollouts are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.sequences import Cut, scan_sequences, sequences, trained


def test_sequences_are_contiguous_pieces_of_time():
    T, B, K = 6, 2, 3
    x = jnp.arange(T)[:, None] * 10 + jnp.arange(B)  # x[t, b] = 10 t + b
    pieces = sequences(x, Cut(T, T // K, 0))
    assert pieces.shape == (T // K, K * B)
    np.testing.assert_array_equal(pieces[:, 2 * B + 1], [41, 51])  # the third piece of environment 1


def test_the_steps_before_a_sequence_warm_it_up():
    cut = Cut(T=12, L=4, burn_in=2)
    np.testing.assert_array_equal(cut.times.T, [[0, 1, 2, 3, 4, 5], [2, 3, 4, 5, 6, 7], [6, 7, 8, 9, 10, 11]])
    mask = trained(cut, 2)
    assert mask.shape == (4, 6)
    np.testing.assert_array_equal(mask[:, ::2].T, [[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
    np.testing.assert_array_equal(mask[:, ::2], mask[:, 1::2])


@pytest.mark.parametrize("T,L,burn_in", [(12, 4, 0), (12, 4, 1), (12, 4, 3), (12, 12, 0), (12, 12, 5), (12, 1, 0)])
def test_every_token_but_the_first_ones_is_trained_on_once(T, L, burn_in):
    cut, B = Cut(T, L, burn_in), 2
    times = sequences(jnp.arange(T)[:, None] + jnp.zeros((T, B), int), cut)[burn_in:]
    mask = trained(cut, B)
    if burn_in == 0 or T == L:
        assert mask is None
    counted = np.asarray(times)[... if mask is None else np.asarray(mask)]
    np.testing.assert_array_equal(np.sort(counted.ravel()), np.repeat(np.arange(burn_in, T), B))


@pytest.mark.parametrize("L,burn_in", [(4, 0), (4, 3), (12, 0), (12, 5)])
def test_memories_are_those_at_the_starts_of_sequences(L, burn_in):
    cut = Cut(12, L, burn_in)

    def step(total, xs):
        return jax.lax.scan(lambda total, x: (total + x, 2 * x), total, xs)

    xs = jnp.arange(24.0).reshape(12, 2)
    last, memories, ys = scan_sequences(step, jnp.zeros(2), xs, cut, lambda total: total)
    before = np.concatenate([np.zeros((1, 2)), np.cumsum(xs, 0)])  # the total before step t
    np.testing.assert_array_equal(memories.reshape(cut.K, 2), before[cut.times[0]])
    np.testing.assert_array_equal(last, before[-1])
    np.testing.assert_array_equal(ys, 2 * xs)
