"""Grid worlds of three phases: learn something, collect apples for a long time, use what was learnt.

Hung et al. 2019 (temporal value transport; `tvt/pycolab` of deepmind-research, Apache-2.0) in the
configuration of Ni et al. 2023 (Memory-RL, `envs/key_to_door` and `configs/envs`, MIT). The rules
are those of the games as pycolab 1.2 runs them, quirks included: `tests/envs/test_three_phases.py`
replays episodes of the originals.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt8

from rlformers.envs.environment import Number, PlainEnvironment, need_at_least
from rlformers.envs.spaces import Box, Discrete
from rlformers.errors import UserError

# What a cell can show, and its colour. Outside the board it looks like floor but cannot be walked on.
FLOOR, WALL, OUTSIDE, PLAYER, APPLE, KEY, DOOR, LIGHT, RED, GREEN, BLUE = range(11)
COLOURS = np.array(
    [
        [204, 204, 204],
        [25, 25, 25],
        [204, 204, 204],
        [228, 148, 109],
        [140, 178, 0],
        [159, 81, 44],
        [134, 206, 235],
        [255, 255, 255],
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
    ],
    np.uint8,
)
MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], np.int32)  # north, south, west, east

ORCHARD = """
###########
#a a a a a#
# a a a a #
#a a a a a#
# a a a a #
#a a   a a#
###########
"""
ORCHARD_START = (5, 5)
ROWS, COLUMNS = 7, 11
VIEW = 5  # cells in each direction; the player is in the middle
PAD = VIEW // 2
FIRST_APPLE = 16  # the cells of apples are numbered from here
NEVER = 2**30


def parse(art: str) -> np.ndarray:
    """The cells int [7, 11] of a room, framed by PAD cells OUTSIDE: `#` is a wall, `a` the place of an apple."""
    cells = np.full((ROWS, COLUMNS), FLOOR, np.int32)
    num_apples = 0
    for i, row in enumerate(art.split("\n")[1:-1]):
        for j, char in enumerate(row):
            if char == "#":
                cells[i, j] = WALL
            elif char == "a":
                cells[i, j] = FIRST_APPLE + num_apples
                num_apples += 1
    return np.pad(cells, PAD, constant_values=OUTSIDE)


APPLES = np.argwhere(parse(ORCHARD) >= FIRST_APPLE).astype(np.int32) - PAD
NUM_APPLES = len(APPLES)


class State(NamedTuple):
    """State of the game."""

    time: Int32[Array, ""]  # steps made
    position: Int32[Array, "2"]  # row and column of the player
    apples: Bool[Array, " apples"]  # which of them can be seen and collected
    collected: Int32[Array, " apples"]  # step of the second phase in which that happened last, or NEVER
    scene: Any  # what the first and the last phase are about


@struct.dataclass
class Params:
    """Steps of the phases, apples in the second, and rewards.

    An apple that was collected in step n of the phase is back after step n + respawn_steps + 1; 0:
    never.
    """

    explore_steps: Number = 15
    distractor_steps: Number = 60
    reward_steps: Number = 10
    num_apples: Number = 10
    respawn_steps: Number = 20
    apple_reward: Number = 1.0
    final_reward: Number = 5.0

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: A phase without steps, an impossible number of apples, or a negative time.
        """
        for phase in ("explore_steps", "distractor_steps", "reward_steps"):
            need_at_least(f"env_params.{phase}", getattr(self, phase), 1)
        need_at_least("env_params.respawn_steps", self.respawn_steps, 0)
        if isinstance(self.num_apples, int) and not 0 <= self.num_apples <= NUM_APPLES:
            raise UserError(f"env_params.num_apples: need 0 <= num_apples <= {NUM_APPLES}, got {self.num_apples}")


class ThreePhases(PlainEnvironment):
    """The common rules; a game adds its rooms and its scene.

    The player sees the 5 x 5 cells around it, uint8 [5, 5, 3] in RGB, and moves north, south, west
    or east (actions 0 to 3), unless something is in the way. In the second phase `num_apples` of 22
    places in an orchard hold apples, each worth `apple_reward`. Phases have fixed lengths; the step
    that ends one shows the first view of the next. The episode terminates with the last phase.

    Args:
        explore: Drawing of the first room, see `parse`.
        reward: Drawing of the last room.
        reward_start: Where the player enters it.
    """

    never_truncates = True

    def __init__(self, explore: str, reward: str, reward_start: tuple[int, int]):
        self.rooms = np.stack([parse(explore), parse(ORCHARD), parse(reward)])
        self.reward_start = reward_start

    def draw_scene(self, key: PRNGKeyArray) -> tuple[Any, Int32[Array, "2"]]:
        """A scene, and where the player starts in the first room."""
        raise NotImplementedError

    def blocks(self, scene: Any, phase: Int32[Array, ""], cell: Int32[Array, "2"]) -> Bool[Array, ""]:
        """Whether something but a wall is in the way there. By default: no."""
        return jnp.zeros((), jnp.bool_)

    def touch(
        self, scene: Any, phase: Int32[Array, ""], position: Int32[Array, "2"], params: Params
    ) -> tuple[Any, Float32[Array, ""]]:
        """What the player's being there does to the scene, and its reward."""
        raise NotImplementedError

    def paint(self, scene: Any, phase: Int32[Array, ""], cells: Array, corner: Int32[Array, "2"]) -> Array:
        """Put the scene into a view int [5, 5], whose first cell is at `corner`."""
        raise NotImplementedError

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[UInt8[Array, "5 5 3"], State]:
        """Draw a scene and the places of the apples."""
        key_scene, key_apples = jax.random.split(key)
        scene, start = self.draw_scene(key_scene)
        ranks = jax.random.bits(key_apples, (NUM_APPLES,), jnp.uint32)
        apples = jnp.sum(ranks[:, None] > ranks, axis=-1) < params.num_apples  # any choice is equally likely
        state = State(jnp.zeros((), jnp.int32), start, apples, jnp.full((NUM_APPLES,), NEVER, jnp.int32), scene)
        return self._observe(state, params), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[UInt8[Array, "5 5 3"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move, take what is there, and go on to the next phase at its time."""
        phase = self._phase(state.time, params)
        target = state.position + jnp.asarray(MOVES)[action]
        cell = jnp.asarray(self.rooms)[phase, target[0] + PAD, target[1] + PAD]
        free = (cell != WALL) & (cell != OUTSIDE) & ~self.blocks(state.scene, phase, target)
        position = jnp.where(free, target, state.position)
        scene, reward = self.touch(state.scene, phase, position, params)
        time = state.time + 1
        here = state.apples & jnp.all(position == APPLES, axis=-1) & (phase == 1)
        reward = reward + jnp.where(here.any(), params.apple_reward, 0.0)
        frame = time - params.explore_steps
        collected = jnp.where(here, frame, state.collected)
        back = (params.respawn_steps > 0) & (frame > collected + params.respawn_steps)
        next_phase = self._phase(time, params)
        starts = jnp.asarray([(0, 0), ORCHARD_START, self.reward_start], jnp.int32)
        position = jnp.where(next_phase == phase, position, starts[next_phase])
        state = State(time, position, (state.apples & ~here) | back, collected, scene)
        terminated = time >= params.explore_steps + params.distractor_steps + params.reward_steps
        return self._observe(state, params), state, reward.astype(jnp.float32), terminated, {}

    def _phase(self, time: Int32[Array, ""], params: Params) -> Int32[Array, ""]:
        second = time >= params.explore_steps
        third = time >= params.explore_steps + params.distractor_steps
        return second.astype(jnp.int32) + third.astype(jnp.int32)

    def _observe(self, state: State, params: Params) -> UInt8[Array, "5 5 3"]:
        phase = self._phase(state.time, params)
        row, column = state.position
        cells = jax.lax.dynamic_slice(jnp.asarray(self.rooms), (phase, row, column), (1, VIEW, VIEW))[0]
        apple = jnp.where(state.apples, APPLE, FLOOR)[jnp.maximum(cells - FIRST_APPLE, 0)]
        cells = jnp.where(cells >= FIRST_APPLE, apple, cells)
        cells = cells.at[PAD, PAD].set(PLAYER)
        cells = self.paint(state.scene, phase, cells, state.position - PAD)
        return jnp.asarray(COLOURS)[cells]

    def action_space(self, params: Params | None = None) -> Discrete:
        """North, south, west, east."""
        return Discrete(len(MOVES))

    def observation_space(self, params: Params) -> Box:
        """The view."""
        return Box(0, 255, (VIEW, VIEW, 3), jnp.uint8)


def place(cells: Array, corner: Int32[Array, "2"], position: Any, code: Any, visible: Any) -> Array:
    """A view with `code` in the cell at `position`, if that is in the view and the thing is visible."""
    offset = jnp.asarray(position) - corner
    span = jnp.arange(VIEW)
    there = (span[:, None] == offset[0]) & (span == offset[1])
    return jnp.where(there & visible, code, cells)
