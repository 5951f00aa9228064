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


def play(name, expert, num_episodes):
    """Returns of episodes, and whether each terminated."""
    env, params = make_env(f"popgym/{name}", raw=True)
    wanted = REFERENCE[name]
    limit = max(wanted["max_episode_length_attr"], wanted["length_max"])
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
        ("Autoencode", reciter, "Auto"),
        ("CountRecall", counter, "Count"),
        ("HigherLower", card_counter, "HL"),
        ("HigherLower", threshold, "HLmemoryless"),
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
