"""The best return of an attempt of Alchemy with a known chemistry: what an agent can gain by finding it out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from rlformers.envs.meta.alchemy import BONUS, CORNERS, NUM_POTIONS, NUM_STONES, Alchemy
from rlformers.errors import UserError

WORTH = CORNERS.sum(1) + BONUS * (CORNERS == 1).all(1)  # of a stone in each corner


class Options(NamedTuple):
    """What can be made of a stone, the best first. Nothing that takes more potions and is worth no more."""

    potions: Int64[np.ndarray, "n 6"]  # how many of each kind, 2 axis + (direction + 1) / 2, it takes
    worth: Int64[np.ndarray, " n"]


def options(edges: Bool[np.ndarray, "3 8"], start: int) -> Options:
    """For a stone in a corner of a graph: all ways that visit no corner twice, and to leave the stone alone."""
    none: tuple[int, ...] = (0,) * 6
    ways, walks = [(none, 0)], [(start, none, {start})]
    for corner, potions, visited in walks:  # it grows
        if WORTH[corner] > 0:
            ways.append((potions, int(WORTH[corner])))
        for axis in range(3):
            to = corner ^ (1 << axis)
            if edges[axis, corner] and to not in visited:
                kind = 2 * axis + (to >> axis & 1)
                taken = tuple(number + (i == kind) for i, number in enumerate(potions))
                walks.append((to, taken, visited | {to}))
    best: list[tuple[tuple[int, ...], int]] = []
    for potions, worth in sorted(set(ways), key=lambda way: (-way[1], sum(way[0]))):
        if not any(all(a <= b for a, b in zip(other, potions, strict=True)) for other, _ in best):
            best.append((potions, worth))
    return Options(np.array([potions for potions, _ in best]), np.array([worth for _, worth in best]))


def most_worth(stones: list[Options], potions: Int64[np.ndarray, "6"]) -> int:
    """The most that some stones can be made worth together with some potions of each kind."""
    if not stones:
        return 0
    total = 0
    for needed, worth in zip(*stones[0], strict=True):
        if (needed <= potions).all():
            total = max(total, int(worth) + most_worth(stones[1:], potions - needed))
    return total


def alchemy_known_chemistry(env: Alchemy, num_attempts: int, seed: int = 0) -> Float64[np.ndarray, " N"]:
    """Optimal returns of N random attempts whose chemistries are known.

    The perceptual maps do not matter, so every split has the same optimum.

    Raises:
        UserError: Attempts in which there may be no time for all potions and stones.
    """
    if env.episode_length < NUM_POTIONS + NUM_STONES:
        least = NUM_POTIONS + NUM_STONES
        raise UserError(f"env_kwargs.episode_length: need at least {least}, got {env.episode_length}")
    rng = np.random.default_rng(seed)
    prior = np.exp(env.log_prior)
    table = [[options(edges, corner) for corner in range(len(CORNERS))] for edges in np.asarray(env.graphs)]
    returns = np.zeros(num_attempts)
    for i, graph in enumerate(rng.choice(len(prior), num_attempts, p=prior / prior.sum())):
        stones = [table[graph][corner] for corner in rng.integers(0, len(CORNERS), NUM_STONES)]
        returns[i] = most_worth(stones, np.bincount(rng.integers(0, 6, NUM_POTIONS), minlength=6))
    return returns
