"""Random mazes by Hunt-and-Kill with random hunts, as mazelib 0.9 makes them (its `generate/HuntAndKill.py`).

A walk carves passages to random uncarved neighbours until there is none. Then a hunt draws cells
until one is carved and has uncarved neighbours; the next walk starts there. Draws that lead nowhere
are not made here but counted, by a geometric variable, so a maze of n x n cells takes n² - 1 rounds
of a few operations on rows of bits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, PRNGKeyArray, UInt32

from rlformers.envs.popgym.draw import draw_index


class Walker(NamedTuple):
    """A maze in the making. Places are numbered with their walls: cell (i, j) is the place (2i + 1, 2j + 1)."""

    free: Int32[Array, " h"]  # bit c of row r: the place (r, c) is carved
    row: Int32[Array, ""]
    column: Int32[Array, ""]
    num_draws: Int32[Array, ""]  # made by hunts


def hunt_and_kill(key: PRNGKeyArray, num_cells: int) -> Bool[Array, "h h"]:
    """Where a maze of `num_cells` x `num_cells` cells is free; h = 2 * num_cells + 1, and the border is all wall.

    The free places form a tree. mazelib gives up hunting after h² draws, so some cells stay walls
    in rare mazes; so do ours. The distribution is mazelib's, to the precision of float32 random
    numbers.
    """
    height = 2 * num_cells + 1
    places = jnp.arange(height, dtype=jnp.int32)
    cells = jnp.where(places % 2 == 1, sum(1 << place for place in range(1, height, 2)), 0)
    key_start, key_rounds = jax.random.split(key)
    row, column = 2 * jax.random.randint(key_start, (2,), 0, num_cells, jnp.int32) + 1
    walker = Walker(jnp.where(places == row, 1 << column, 0), row, column, jnp.zeros((), jnp.int32))

    def carve_one(walker: Walker, bits: UInt32[Array, "4"]) -> tuple[Walker, None]:
        walls = cells & ~walker.free
        beside_walls = (walls << 2) | (walls >> 2) | jnp.roll(walls, 2) | jnp.roll(walls, -2)
        starts = cells & walker.free & beside_walls

        stuck = (starts[walker.row] >> walker.column) & 1 == 0
        counts = jax.lax.population_count(starts)
        # Cells have odd numbers.
        hunted_row = 2 * draw_index(bits[0], counts[1::2]) + 1
        hunted_column = 2 * draw_index(bits[1], (starts[hunted_row] >> places[1::2]) & 1) + 1
        num_draws = walker.num_draws + jnp.where(stuck, _geometric(bits[2], jnp.sum(counts) / num_cells**2), 0)
        row = jnp.where(stuck, hunted_row, walker.row)
        column = jnp.where(stuck, hunted_column, walker.column)

        # North, south, west, east. A margin around the maze spares the test for its border.
        rows = row + jnp.array([-2, 2, 0, 0], jnp.int32)
        columns = column + jnp.array([0, 0, -2, 2], jnp.int32)
        way = draw_index(bits[3], (jnp.pad(walls << 1, 1)[rows + 1] >> (columns + 1)) & 1)
        passage = jnp.where(places == (row + rows[way]) // 2, 1 << (column + columns[way]) // 2, 0)
        cell = jnp.where(places == rows[way], 1 << columns[way], 0)
        free = jnp.where(num_draws > height**2, walker.free, walker.free | passage | cell)
        return Walker(free, rows[way], columns[way], num_draws), None

    walker, _ = jax.lax.scan(carve_one, walker, jax.random.bits(key_rounds, (num_cells**2 - 1, 4), jnp.uint32))
    return ((walker.free[:, None] >> places) & 1).astype(jnp.bool_)


def _geometric(bits: UInt32[Array, ""], chance: Array) -> Int32[Array, ""]:
    """Number of trials up to the first success."""
    uniform = (bits.astype(jnp.float32) + 0.5) * 2.0**-32
    return 1 + jnp.floor(jnp.log(uniform) / jnp.log1p(-chance)).astype(jnp.int32)
