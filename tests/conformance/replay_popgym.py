"""Replay episodes recorded from the original popgym in our ports and compare every step.

    python tests/conformance/replay_popgym.py FILE.npz [--envs RepeatFirstEasy ...]

FILE is laid out as popgym_episodes.py describes: episodes under random actions, of experts, or
both, with the hidden state of their reset (`h_*`). The hidden state is injected, the actions are
replayed, and observations, rewards, terminated and truncated must agree. The `end` of a recording
that was cut is neither. By default all environments of the file are replayed. Exit code 1 if any
does not agree or cannot be replayed, 2 if there is nothing to replay.
"""

import argparse
import sys
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from popgym_episodes import Episode, episodes
from popgym_inject import family_of

from rlformers.envs.registry import make_env, names

# Of float32; integers must be equal. The cost of a pendulum's torque changes its reward by at most
# 2.5e-6.
TOLERANCE = {"obs": 1e-5, "reward": 1e-6}


def replay(env_name: str, recorded: list[Episode]) -> list[list[str]]:
    """The mismatches of each episode, one line per quantity."""
    env, params = make_env(f"popgym/{env_name}", raw=True)
    start = family_of(env_name).start
    space = env.action_space(params)

    def run(episode: Episode) -> dict[str, Array]:
        played, first, state = start(env, params, episode)

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
    differs = found != wanted if exact else ~(np.abs(found - wanted) <= TOLERANCE[key])
    steps = np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1))
    if not len(steps):
        return ""
    t = steps[0]
    return f"{key}: {len(steps)} of {len(found)} rows differ, first {t}: {found[t]}, recorded {wanted[t]}"


def _load(file: str) -> Any:
    """The arrays of the file.

    Raises:
        ValueError: it does not have arrays of environments.
    """
    try:
        data = np.load(file)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: not a readable .npz file: {error}") from error
    if not isinstance(data, np.lib.npyio.NpzFile) or not any("/" in key for key in data.files):
        raise ValueError(f"{file}: no environments; need a .npz file with arrays NAME/obs, NAME/action, ...")
    return data


def _replay_all(env_name: str, data: Any) -> bool:
    """Replay all episodes of an environment and print; whether all agree."""
    if f"popgym/{env_name}" not in names():
        print(f"{env_name}: recorded, but NOT REGISTERED as popgym/{env_name}")
        return False
    try:
        recorded = episodes(data, env_name, family_of(env_name).hidden)
        results = dict(zip(recorded, replay(env_name, list(recorded.values())), strict=True))
    except (IndexError, TypeError, ValueError) as error:  # arrays that do not have the layout or the game's shapes
        print(f"{env_name}: CANNOT BE REPLAYED: {error}")
        return False
    bad = [f"  {name}: {line}" for name, lines in results.items() for line in lines]
    print(f"{env_name}: {len(results)} episodes, " + (f"{len(bad)} MISMATCHES" if bad else "equal"), *bad, sep="\n")
    return not bad


def main(arguments: list[str] | None = None) -> int:
    """Replay and print; 0 if everything agrees, 1 if anything does not, 2 for bad arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument(
        "--envs", nargs="+", metavar="NAME", help="names of popgym classes or our ids, also separated by commas"
    )
    options = parser.parse_args(arguments)
    try:
        data = _load(options.file)
    except ValueError as error:
        parser.error(str(error))
    recorded = sorted({key.split("/")[0] for key in data.files if "/" in key})
    asked = [name.strip().removeprefix("popgym/") for listed in options.envs or () for name in listed.split(",")]
    chosen = list(dict.fromkeys(name for name in asked if name)) if options.envs else recorded
    if not chosen:
        parser.error("--envs: need at least one name")
    for env_name in chosen:
        if env_name not in recorded:
            parser.error(f"--envs: {env_name!r} is not in the file, which has {', '.join(recorded)}")
    # popgym's physics is float64, and a balanced pole multiplies the difference to float32 by e
    # every few steps.
    with jax.enable_x64(True):
        num_good = sum(_replay_all(env_name, data) for env_name in chosen)
    print(f"{num_good} of {len(chosen)} environments agree with popgym")
    return int(num_good < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
