"""Replay episodes recorded from the original popgym in our ports and compare every step.

    python tests/conformance/replay_popgym.py FILE.npz [--envs RepeatFirstEasy ...]

FILE is laid out like tests/data/popgym/popgym_trajectories.npz. Per environment it holds episodes under random actions,
one after the other, with the hidden state of their reset (`h_*`), and for some an expert's episode (`expert/*`). The
hidden state is injected, the actions are replayed, and observations, rewards, terminated and truncated must agree. The
`end` of a recording that was cut is neither. By default all environments of the file that are registered are replayed.
Exit code 1 on any mismatch.
"""

import argparse
import copy
import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rlformers.envs.registry import make_env, names

TOLERANCE = 1e-5  # of float32 observations and rewards; integers must be equal


class Episode(NamedTuple):
    """A recorded episode of T steps."""

    obs: np.ndarray  # [T + 1, n], row 0 from the reset
    action: np.ndarray  # [T, m]
    reward: np.ndarray  # [T]
    end: np.ndarray  # [2]: terminated, truncated of the last step; all earlier ones are False
    hidden: dict[str, np.ndarray]


def episodes(data: Any, env_name: str) -> dict[str, Episode]:
    """All episodes of an environment in the file."""
    fields = {key.removeprefix(f"{env_name}/"): data[key] for key in data if key.startswith(f"{env_name}/")}
    expert = {key.removeprefix("expert/"): fields.pop(key) for key in list(fields) if key.startswith("expert/")}
    found = {}
    start = np.concatenate([[0], np.cumsum(fields["T"].astype(int))])
    for i, (first, last) in enumerate(itertools.pairwise(start)):
        obs = fields["obs"][first + i : last + i + 1]  # one row more per earlier episode
        hidden = {
            key: value[first:last] if key == "h_states" else value[i]
            for key, value in fields.items()
            if key.startswith("h_")
        }
        end = fields["end"][i]
        found[f"random {i}"] = Episode(obs, fields["action"][first:last], _reward(fields)[first:last], end, hidden)
    if expert:
        hidden = {key: value for key, value in expert.items() if key.startswith("h_")}
        end = expert["end"].reshape(2)
        found["expert"] = Episode(expert["obs"], expert["action"], _reward(expert), end, hidden)
    return found


def _reward(fields: dict[str, np.ndarray]) -> np.ndarray:
    return fields["reward"] if "reward" in fields else fields["reward_values"][fields["reward_code"]]


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


def start_cartpole(shown: tuple[str, str], env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A cart-pole that takes the variables it shows from the record after every step, if they differ by rounding only.

    A balanced pole multiplies rounding errors by e every 13 steps: free runs part after 350, in float64, too.
    """
    env, first, state = start_physics(env, params, episode)

    def step_env(key: Any, state: Any, action: Any, params: Any) -> tuple[Any, Any, Any, Any, dict]:
        obs, state, reward, terminated, info = env.step_env(key, state, action, params)
        own = jnp.stack([getattr(state, name) for name in shown])
        recorded = episode.obs[state.time].astype(own.dtype)
        rounding = jnp.finfo(jnp.float32).eps * jnp.abs(recorded) + 1e-8
        values = jnp.where(jnp.abs(own - recorded) <= rounding, recorded, own)
        return obs, state._replace(**dict(zip(shown, values, strict=True))), reward, terminated, info

    following = copy.copy(env)
    following.step_env = step_env
    return following, first, state


def start_noisy_physics(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """A physical system seen with the recorded noise: what the clipped observation differs by from the true one."""
    inner, first, state = start_physics(env.env, params, episode)

    def observe(values: Array) -> Array:
        return inner.observe(jax.random.key(0), type(state)(*values, time=state.time), None, params)

    true = jnp.concatenate([first[None], jax.vmap(observe)(episode.hidden["h_states"])])
    noise = episode.obs - true
    env = copy.copy(env)
    env.noise = lambda key, state: noise[state.time]
    return env, env.disturb(jax.random.key(0), first, state, params), state


def start_bandit(env: Any, params: Any, episode: Episode) -> tuple[Any, Any, Any]:
    """Arms that pay when they did."""
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


# How each family starts as an episode did: environment, params and the episode (as JAX arrays, under jit and vmap; rows
# beyond its end are padding) to the environment with its chance events replaced, first observation and state.
INJECT: dict[str, Callable[[Any, Any, Episode], tuple[Any, Any, Any]]] = {
    "RepeatFirst": start_cards,
    "RepeatPrevious": start_cards,
    "Autoencode": start_cards,
    "HigherLower": start_cards,
    "CountRecall": start_count_recall,
    "PositionOnlyCartPole": partial(start_cartpole, ("x", "theta")),
    "PositionOnlyPendulum": start_physics,
    "VelocityOnlyCartPole": partial(start_cartpole, ("x_dot", "theta_dot")),
    "NoisyPositionOnlyCartPole": start_noisy_physics,
    "NoisyPositionOnlyPendulum": start_noisy_physics,
    "MultiarmedBandit": start_bandit,
    "Concentration": start_concentration,
    "Battleship": start_battleship,
    "MineSweeper": start_minesweeper,
    "LabyrinthExplore": start_labyrinth,
    "LabyrinthEscape": start_labyrinth,
}


def replay(env_name: str, recorded: list[Episode]) -> list[list[str]]:
    """The mismatches of each episode, one line per quantity."""
    env, params = make_env(f"popgym/{env_name}", raw=True)
    inject = INJECT[env_name.removesuffix("Easy").removesuffix("Medium").removesuffix("Hard")]
    space = env.action_space(params)

    def run(episode: Episode) -> dict[str, Array]:
        played, first, state = inject(env, params, episode)

        def step(state: Any, action: Any) -> tuple[Any, Any]:
            obs, state, reward, terminated, _ = played.step_env(jax.random.key(0), state, action, params)
            return state, (obs, reward, terminated, played.is_truncated(state, params))

        actions = episode.action.reshape(-1, *space.shape).astype(space.dtype)
        _, (later, reward, terminated, truncated) = jax.lax.scan(step, state, actions)
        obs = jnp.concatenate([_rows(jax.tree.map(lambda part: part[None], first)), _rows(later)])
        return {"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated}

    longest = max(len(episode.action) for episode in recorded)
    padded = [_pad(episode, longest - len(episode.action)) for episode in recorded]
    found = jax.jit(jax.vmap(run))(jax.tree.map(lambda *parts: np.stack(parts), *padded))
    return [
        _mismatches({key: np.asarray(value[i]) for key, value in found.items()}, episode)
        for i, episode in enumerate(recorded)
    ]


def _rows(obs: Any) -> Array:
    """Observations [T, ...], or a tuple of them, as rows [T, n]."""
    return jnp.concatenate([part.reshape(len(part), -1) for part in jax.tree.leaves(obs)], axis=1)


def _pad(episode: Episode, steps: int) -> Episode:
    """Repeat the last row of everything that has one per step."""

    def longer(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows, np.repeat(rows[-1:], steps, axis=0)])

    hidden = {key: longer(value) if key == "h_states" else value for key, value in episode.hidden.items()}
    return Episode(longer(episode.obs), longer(episode.action), longer(episode.reward), episode.end, hidden)


def _mismatches(found: dict[str, np.ndarray], episode: Episode) -> list[str]:
    steps = len(episode.action)
    last = np.arange(steps) == steps - 1
    wanted = {
        "obs": episode.obs,
        "reward": episode.reward,
        "terminated": last & episode.end[0],
        "truncated": last & episode.end[1],
    }
    return [line for key in found if (line := _compare(key, found[key][: len(wanted[key])], wanted[key]))]


def _compare(key: str, found: np.ndarray, wanted: np.ndarray) -> str:
    if found.shape != wanted.shape:
        return f"{key}: shape {found.shape}, recorded {wanted.shape}"
    exact = found.dtype.kind in "biu" and wanted.dtype.kind in "biu"
    differs = found != wanted if exact else ~(np.abs(found - wanted) <= TOLERANCE)
    steps = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    if not len(steps):
        return ""
    t = steps[0]
    return f"{key}: {len(steps)} of {len(found)} rows differ, first {t}: {found[t]}, recorded {wanted[t]}"


def main(arguments: list[str] | None = None) -> int:
    """Replay and print; 0 if everything agrees, 1 if anything differs, 2 for bad arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--envs", nargs="+", metavar="NAME", help="names of popgym classes")
    options = parser.parse_args(arguments)
    data = np.load(options.file)
    recorded = {key.split("/")[0] for key in data.files}
    registered = {name.removeprefix("popgym/") for name in names() if name.startswith("popgym/")}
    chosen = options.envs or sorted(recorded & registered)
    for env_name in chosen:
        if env_name not in recorded & registered:
            parser.error(f"--envs: {env_name!r} is not both recorded in the file and registered")
    num_bad = 0
    # popgym's physics is float64, and a balanced pole multiplies the difference to float32 by e every few steps.
    with jax.enable_x64(True):
        for env_name in chosen:
            recorded = episodes(data, env_name)
            results = dict(zip(recorded, replay(env_name, list(recorded.values())), strict=True))
            bad = [f"  {name}: {line}" for name, lines in results.items() for line in lines]
            num_bad += bool(bad)
            print(
                f"{env_name}: {len(results)} episodes, " + (f"{len(bad)} MISMATCHES" if bad else "equal"),
                *bad,
                sep="\n",
            )
    print(f"{len(chosen) - num_bad} of {len(chosen)} environments agree with popgym")
    return int(num_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
