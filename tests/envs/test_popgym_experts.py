"""Scripted policies that remember what an agent could remember reach the returns they reach in the original popgym."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.registry import make_env

REFERENCE = json.loads((Path(__file__).parents[1] / "data/popgym/popgym_reference.json").read_text())
LEVELS = pytest.mark.parametrize(
    "level", ["Easy"] + [pytest.param(level, marks=pytest.mark.slow) for level in ("Medium", "Hard")]
)


class Expert(NamedTuple):
    """Sees what an agent sees: memory, act(key, memory, observation, last action or -1) -> action, memory."""

    memory: Any
    act: Any


def reciter(env):
    """Autoencode: a stack."""

    def act(key, memory, obs, last_action):
        shown, held, played = memory
        mode, suit = obs
        # The last card is shown with the mode in which it must be answered.
        shown, held = jnp.where(played, shown, shown.at[held].set(suit)), held + ~played
        playing = mode == 0
        return shown[held - 1], (shown, held - playing, playing)

    return Expert((jnp.zeros((env.num_cards,), jnp.int32), jnp.int32(0), jnp.bool_(False)), act)


def counter(env):
    """CountRecall: a count of each kind."""

    def act(key, counts, obs, last_action):
        counts = counts.at[obs[0]].add(1)
        return counts[obs[1]], counts

    return Expert(jnp.zeros((env.num_kinds,), jnp.int32), act)


def card_counter(env):
    """HigherLower: bet on the side on which more cards remain."""

    def act(key, remaining, rank, last_action):
        remaining = remaining.at[rank].add(-1)
        ranks = jnp.arange(len(remaining))
        higher, lower = (jnp.sum(remaining * side) for side in (ranks > rank, ranks < rank))
        return jnp.where(higher >= lower, 0, 1), remaining

    return Expert(env.full_deck(), act)


def threshold(env):
    """HigherLower without memory: bet on the side on which there are more ranks."""
    return Expert((), lambda key, memory, rank, last_action: (jnp.where(rank < 6, 0, 1), memory))


def first_suit(env):
    """RepeatFirst: one suit."""

    def act(key, memory, suit, last_action):
        answer = jnp.where(last_action < 0, suit, memory)
        return answer, answer

    return Expert(jnp.int32(0), act)


def window(env):
    """RepeatPrevious: the last k suits."""

    def act(key, recent, suit, last_action):
        recent = jnp.append(recent[1:], suit)
        return recent[0], recent

    return Expert(jnp.zeros((env.k,), jnp.int32), act)


def pair_finder(env):
    """Concentration: all cards seen; turn a known pair, else an unknown card and, if it is known, its like."""
    unknown = -1

    def act(key, memory, obs, last_action):
        known, matched, first = memory
        known = jnp.where(obs == env.num_kinds, known, obs)
        places = jnp.arange(env.num_cards)
        second = first >= 0
        match = second & (known[first] == known[last_action])
        matched = matched | (match & ((places == first) | (places == last_action)))
        first = jnp.where(second, -1, last_action)

        free = (known != unknown) & ~matched
        counts = jnp.sum((known == jnp.arange(env.num_kinds)[:, None]) & free, axis=1)
        in_pair = free & (counts[known] >= 2)
        like_first = free & (known == known[first]) & (places != first)
        good = jnp.where(first >= 0, like_first, in_pair)
        action = jnp.where(good.any(), jnp.argmax(good), jnp.argmax(known == unknown))
        return action, (known, matched, first)

    nothing = jnp.zeros((env.num_cards,), jnp.bool_)
    return Expert((jnp.where(nothing, 0, unknown), nothing, jnp.int32(-1)), act)


def thompson(env):
    """MultiarmedBandit: pull the arm that is best in a draw from the posterior, Beta(1, 1) before the first pull."""

    def act(key, counts, paid, last_action):
        counts = counts.at[last_action, paid].add(jnp.where(last_action < 0, 0, 1))
        return jnp.argmax(jax.random.beta(key, counts[:, 1], counts[:, 0])), counts

    return Expert(jnp.ones((env.num_bandits, 2), jnp.float32), act)


def balancer(env):
    """VelocityOnlyCartPole: integrate the velocities from the positions of the reset, and feed all back."""
    tau = env.default_params.tau

    def act(key, memory, obs, last_action):
        start = last_action < 0
        positions, velocities = memory
        positions = jnp.where(start, obs, positions + tau * velocities)
        velocities = jnp.where(start, 0, obs)
        push = positions @ jnp.array([0.05, 1.0]) + velocities @ jnp.array([0.1, 0.25])
        return jnp.where(push > 0, 1, 0), (positions, velocities)

    return Expert((jnp.zeros(2), jnp.zeros(2)), act)


def play(name, expert, num_episodes):
    """Returns of episodes, and whether each terminated."""
    env, params = make_env(f"popgym/{name}", raw=True)
    wanted = REFERENCE[name]
    limit = max(wanted["max_episode_length_attr"], wanted["length_max"])  # the attribute is -1 where popgym has none
    memory, act = expert(env)

    def episode(key):
        key_reset, key_steps = jax.random.split(key)
        obs, state = env.reset_env(key_reset, params)

        def step(carry, key):
            obs, state, memory, last_action, alive = carry
            key_act, key_step = jax.random.split(key)
            action, memory = act(key_act, memory, obs, last_action)
            obs, state, reward, terminated, _ = env.step_env(key_step, state, action, params)
            still = alive & ~terminated & ~env.is_truncated(state, params)
            return (obs, state, memory, action, still), (jnp.where(alive, reward, 0), alive & terminated)

        start = (obs, state, memory, jnp.int32(-1), jnp.bool_(True))
        _, (rewards, terminated) = jax.lax.scan(step, start, jax.random.split(key_steps, limit))
        return rewards.sum(), terminated.any()

    return map(np.asarray, jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(11), num_episodes)))


@pytest.mark.parametrize(
    "level", ["Easy"] + [pytest.param(level, marks=pytest.mark.slow) for level in ("Medium", "Hard")]
)
@pytest.mark.parametrize(
    "family,expert,policy",
    [
        ("RepeatFirst", first_suit, "RepFirst"),
        ("RepeatPrevious", window, "RepPrev"),
        ("Autoencode", reciter, "Auto"),
        ("CountRecall", counter, "Count"),
        ("HigherLower", card_counter, "HL"),
        ("HigherLower", threshold, "HLmemoryless"),
        ("Concentration", pair_finder, "Conc"),
        ("MultiarmedBandit", thompson, "TS"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_expert_earns_what_it_earns_in_the_original(family, level, expert, policy):
    name = family + level
    policies = {entry["policy"]: entry for entry in REFERENCE[name]["reference_policies"]}
    wanted = policies[policy]
    num_episodes = 200
    returns, terminated = play(name, expert, num_episodes)
    error = np.hypot(returns.std(), wanted["return_std"]) / np.sqrt(num_episodes)
    assert abs(returns.mean() - wanted["return_mean"]) < max(4 * error, 1e-5)
    assert terminated.mean() == wanted["frac_terminated"]


@LEVELS
def test_positions_at_the_reset_make_velocities_enough(level):
    returns, terminated = play(f"VelocityOnlyCartPole{level}", balancer, 50)
    np.testing.assert_allclose(returns, 1, atol=1e-5)
    assert not terminated.any()
