"""Mortar Mayhem: a policy that remembers all commands."""

import numpy as np
from jaxtyping import Int32

from rlformers.envs.memory.mortar_mayhem import COMMANDS, MortarMayhem
from rlformers.envs.memory.turtle import EAST, FORWARD, NORTH, SOUTH, STAY, TURN_LEFT, TURN_RIGHT, WEST

WAYS = {(0, -1): NORTH, (-1, 0): WEST, (0, 1): SOUTH, (1, 0): EAST}


class Soldier:
    """A policy that remembers all commands and obeys them; it sees observations alone."""

    def __init__(self, env: MortarMayhem):
        self.env = env
        self.commands: list[int] = []
        self.time = 0
        self.place: tuple[int, int] | None = None

    def act(self, obs: Int32[np.ndarray, "5"]) -> int:
        """The next action."""
        x, y, facing, shown, _ = (int(number) for number in obs)
        if self.place is None:
            self.place = (x, y)
        if shown and self.time % self.env.show_period == 0:
            self.commands.append(shown - 1)
        self.time += 1
        acts = self.time - self.env.shown
        if acts < 1:
            return STAY
        period = self.env.explosion_delay + self.env.explosion_duration
        due = (acts - 1) // period  # the next command, from the step in which an explosion stops
        targets = np.add(self.place, COMMANDS[self.commands].cumsum(0))
        dx, dy = targets[min(due, len(targets) - 1)] - (x, y)
        if (dx, dy) == (0, 0):
            return STAY
        return turn_to(facing, WAYS[int(dx), int(dy)])


def turn_to(facing: int, wanted: int) -> int:
    """The action that brings one nearer to facing the wanted way; forward if one does."""
    if facing == wanted:
        return FORWARD
    return TURN_RIGHT if (facing - wanted) % 4 == 1 else TURN_LEFT
