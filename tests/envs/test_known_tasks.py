"""What trials are worth to who knows the task, against searches that know only the rules."""

from functools import cache

import jax
import numpy as np
import pytest

from rlformers.envs.meta.alchemy import CORNERS, Alchemy, possible_graphs
from rlformers.envs.meta.dark_key_to_door import DarkKeyToDoor
from rlformers.envs.meta.dark_room import MOVES, DarkRoom, cells
from rlformers.envs.meta.point_robot import PointRobot
from rlformers.envs.registry import BUILT_IN
from rlformers.envs.scores import known_scores
from tools.references.alchemy import WORTH, alchemy_known_chemistry, most_worth, options
from tools.references.known_goals import dark_key_to_door_known_task, dark_room_known_goal, point_robot_known_goal


def test_keys_and_doors_by_value_iteration():
    size, steps = 3, 9
    env = DarkKeyToDoor(size, split="all")
    rooms = list(map(tuple, cells(size).tolist()))

    def trial(key, door):
        @cache
        def value(cell, has_key, left):
            if left == 0:
                return 0.0
            outcomes = []
            for move in MOVES.tolist():
                there = tuple(np.clip(np.add(cell, move), 0, size - 1).tolist())
                if has_key and there == door:
                    outcomes.append(1 + np.mean([value(start, False, left - 1) for start in rooms]))
                else:
                    takes = not has_key and there == key
                    outcomes.append(takes + value(there, has_key or takes, left - 1))
            return max(outcomes)

        return np.mean([value(start, False, steps) for start in rooms])

    searched = np.mean([trial(rooms[task // size**2], rooms[task % size**2]) for task in env.tasks])
    assert dark_key_to_door_known_task(env, steps) == pytest.approx(searched)
    with pytest.raises(ValueError, match="need attempts of 8 steps or more, got 7"):
        dark_key_to_door_known_task(DarkKeyToDoor(size, episode_length=7), steps)


def test_stones_by_search():
    rng, (graphs, _) = np.random.default_rng(0), possible_graphs()
    for graph in rng.choice(len(graphs), 15):
        edges = graphs[graph]

        @cache
        def value(stones, potions, edges=edges):
            """Cash all stones in now, or dip one of them into a potion first."""
            best = sum(max(0, WORTH[stone]) for stone in stones)
            for i, stone in enumerate(stones):
                for kind, number in enumerate(potions):
                    axis, direction = divmod(kind, 2)
                    if number and edges[axis, stone] and stone >> axis & 1 != direction:
                        moved = tuple(sorted([*stones[:i], stone ^ (1 << axis), *stones[i + 1 :]]))
                        left = tuple(n - (j == kind) for j, n in enumerate(potions))
                        best = max(best, value(moved, left))
            return best

        stones, potions = rng.integers(0, 8, 3).tolist(), np.bincount(rng.integers(0, 6, 7), minlength=6)
        found = most_worth([options(edges, stone) for stone in stones], potions)
        assert found == value(tuple(sorted(stones)), tuple(potions.tolist()))
    assert WORTH[(CORNERS == 1).all(1)] == 15 and sorted(WORTH) == [-3, -1, -1, -1, 1, 1, 1, 15]


def test_ceilings_of_trials_are_these():
    ceiling = {name: BUILT_IN[f"meta/{name}"].scores().ceiling for name in ("DarkRoom", "PointRobot", "Alchemy")}
    assert ceiling["DarkRoom"] == pytest.approx(5 * dark_room_known_goal(DarkRoom()))
    assert ceiling["PointRobot"] == pytest.approx(5 * point_robot_known_goal(PointRobot(), jax.random.key(0)), abs=0.1)
    attempts = alchemy_known_chemistry(Alchemy(), 1000)
    assert abs(10 * attempts.mean() - ceiling["Alchemy"]) < 4 * 10 * attempts.std() / np.sqrt(len(attempts))
    with pytest.raises(ValueError, match=r"env_kwargs\.episode_length: need at least 15, got 14"):
        alchemy_known_chemistry(Alchemy(episode_length=14), 1)
    known = dark_key_to_door_known_task(DarkKeyToDoor(), 500)
    assert known_scores("meta/DarkKeyToDoor").ceiling == round(known, 1)
