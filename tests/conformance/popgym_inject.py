"""Start our ports of popgym's environments as recorded episodes did, with their chance events replaced."""

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from popgym_episodes import Episode

ULP = float(np.finfo(np.float32).eps)  # a unit in the last place of a float32 near 1


def _with_decks(env: Any, *decks: Array) -> Any:
    """A game of cards that deals from recorded decks, which are in the order of dealing, taking turns."""
    env = copy.copy(env)
    turns = itertools.cycle(decks)

    def draw(key: Any, remaining: Array) -> Array:
        deck = next(turns)
        return deck[len(deck) - jnp.sum(remaining, dtype=jnp.int32)].astype(jnp.int32)

    env.draw = draw
    return env


def start_cards(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A game of one deck."""
    env = _with_decks(env, episode.hidden["h_cards"])
    return env, *env.reset_env(jax.random.key(0), params)


def start_count_recall(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A game of two decks, which deals from the one of values first."""
    env = _with_decks(env, episode.hidden["h_value"], episode.hidden["h_query"])
    return env, *env.reset_env(jax.random.key(0), params)


def start_physics(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A physical system in the recorded state."""
    _, state = env.reset_env(jax.random.key(0), params)
    state = type(state)(*episode.hidden["h_state0"].astype(jnp.float64), time=state.time)
    return env, env.observe(jax.random.key(0), state, None, params), state


def _following(env: Any, correct: Callable[[Any], Any]) -> Any:
    """The environment, whose state is corrected after every step (rewards, ends and observations are not).

    Balanced poles and pendulums multiply rounding errors by e every 13 and 5 steps: free runs part
    after some 350 and 150, in float64, too. So they take from the record what differs from theirs
    by the record's rounding only.
    """

    def step_env(key: Any, state: Any, action: Any, params: Any) -> tuple[Any, Any, Any, Any, dict]:
        obs, state, reward, terminated, info = env.step_env(key, state, action, params)
        return obs, correct(state), reward, terminated, info

    following = copy.copy(env)
    following.step_env = step_env
    return following


def _recorded(values: dict[str, Array], recorded: Array, rounding: Array) -> dict[str, Array]:
    """The recorded values where they differ from these only by rounding."""
    pairs = zip(values.items(), recorded, jnp.broadcast_to(rounding, recorded.shape), strict=True)
    return {name: jnp.where(jnp.abs(own - wanted) <= error, wanted, own) for (name, own), wanted, error in pairs}


def start_cartpole(shown: tuple[str, str], env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A cart-pole that follows the two variables it shows."""
    env, first, state = start_physics(env, params, episode)

    def correct(state: Any) -> Any:
        recorded = episode.obs[state.time].astype(jnp.float64)
        rounding = ULP * jnp.abs(recorded) + 1e-8
        return state._replace(**_recorded({name: getattr(state, name) for name in shown}, recorded, rounding))

    return _following(env, correct), first, state


def start_pendulum(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A pendulum that follows its direction. Wrong torques show all the same: nothing corrects the velocity."""
    env, first, state = start_physics(env, params, episode)

    def correct(state: Any) -> Any:
        cos, sin = episode.obs[state.time].astype(jnp.float64)
        turns = jnp.round((state.theta - jnp.atan2(sin, cos)) / (2 * jnp.pi))
        recorded = jnp.atan2(sin, cos) + 2 * jnp.pi * turns
        return state._replace(**_recorded({"theta": state.theta}, recorded[None], 4 * ULP))

    return _following(env, correct), first, state


def start_noisy(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A physical system seen with the recorded noise: what the clipped observation differs by from the true one."""
    inner, first, state = start_physics(env.env, params, episode)

    def observe(values: Array) -> Array:
        return inner.observe(jax.random.key(0), type(state)(*values, time=state.time), None, params)

    true = jnp.concatenate([first[None], jax.vmap(observe)(episode.hidden["h_states"])])
    noise = episode.obs - true
    env = copy.copy(env)
    env.noise = lambda key, state: noise[state.time]
    return env, env.disturb(jax.random.key(0), first, state, params), state


def start_noisy_pendulum(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A pendulum seen with the recorded noise that follows the recorded states."""
    env, first, state = start_noisy(env, params, episode)

    def correct(state: Any) -> Any:
        recorded = episode.hidden["h_states"][state.time - 1].astype(jnp.float64)
        # Half a unit of its own, and what the step makes of half a unit of either variable of the
        # last state.
        rounding = 2 * ULP * jnp.abs(recorded).sum() + 1e-8
        return state._replace(**_recorded({"theta": state.theta, "theta_dot": state.theta_dot}, recorded, rounding))

    return _following(env, correct), first, state


def start_bandit(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """Arms that pay when the recorded ones did."""
    first, state = env.reset_env(jax.random.key(0), params)
    env = copy.copy(env)
    env.pays = lambda key, state, action: episode.obs[state.time + 1, 0] == 1
    return env, first, state._replace(payouts=episode.hidden["h_payouts"])


def start_concentration(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """The recorded layout, as if all cards had been turned once."""
    first, state = env.reset_env(jax.random.key(0), params)
    table = episode.hidden["h_cards"].astype(jnp.int32)
    return env, first, state._replace(table=table, remaining=jnp.zeros_like(state.remaining))


def start_battleship(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """The recorded ships."""
    first, state = env.reset_env(jax.random.key(0), params)
    return env, first, state._replace(ships=episode.hidden["h_board"] == 1)


def start_minesweeper(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """The recorded mines. The numbers under all tiles, `h_neighbors`, are compared as far as tiles are clicked."""
    first, state = env.reset_env(jax.random.key(0), params)
    return env, first, state._replace(mines=episode.hidden["h_mines"] == 1)


def start_labyrinth(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """The recorded maze."""
    grid, start = (episode.hidden[key] for key in ("h_grid", "h_start"))
    return env, *env.begin(grid.astype(jnp.int8), start.astype(jnp.int32))


class Family(NamedTuple):
    """How a family starts like an episode.

    `start` takes environment, params and the episode (as JAX arrays, under jit and vmap; rows
    beyond its end are padding) to the environment with its chance events replaced, first
    observation and state.
    """

    start: Callable[[Any, Any, Episode], tuple[Any, Any, Any]]
    hidden: tuple[str, ...]  # what it needs from the recording


INJECT: dict[str, Family] = {
    "RepeatFirst": Family(start_cards, ("h_cards",)),
    "RepeatPrevious": Family(start_cards, ("h_cards",)),
    "Autoencode": Family(start_cards, ("h_cards",)),
    "HigherLower": Family(start_cards, ("h_cards",)),
    "CountRecall": Family(start_count_recall, ("h_value", "h_query")),
    "PositionOnlyCartPole": Family(partial(start_cartpole, ("x", "theta")), ("h_state0",)),
    "PositionOnlyPendulum": Family(start_pendulum, ("h_state0",)),
    "VelocityOnlyCartPole": Family(partial(start_cartpole, ("x_dot", "theta_dot")), ("h_state0",)),
    "NoisyPositionOnlyCartPole": Family(start_noisy, ("h_state0", "h_states")),
    "NoisyPositionOnlyPendulum": Family(start_noisy_pendulum, ("h_state0", "h_states")),
    "MultiarmedBandit": Family(start_bandit, ("h_payouts",)),
    "Concentration": Family(start_concentration, ("h_cards",)),
    "Battleship": Family(start_battleship, ("h_board",)),
    "MineSweeper": Family(start_minesweeper, ("h_mines",)),
    "LabyrinthExplore": Family(start_labyrinth, ("h_grid", "h_start")),
    "LabyrinthEscape": Family(start_labyrinth, ("h_grid", "h_start")),
}


def family_of(env_name: str) -> Family:
    """What starts an environment, whatever its level."""
    return INJECT[env_name.removesuffix("Easy").removesuffix("Medium").removesuffix("Hard")]
