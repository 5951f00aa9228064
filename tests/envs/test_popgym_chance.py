"""Chance in the ports of POPGym: decks, layouts, arms and noise are distributed as in the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.popgym.noisy import NoisyPositionOnlyCartPole
from rlformers.envs.registry import make_env

NUM_EPISODES = 400


def _assert_shuffled(cards, num_kinds):
    """Cards [episodes, N] are random permutations of a complete deck."""
    num_cards = cards.shape[1]
    counts = (cards[:, :, None] == np.arange(num_kinds)).sum(1)
    assert (counts == num_cards // num_kinds).all()
    for card in (0, 1, num_cards - 1):
        _assert_frequencies(np.bincount(cards[:, card], minlength=num_kinds), 1 / num_kinds)
    # A second card is like the first with chance (N/kinds - 1)/(N - 1), wherever it is.
    for first, second in ((0, 1), (1, num_cards // 2), (0, num_cards - 1)):
        repeats = np.sum(cards[:, first] == cards[:, second])
        _assert_frequencies(repeats, (num_cards / num_kinds - 1) / (num_cards - 1))


def _assert_frequencies(counts, chance, trials=NUM_EPISODES):
    assert np.abs(counts / trials - chance).max() < 4 * np.sqrt(chance * (1 - chance) / trials)


def _observations(env, params, actions):
    """Observations [episodes, T + 1, ...] under given actions [T], and the last states."""

    def episode(key):
        first, state = env.reset_env(key, params)

        def step(state, action_key):
            obs, state, *_ = env.step_env(action_key[1], state, action_key[0], params)
            return state, obs

        keys = jax.random.split(jax.random.fold_in(key, 1), len(actions))
        state, later = jax.lax.scan(step, state, (actions, keys))
        return jnp.concatenate([first[None], later]), state

    return jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), NUM_EPISODES))


@pytest.mark.parametrize("name", ["HigherLowerEasy", "CountRecallMedium"])
def test_decks_are_complete_and_shuffled(name):
    env, params = make_env(f"popgym/{name}", raw=True)
    obs, _ = _observations(env, params, jnp.zeros((env.num_cards - 1,), jnp.int32))
    decks = np.asarray(obs).reshape(NUM_EPISODES, env.num_cards, -1)
    for deck in range(decks.shape[2]):
        _assert_shuffled(decks[:, :, deck], env.num_kinds)
    if decks.shape[2] == 2:
        same = decks[:, :, 0] == decks[:, :, 1]
        _assert_frequencies(same.sum(), 1 / env.num_kinds, same.size)


def test_cards_on_the_table_are_a_shuffled_deck_however_they_are_turned():
    env, params = make_env("popgym/ConcentrationHard", raw=True)
    order = jax.random.permutation(jax.random.key(2), env.num_cards)
    # One place again and again: a card that was turned stays what it is.
    actions = jnp.stack([order, jnp.full_like(order, order[0])], axis=1).ravel()
    obs, state = _observations(env, params, actions)
    table = np.asarray(state.table)
    _assert_shuffled(table, env.num_kinds)
    shown = np.asarray(obs)
    assert ((shown == table[:, None]) | (shown == env.num_kinds)).all()
    turned = np.take_along_axis(shown[:, 1:], np.asarray(actions)[None, :, None], 2)[..., 0]
    assert (turned == table[:, actions]).all()


def test_arms_pay_with_uniform_chances_for_the_whole_episode():
    env, params = make_env("popgym/MultiarmedBanditEasy", raw=True)
    obs, state = _observations(env, params, jnp.full((200,), 3))
    payouts = np.asarray(state.payouts)
    quarters = np.bincount((payouts.ravel() * 4).astype(int), minlength=4)
    _assert_frequencies(quarters, 1 / 4, payouts.size)
    paid = np.asarray(obs)[:, 1:].mean(1)
    error = (paid - payouts[:, 3]) / np.sqrt(payouts[:, 3] * (1 - payouts[:, 3]) / 200 + 1e-9)
    assert np.abs(error).max() < 5 and abs(error.std() - 1) < 0.2


def test_noise_is_gaussian_in_every_observation_and_clipped_to_the_space():
    sigma = 0.2
    env = NoisyPositionOnlyCartPole(sigma)
    params = env.default_params
    obs, _ = _observations(env, params, jnp.array([0, 1]))
    obs = np.asarray(obs, np.float64)
    # In three steps the cart stays near 0, far from the bounds of its position, and the pole near 0, too.
    x, theta = obs[..., 0], obs[..., 1]
    assert np.abs(x.std(0) - sigma).max() < 4 * sigma / np.sqrt(2 * NUM_EPISODES) + 0.001
    assert np.abs(x.mean(0)).max() < 4 * sigma / np.sqrt(NUM_EPISODES) + 0.01
    limit = float(env.observation_space(params).high[1])
    assert np.abs(theta).max() == pytest.approx(limit)
    _assert_frequencies(np.sum(np.abs(theta) > limit - 1e-6), 0.0362, theta.size)  # P(|N(0, 1)| > 0.419/0.2)
    assert np.abs(np.corrcoef(np.concatenate([x, theta], 1).T) - np.eye(6)).max() < 4 / np.sqrt(NUM_EPISODES)
