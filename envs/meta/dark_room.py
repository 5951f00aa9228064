"""Dark Room: find an invisible goal, then go there again (Laskin et al. 2022, Algorithm Distillation, section 4)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.task import DEFAULT_SPLIT, FixedLengthEnvironment, split_tasks
from rlformers.envs.spaces import Discrete, MultiDiscrete
from rlformers.envs.wrappers.trial import in_trials
from rlformers.errors import UserError

# Stay, right, left, up, down: changes of (x, y).
MOVES = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], np.int32)


class Room(FixedLengthEnvironment):
    """A square room in which the agent sees only where it stands, (x, y), for a number of steps.

    Actions: 0 stay, 1 right, 2 left, 3 up, 4 down; walls hold. Episodes are truncated after
    `episode_length` steps.

    Raises:
        UserError: A size below 2 or a length below 1.
    """

    def __init__(self, size: int, episode_length: int):
        if size < 2:
            raise UserError(f"env_kwargs.size: need at least 2, got {size}")
        super().__init__(episode_length)
        self.size = size

    def move(self, position: Int32[Array, "2"], action: Any) -> Int32[Array, "2"]:
        """One step, if there is no wall."""
        return jnp.clip(position + jnp.asarray(MOVES)[action], 0, self.size - 1)

    def action_space(self, params: Any = None) -> Discrete:
        """Stay and four directions."""
        return Discrete(len(MOVES))

    def observation_space(self, params: Any) -> MultiDiscrete:
        """Column and row."""
        return MultiDiscrete((self.size, self.size))


class State(NamedTuple):
    """State of an episode."""

    position: Int32[Array, "2"]  # (x, y)
    paid: Bool[Array, ""]  # the goal was reached in this episode
    time: Int32[Array, ""]  # steps made


class Task(NamedTuple):
    """What is hidden."""

    goal: Int32[Array, "2"]  # (x, y)


class DarkRoom(Room):
    """A `Room` that the agent crosses from the centre.

    Every step that ends on the goal pays 1, with `once` only the first of the episode. All cells
    but the centre can be the goal.

    Args:
        size: Cells along a side, odd.
        episode_length: Steps of an episode.
        once: The goal pays only once.
        split: "train" or "heldout" goals, three quarters and one quarter of the cells, or "all".

    Raises:
        UserError: An even size, a size below 2 or a length below 1, or an unknown split.
    """

    def __init__(self, size: int = 9, episode_length: int = 20, once: bool = False, split: str = DEFAULT_SPLIT):
        super().__init__(size, episode_length)
        if size % 2 == 0:
            raise UserError(f"env_kwargs.size: need an odd number, so that there is a centre, got {size}")
        self.once = once
        index = split_tasks(size**2 - 1, split)
        self.goals = cells(size)[index + (index >= size**2 // 2)]  # [n, 2]

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw a goal."""
        return Task(jax.random.choice(key, jnp.asarray(self.goals)))

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Int32[Array, "2"], State]:
        """Go to the centre."""
        position = jnp.full(2, self.size // 2, jnp.int32)
        return position, State(position, jnp.zeros((), jnp.bool_), jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Int32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move, if there is no wall."""
        position = self.move(state.position, action)
        there = (position == task.goal).all()
        reward = jnp.where(there & ~(state.paid & self.once), 1.0, 0.0)
        state = State(position, state.paid | there, state.time + 1)
        return position, state, reward, jnp.zeros((), jnp.bool_), {}


def cells(size: int) -> Int32[np.ndarray, "n 2"]:
    """All (x, y) of a room, row by row."""
    y, x = np.divmod(np.arange(size**2, dtype=np.int32), size)
    return np.stack([x, y], axis=1)


make_dark_room = in_trials(DarkRoom)
