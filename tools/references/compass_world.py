"""Compass World: the optimum with a known start, and a policy that finds the start out."""

import numpy as np
from jaxtyping import Int

from rlformers.envs.memory.compass_world import GREEN, MOVES, NORTH, NOTHING, ORANGE, WEST


def steps_if_known(size: int) -> Int[np.ndarray, "n n 4"]:
    """Fewest steps to the goal from every row, column and way to face: breadth-first from the goal, backwards."""
    steps = np.full((size, size, 4), -1)
    steps[0, 0, WEST] = 0
    border = [(0, 0, WEST)]
    while border:
        row, column, facing = border.pop(0)
        back = (row - MOVES[facing][0], column - MOVES[facing][1])
        before = [(row, column, (facing + turn) % 4) for turn in (1, 3)]
        for place in [*before, (*back, facing)]:
            if 0 <= place[0] < size and 0 <= place[1] < size and steps[place] < 0:
                steps[place] = steps[row, column, facing] + 1
                border.append(place)
    return steps


def without_start(size: int) -> float:
    """Mean fewest steps to the goal if the start is known: a bound for agents that do not know it."""
    steps = steps_if_known(size)
    return float(steps.sum() / (steps.size - 1))


class Walker:
    """A policy that finds the goal from what it sees: to a wall, then along the walls to the corner of green.

    It walks ahead until it sees a colour, by which it knows which way it faces; turns until it
    faces north and goes to that wall; then west to that one.
    """

    def __init__(self) -> None:
        self.facing: int | None = None
        self.wanted = NORTH

    def act(self, seen: int) -> int:
        """The next action."""
        if seen != NOTHING:
            self.facing = WEST if seen == GREEN else seen - ORANGE
        if self.facing is None:
            return 0
        if self.facing == self.wanted and seen != NOTHING:
            self.wanted = WEST
        if self.facing == self.wanted:
            return 0
        turn = 1 if (self.wanted - self.facing) % 4 == 1 else 2
        self.facing = (self.facing + (1 if turn == 1 else -1)) % 4
        return turn
