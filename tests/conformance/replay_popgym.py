"""Replay episodes recorded from the original popgym in our ports and compare every step.

    python tests/conformance/replay_popgym.py FILE.npz [--envs RepeatFirstEasy ...]

FILE is laid out like tests/data/popgym/popgym_trajectories.npz. Per environment it holds episodes under random actions,
one after the other, with the hidden state of their reset (`h_*`), and for some an expert's episode (`expert/*`). The
hidden state is injected, the actions are replayed, and observations, rewards, terminated and truncated must agree. By
default all environments of the file that are registered are replayed. Exit code 1 on any mismatch.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.envs.registry import make_env, names

TOLERANCE = 1e-5  # of float32 observations and rewards; integers must be equal


class Episode(NamedTuple):
    """A recorded episode of T steps."""

    name: str
    obs: np.ndarray  # [T + 1, n], row 0 from the reset
    action: np.ndarray  # [T, m]
    reward: np.ndarray  # [T]
    end: np.ndarray  # [2]: terminated, truncated of the last step; all earlier ones are False
    hidden: dict[str, np.ndarray]


def episodes(data: Any, env_name: str) -> Iterator[Episode]:
    """All episodes of an environment in the file."""
    fields = {key.removeprefix(f"{env_name}/"): data[key] for key in data if key.startswith(f"{env_name}/")}
    expert = {key.removeprefix("expert/"): fields.pop(key) for key in list(fields) if key.startswith("expert/")}
    lengths = fields["T"].astype(int)
    start = np.concatenate([[0], np.cumsum(lengths)])
    for i, length in enumerate(lengths):
        steps = slice(start[i], start[i] + length)
        obs = fields["obs"][start[i] + i : start[i] + i + length + 1]  # one row more per earlier episode
        hidden = {key: value[i] for key, value in fields.items() if key.startswith("h_")}
        yield Episode(f"random {i}", obs, fields["action"][steps], _reward(fields)[steps], fields["end"][i], hidden)
    if expert:
        hidden = {key: value for key, value in expert.items() if key.startswith("h_")}
        yield Episode("expert", expert["obs"], expert["action"], _reward(expert), expert["end"].reshape(2), hidden)


def _reward(fields: dict[str, np.ndarray]) -> np.ndarray:
    return fields["reward"] if "reward" in fields else fields["reward_values"][fields["reward_code"]]


def start_suits(env: Any, params: Any, hidden: dict[str, np.ndarray]) -> tuple[Any, Any, Any]:
    """A game of suits whose next card comes from the recorded deck, which is in the order of dealing."""
    deck = jnp.asarray(hidden["h_cards"], jnp.int32)
    env = copy.copy(env)
    env.draw = lambda key, remaining: deck[len(deck) - jnp.sum(remaining, dtype=jnp.int32)]
    return env, *env.reset_env(jax.random.key(0), params)


def start_physics(env: Any, params: Any, hidden: dict[str, np.ndarray]) -> tuple[Any, Any, Any]:
    """A physical system in the recorded state."""
    _, state = env.reset_env(jax.random.key(0), params)
    state = type(state)(*jnp.asarray(hidden["h_state0"], jnp.float64), time=state.time)
    return env, env.observe(jax.random.key(0), state, None, params), state


INJECT: dict[str, Callable] = {
    "RepeatFirst": start_suits,
    "RepeatPrevious": start_suits,
    "PositionOnlyCartPole": start_physics,
    "PositionOnlyPendulum": start_physics,
}


def replay(env_name: str, episode: Episode) -> list[str]:
    """The mismatches of one episode, one line per quantity."""
    env, params = make_env(f"popgym/{env_name}", raw=True)
    inject = INJECT[env_name.removesuffix("Easy").removesuffix("Medium").removesuffix("Hard")]
    env, first, state = inject(env, params, episode.hidden)
    space = env.action_space(params)
    actions = jnp.asarray(episode.action.reshape(-1, *space.shape), space.dtype)

    def step(state: Any, action: Any) -> tuple[Any, Any]:
        obs, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        return state, (obs, reward, terminated, env.is_truncated(state, params))

    _, (later, reward, terminated, truncated) = jax.lax.scan(step, state, actions)
    steps = len(actions)
    obs = np.concatenate([np.reshape(first, (1, -1)), np.reshape(later, (steps, -1))])
    last = np.arange(steps) == steps - 1
    found = {"obs": obs, "reward": reward, "terminated": terminated, "truncated": truncated}
    wanted = {
        "obs": episode.obs,
        "reward": episode.reward,
        "terminated": last & episode.end[0],
        "truncated": last & episode.end[1],
    }
    return [line for key in found if (line := _compare(key, np.asarray(found[key]), wanted[key]))]


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
            results = {episode.name: replay(env_name, episode) for episode in episodes(data, env_name)}
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
