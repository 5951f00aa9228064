"""Worlds of cells."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rlformers.envs.rendering.pictures.canvas import (
    BLUE,
    GOLD,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    RED,
    SERIES,
    SKY,
    WHITE,
    Canvas,
    Colour,
)

WATER: Colour = (74, 134, 190)
FLOOR: Colour = (238, 236, 229)


class Cells:
    """A board of cells in the middle of a canvas; places are (row, column).

    Args:
        canvas: What to draw on.
        shape: Numbers of rows and columns.
        colours: uint8 [rows, columns, 3] or one colour.
        gap: Space between cells, in cells.
    """

    def __init__(self, canvas: Canvas, shape: Sequence[int], colours: Any = FLOOR, gap: float = 0.06):
        rows, columns = shape
        self.canvas, self.pitch = canvas, 0.94 / max(rows, columns)
        self.left, self.top = 0.5 - columns * self.pitch / 2, 0.5 - rows * self.pitch / 2
        colours = np.broadcast_to(np.asarray(colours), (rows, columns, 3))
        for row in range(rows):
            for column in range(columns):
                self.fill((row, column), tuple(int(part) for part in colours[row, column]), gap)

    def fill(self, place: Any, colour: Any, gap: float = 0.06) -> None:
        """Colour a cell."""
        x, y = self.left + int(place[1]) * self.pitch, self.top + int(place[0]) * self.pitch
        inset = gap * self.pitch / 2
        box = (x + inset, y + inset, x + self.pitch - inset, y + self.pitch - inset)
        self.canvas.rectangle(*box, colour, 2 * inset)

    def centre(self, place: Any) -> tuple[float, float]:
        """Where a cell's centre lies."""
        return self.left + (float(place[1]) + 0.5) * self.pitch, self.top + (float(place[0]) + 0.5) * self.pitch

    def dot(self, place: Any, colour: Colour, size: float = 0.6) -> None:
        """A disc in a cell, its diameter in cells."""
        self.canvas.circle(*self.centre(place), size * self.pitch / 2, colour)

    def player(self, place: Any, colour: Colour = BLUE) -> None:
        """Who acts: a disc with eyes."""
        x, y = self.centre(place)
        self.canvas.circle(x, y, 0.36 * self.pitch, INK)
        self.canvas.circle(x, y, 0.31 * self.pitch, colour)
        for side in (-0.12, 0.12):
            self.canvas.circle(x + side * self.pitch, y - 0.06 * self.pitch, 0.065 * self.pitch, WHITE)

    def star(self, place: Any, colour: Colour = GOLD) -> None:
        """A goal."""
        x, y = self.centre(place)
        corners = []
        for index in range(10):
            radius, angle = (0.42, 0.18)[index % 2] * self.pitch, math.pi * index / 5
            corners.append((x + radius * math.sin(angle), y - radius * math.cos(angle)))
        self.canvas.polygon(corners, colour)

    def key(self, place: Any, colour: Colour = GOLD) -> None:
        """A key."""
        (x, y), unit = self.centre(place), self.pitch
        self.canvas.circle(x - 0.2 * unit, y, 0.17 * unit, colour)
        self.canvas.circle(x - 0.2 * unit, y, 0.07 * unit, WHITE)
        self.canvas.line((x - 0.05 * unit, y), (x + 0.34 * unit, y), 0.09 * unit, colour)
        for tooth in (0.2, 0.32):
            self.canvas.line((x + tooth * unit, y), (x + tooth * unit, y + 0.13 * unit), 0.08 * unit, colour)

    def door(self, place: Any, opened: bool) -> None:
        """A door."""
        (x, y), unit = self.centre(place), self.pitch
        box = (x - 0.26 * unit, y - 0.4 * unit, x + 0.26 * unit, y + 0.4 * unit)
        self.canvas.rectangle(*box, (120, 78, 50), 0.06 * unit)
        if opened:
            self.canvas.rectangle(box[0] + 0.1 * unit, box[1] + 0.08 * unit, box[2] - 0.04 * unit, box[3], INK)
        else:
            self.canvas.circle(x + 0.14 * unit, y + 0.03 * unit, 0.05 * unit, GOLD)


def battleship(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The ships that are not hit yet."""
    cells = Cells(canvas, (env.board_size, env.board_size), WATER)
    for place in np.argwhere(state.ships):
        cells.fill(place, GREY, gap=0.16)
        cells.dot(place, INK, 0.3)


def minesweeper(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """Mines, and on viewed tiles the number of mines around."""
    shades = np.where(state.viewed[:, :, None], FLOOR, (176, 182, 194))
    cells = Cells(canvas, (env.board_size, env.board_size), shades)
    for place in np.argwhere(state.mines):
        cells.dot(place, INK, 0.62)
        cells.dot(place - 0.1, WHITE, 0.14)
    for row, column in np.argwhere(state.viewed):
        count = int(state.mines[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].sum())
        if count:
            canvas.text(
                *cells.centre((row, column)), str(count), 0.5 * cells.pitch, (BLUE, GREEN, RED)[min(count, 3) - 1]
            )


def labyrinth(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The maze; squares that are still to be visited have a dot."""
    shades = np.array([FLOOR, (70, 74, 86), SKY, GOLD], np.uint8)[state.grid]
    cells = Cells(canvas, state.grid.shape, shades, gap=0.0)
    for place in np.argwhere(getattr(state, "unexplored", np.zeros((1, 1), bool))):
        cells.dot(place, ORANGE, 0.25)
    cells.player(state.position)


def t_maze(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The corridor, with the goal at one side of its end, and the oracle where it has not spoken yet."""
    length = int(params.length) + env.oracle_length
    shades = np.broadcast_to(np.array((70, 74, 86), np.uint8), (3, length + 1, 3)).copy()
    shades[1, :] = FLOOR
    shades[[0, 2], -1] = FLOOR
    cells = Cells(canvas, (3, length + 1), shades, gap=0.0)
    cells.star((1 - int(state.goal_y), length))
    if not state.oracle_visited:
        canvas.text(*cells.centre((1, 0)), "?", 0.7 * cells.pitch, RED)
    cells.player((1 - int(state.y), int(state.x)))


def dark_room(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The room with its hidden goal; y points up."""
    cells = Cells(canvas, (env.size, env.size), (96, 100, 114))
    cells.star(_upright(env, params.goal))
    cells.player(_upright(env, state.position))


def dark_key_to_door(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The room with its hidden door and, until it is taken, its key."""
    cells = Cells(canvas, (env.size, env.size), (96, 100, 114))
    cells.door(_upright(env, params.door), opened=False)
    if not state.has_key:
        cells.key(_upright(env, params.key))
    cells.player(_upright(env, state.position))
    if state.has_key:
        cells.key(_upright(env, state.position))


def _upright(env: Any, position: Any) -> tuple[int, int]:
    """Row and column of (x, y)."""
    return env.size - 1 - int(position[1]), int(position[0])


def three_phases(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The room of the present phase; what the player does not see is darker."""
    from rlformers.envs.memory import three_phases as game
    from rlformers.envs.memory import visual_match
    from rlformers.envs.memory.key_to_door import DOOR_AT, LAMP_AT

    explore, distractor = int(params.explore_steps), int(params.distractor_steps)
    phase = int(state.time >= explore) + int(state.time >= explore + distractor)
    room = env.rooms[phase, game.PAD : -game.PAD, game.PAD : -game.PAD]
    palette = np.array([FLOOR, (70, 74, 86), FLOOR], np.uint8)
    shades = palette[np.where(room >= game.FIRST_APPLE, game.FLOOR, room)]
    row, column = state.position
    seen = (abs(np.arange(game.ROWS) - row) <= game.PAD)[:, None] & (abs(np.arange(game.COLUMNS) - column) <= game.PAD)
    shades = np.where(seen[:, :, None], shades, (0.72 * shades).astype(np.uint8))
    cells = Cells(canvas, (game.ROWS, game.COLUMNS), shades, gap=0.0)
    if phase == 1:
        for place in game.APPLES[state.apples]:
            cells.dot(place, GREEN, 0.5)
    scene = state.scene
    if hasattr(scene, "taken"):
        if phase == 0 and not scene.taken:
            cells.key(scene.key)
        if phase == 0 and scene.lit:
            cells.fill(LAMP_AT, WHITE)
        if phase == 2:
            cells.door(DOOR_AT, opened=bool(scene.opened))
    elif phase == 0:
        cells.fill(scene.shown_at, (RED, GREEN, BLUE)[int(scene.colour)], gap=0.0)
    elif phase == 2 and not scene.chosen:
        for colour, place in zip((RED, GREEN, BLUE), visual_match.PANELS, strict=True):
            cells.fill(place, colour, gap=0.0)
    cells.player(state.position, ORANGE)
    if hasattr(scene, "taken") and scene.taken and phase < 2:
        cells.key(state.position - np.array([0.0, 0.35]))


def walls_and_goal(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """gymnax's FourRooms and MetaMaze."""
    free = np.asarray(env.env_map, bool)
    shades = np.where(free[:, :, None], FLOOR, (70, 74, 86))
    cells = Cells(canvas, free.shape, shades, gap=0.0)
    cells.star(state.goal)
    cells.player(state.pos)


def frozen_lake(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """gymnax's FrozenLake: ice, holes and the goal."""
    from gymnax.environments.misc.frozen_lake import GOAL, HOLE

    cells = Cells(canvas, (env.nrow, env.ncol), (214, 232, 245))
    for place in np.argwhere(np.asarray(env.desc) == HOLE):
        cells.dot(place, (52, 84, 120), 0.72)
    for place in np.argwhere(np.asarray(env.desc) == GOAL):
        cells.star(place)
    cells.player(divmod(int(state.position), env.ncol))


def picture(canvas: Canvas, image: Any) -> None:
    """An observation of rank 2 or 3 [rows, columns, channels]: RGB as it is, else a colour for each channel."""
    image = np.asarray(image)
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3:
        Cells(canvas, image.shape[:2], image, gap=0.0)
        return
    image = np.atleast_3d(image.astype(float))
    most = max(float(np.abs(image).max()), 1e-9)
    shades = np.full((*image.shape[:2], 3), PALE, float)
    for channel in range(image.shape[2]):
        strength = np.clip(image[:, :, channel] / most, 0, 1)[:, :, None]
        shades = (1 - strength) * shades + strength * np.array(SERIES[channel % len(SERIES)])
    Cells(canvas, image.shape[:2], shades.round().astype(np.uint8))
