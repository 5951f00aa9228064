"""Read files of recorded episodes that are laid out like tests/data/popgym/popgym_trajectories.npz.

Of an environment under random actions, as `NAME/KEY`, and of its experts, as `NAME/expert/KEY`, either may be absent:

    T                [N]            lengths; a single episode may do without
    obs              [sum(T)+N, n]  one row more per episode: that of the reset
    action           [sum(T), m]
    reward           [sum(T)]       or `reward_values`[`reward_code`]
    end              [N, 2]         terminated and truncated of the last step; of a single episode also [2]
    h_states         [sum(T), ...]  hidden states after each step
    h_* (all else)   [N, ...]       hidden at the reset; a single episode may do without the axis
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

# Axes of what is hidden at the reset of one episode.
HIDDEN_AXES = {
    "h_cards": 1,
    "h_value": 1,
    "h_query": 1,
    "h_state0": 1,
    "h_payouts": 1,
    "h_board": 2,
    "h_mines": 2,
    "h_grid": 2,
    "h_start": 1,
}


class Episode(NamedTuple):
    """A recorded episode of T steps."""

    obs: np.ndarray  # [T + 1, n], row 0 from the reset
    action: np.ndarray  # [T, m]
    reward: np.ndarray  # [T]
    end: np.ndarray  # [2]: terminated, truncated of the last step; all earlier ones are False
    hidden: dict[str, np.ndarray]


def episodes(data: Mapping[str, np.ndarray], env_name: str, hidden: Iterable[str]) -> dict[str, Episode]:
    """All episodes of an environment in the file, with the named hidden arrays only.

    Raises:
        ValueError: the arrays of the environment do not have the layout.
    """
    found = {}
    for kind, prefix in (("random", f"{env_name}/"), ("expert", f"{env_name}/expert/")):
        keys = {key: key.removeprefix(prefix) for key in data if key.startswith(prefix)}
        fields = {name: data[key] for key, name in keys.items() if "/" not in name}
        if fields.keys() & {"T", "obs", "action", "end"}:
            found |= {f"{kind} {i}": episode for i, episode in enumerate(_split(prefix, fields, hidden))}
    if not found:
        raise ValueError(f"{env_name}/: no episodes in the file")
    return found


def _split(prefix: str, fields: dict[str, np.ndarray], hidden: Iterable[str]) -> list[Episode]:
    """Episodes, recorded one after the other."""

    def need(key: str) -> np.ndarray:
        if key not in fields:
            raise ValueError(f"{prefix}{key}: missing; there are {', '.join(sorted(fields))}")
        return fields[key]

    def check(key: str, array: np.ndarray, rows: int) -> np.ndarray:
        if array.ndim == 0 or len(array) != rows:
            raise ValueError(
                f"{prefix}{key}: need {rows} rows for {num} episodes of T = {T.tolist()}, got {array.shape}"
            )
        return array

    end = np.atleast_2d(need("end")).astype(bool)
    if end.shape[1:] != (2,):
        raise ValueError(f"{prefix}end: need shape (episodes, 2), got {fields['end'].shape}")
    num = len(end)
    action = need("action")
    if "T" not in fields and num != 1:
        raise ValueError(f"{prefix}T: missing; {num} episodes cannot be told apart without")
    T = np.atleast_1d(fields.get("T", len(action))).astype(int)
    if (T < 1).any():
        raise ValueError(f"{prefix}T: need at least one step in every episode, got {T.tolist()}")
    check("T", T, num)
    check("action", action, T.sum())
    obs = check("obs", need("obs"), T.sum() + num)
    reward = fields["reward"] if "reward" in fields else need("reward_values")[need("reward_code").astype(int)]
    reward = check("reward", reward, T.sum()).reshape(-1)
    whole = {}
    for key in hidden:
        single = key != "h_states" and num == 1 and need(key).ndim == HIDDEN_AXES[key]
        whole[key] = need(key)[None] if single else check(key, need(key), T.sum() if key == "h_states" else num)
    start = np.concatenate([[0], np.cumsum(T)])
    return [
        Episode(
            obs[first + i : last + i + 1].reshape(last - first + 1, -1),
            action[first:last].reshape(last - first, -1),
            reward[first:last],
            end[i],
            {key: rows[first:last] if key == "h_states" else rows[i] for key, rows in whole.items()},
        )
        for i, (first, last) in enumerate(itertools.pairwise(start))
    ]
