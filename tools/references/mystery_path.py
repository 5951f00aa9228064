"""Mystery Path: policies that know the path, or find it out."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from rlformers.envs.memory.turtle import AHEAD, FORWARD, TURN_LEFT, TURN_RIGHT

Cell = tuple[int, int]


class Walker:
    """A policy that goes from known cells of the path to the unknown one next to them that is nearest to the goal.

    It never enters a cell again that it fell off, and sees observations alone. Told the path, it
    only walks it.

    Args:
        size: Cells along a side.
        path: All cells of the path, if it is to know them.
    """

    def __init__(self, size: int, path: Iterable[Cell] | None = None):
        self.size = size
        self.safe: set[Cell] = set() if path is None else set(path)
        self.knows = path is not None
        self.bad: set[Cell] = set()

    def act(self, obs: Int[np.ndarray, "8"]) -> int:
        """The next action."""
        x, y, facing, fell, *ends = (int(number) for number in obs)
        goal = (ends[2], ends[3])
        (self.bad if fell else self.safe).add((x, y))
        if fell:
            return 0
        return self._first_action((x, y), facing, self._wanted(goal))

    def _wanted(self, goal: Cell) -> Cell:
        """The cell to go to: the goal, or the unknown neighbour of a known cell that is nearest to it."""
        if self.knows:
            return goal
        unknown = {next_ for cell in self.safe for next_ in self._around(cell)} - self.safe - self.bad
        return min(unknown, key=lambda cell: (abs(cell[0] - goal[0]) + abs(cell[1] - goal[1]), cell))

    def _around(self, cell: Cell) -> list[Cell]:
        cells = [(cell[0] + int(dx), cell[1] + int(dy)) for dx, dy in AHEAD]
        return [(x, y) for x, y in cells if 0 <= x < self.size and 0 <= y < self.size]

    def _first_action(self, cell: Cell, facing: int, wanted: Cell) -> int:
        """Of the fewest that lead over known cells to the wanted one, breadth-first."""
        border: list[tuple[Cell, int, int | None]] = [(cell, facing, None)]
        seen = {(cell, facing)}
        while border:
            cell, facing, first = border.pop(0)
            if cell == wanted and first is not None:
                return first
            ahead = (cell[0] + int(AHEAD[facing][0]), cell[1] + int(AHEAD[facing][1]))
            for place, way, action in (
                (ahead, facing, FORWARD),
                (cell, (facing + 1) % 4, TURN_LEFT),
                (cell, (facing - 1) % 4, TURN_RIGHT),
            ):
                if (place in self.safe or place == wanted) and (place, way) not in seen:
                    seen.add((place, way))
                    border.append((place, way, action if first is None else first))
        raise ValueError(f"no way to {wanted}")
