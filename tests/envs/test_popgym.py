"""The ports of POPGym against spaces and statistics of the original, popgym 1.0.7.

tests/conformance replays its episodes.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.registry import make_env, names, replace_params

TESTS = Path(__file__).parents[1]
REFERENCE = json.loads((TESTS / "data/popgym/popgym_reference.json").read_text())
NAMES = [name.removeprefix("popgym/") for name in names() if name.startswith("popgym/")]


@pytest.mark.parametrize("name", NAMES)
def test_spaces_are_the_originals(name):
    env, params = make_env(f"popgym/{name}", raw=True)
    _assert_same_space(env.observation_space(params), REFERENCE[name]["observation_space"])
    _assert_same_space(env.action_space(params), REFERENCE[name]["action_space"])


def _assert_same_space(space, wanted):
    assert type(space).__name__ == wanted["type"]
    if wanted["type"] == "Tuple":
        for part, wanted_part in zip(space.spaces, wanted["spaces"], strict=True):
            _assert_same_space(part, wanted_part)
    elif wanted["type"] == "Discrete":
        assert space.n == wanted["n"]
    elif wanted["type"] == "MultiDiscrete":
        nvec = wanted["nvec"]
        if isinstance(nvec, str):  # "52 x 3": 52 entries of 3 values
            entries, values = map(int, nvec.split(" x "))
            nvec = [values] * entries
        assert list(space.nvec) == nvec
    else:
        assert list(space.shape) == wanted["shape"]
        for bound in ("low", "high"):
            np.testing.assert_allclose(np.broadcast_to(getattr(space, bound), space.shape), wanted[bound], 1e-6)


def _random_returns(env, params, num_episodes, length):
    """Return, length and end [terminated, truncated] of episodes under uniformly random actions."""

    def episode(key):
        key_reset, key_steps = jax.random.split(key)
        _, state = env.reset_env(key_reset, params)

        def step(carry, key):
            state, alive = carry
            key_action, key_step = jax.random.split(key)
            action = env.action_space(params).sample(key_action)
            _, state, reward, terminated, _ = env.step_env(key_step, state, action, params)
            ended = jnp.stack([terminated, env.is_truncated(state, params)])
            return (state, alive & ~ended.any()), (reward * alive, alive, ended & alive)

        _, (rewards, alive, ended) = jax.lax.scan(step, (state, jnp.bool_(True)), jax.random.split(key_steps, length))
        return rewards.sum(), alive.sum(), ended.any(0)

    return map(np.asarray, jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(7), num_episodes)))


@pytest.mark.parametrize(
    "name,num_episodes",
    [(f"{family}Easy", 200) for family in ("CountRecall", "MultiarmedBandit", "Battleship", "LabyrinthEscape")]
    + [pytest.param(name, 2000, marks=pytest.mark.slow) for name in NAMES],
)
def test_a_random_policy_earns_what_it_earns_in_the_original(name, num_episodes):
    env, params = make_env(f"popgym/{name}", raw=True)
    wanted = REFERENCE[name]
    # popgym's attribute is -1 where it has none.
    limit = max(wanted["max_episode_length_attr"], wanted["length_max"])
    returns, lengths, ends = _random_returns(env, params, num_episodes, limit)
    error = np.hypot(returns.std() / np.sqrt(num_episodes), wanted["return_sem"])
    assert abs(returns.mean() - wanted["return_mean"]) < 4 * error
    # The largest variance that lengths with their least, mean and largest can have (Bhatia & Davis 2000).
    wanted_variance = (wanted["length_max"] - wanted["length_mean"]) * (wanted["length_mean"] - wanted["length_min"])
    length_error = np.sqrt(lengths.var() / num_episodes + wanted_variance / wanted["episodes"])
    assert abs(lengths.mean() - wanted["length_mean"]) <= 4 * length_error  # equal, where all are equally long
    for fraction, wanted_fraction in zip(
        ends.mean(0), (wanted["frac_terminated"], wanted["frac_truncated"]), strict=True
    ):
        chance = (fraction * num_episodes + wanted_fraction * wanted["episodes"]) / (num_episodes + wanted["episodes"])
        error = np.sqrt(chance * (1 - chance) * (1 / num_episodes + 1 / wanted["episodes"]))
        assert abs(fraction - wanted_fraction) <= 4 * error + 1e-9


def test_the_last_pair_at_the_last_step_terminates_and_truncates():
    env, params = make_env("popgym/ConcentrationHard", raw=True)
    params = replace_params(params, max_steps_in_episode=env.num_cards)
    _, state = env.reset_env(jax.random.key(0), params)
    state = state._replace(table=jnp.arange(env.num_cards) // 4)

    def step(state, place):
        _, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, place, params)
        return state, (reward, terminated, env.is_truncated(state, params))

    _, (rewards, terminated, truncated) = jax.lax.scan(step, state, jnp.arange(env.num_cards))
    assert rewards.sum() == pytest.approx(1) and (rewards[::2] == 0).all()
    for ends in (terminated, truncated):
        assert ends[-1] and not ends[:-1].any()


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match=r"env_kwargs\.k: need 1 <= k < 52"):
        make_env("popgym/RepeatPreviousEasy", k=52)
    with pytest.raises(ValueError, match=r"env_kwargs\.num_decks"):
        make_env("popgym/RepeatFirstEasy", num_decks=0)
    with pytest.raises(ValueError, match=r"env_kwargs\.deck_type: need one of colors, suits, ranks, got 'jokers'"):
        make_env("popgym/CountRecallEasy", deck_type="jokers")
    with pytest.raises(ValueError, match=r"env_kwargs\.deck_type: need one of colors, ranks, got 'suits'"):
        make_env("popgym/ConcentrationEasy", deck_type="suits")
    with pytest.raises(ValueError, match=r"env_kwargs\.num_bandits: need at least 1, got 0"):
        make_env("popgym/MultiarmedBanditEasy", num_bandits=0)
    with pytest.raises(ValueError, match=r"env_kwargs\.noise_sigma: need 0 or a positive number, got -1"):
        make_env("popgym/NoisyPositionOnlyCartPoleEasy", noise_sigma=-1.0)
    with pytest.raises(ValueError, match="max_steps_in_episode: need at least 1"):
        make_env("popgym/PositionOnlyPendulumEasy", max_steps_in_episode=0)
