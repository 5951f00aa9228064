"""Dark Key-to-Door: find an invisible key, then an invisible door (Laskin et al. 2022, section 4)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.dark_room import Room, cells
from rlformers.envs.meta.task import DEFAULT_SPLIT, split_tasks
from rlformers.envs.wrappers.trial import in_trials


class State(NamedTuple):
    """State of an episode."""

    position: Int32[Array, "2"]  # (x, y)
    has_key: Bool[Array, ""]
    time: Int32[Array, ""]  # steps made


class Task(NamedTuple):
    """What is hidden."""

    key: Int32[Array, "2"]  # (x, y)
    door: Int32[Array, "2"]  # (x, y)


class DarkKeyToDoor(Room):
    """A `Room` of Dark Room. Stepping on the key pays 1, once, and then stepping on the door pays 1.

    Episodes start on a random cell. Opening the door terminates an episode, so a trial with a fixed
    number of steps holds more episodes the faster they are (as in AMAGO, Grigsby et al. 2024).
    `episode_length` steps truncate it. Key and door may be any two cells, or the same one: 9^4 =
    6561 tasks. An episode pays at most 2.

    An agent that starts on the key takes it with the first step that ends there. The step that
    takes the key never opens the door.

    Args:
        size: Cells along a side.
        episode_length: Most steps of an episode.
        split: "train" or "heldout" pairs of key and door, three quarters and one quarter of them,
            or "all".

    Raises:
        ValueError: A size below 2, a length below 1, or an unknown split.
    """

    def __init__(self, size: int = 9, episode_length: int = 50, split: str = DEFAULT_SPLIT):
        super().__init__(size, episode_length)
        self.tasks = split_tasks(size**4, split)  # key's cell times number of cells, plus door's cell

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw the cells of key and door."""
        task = jax.random.choice(key, jnp.asarray(self.tasks))
        rooms = jnp.asarray(cells(self.size))
        return Task(rooms[task // self.size**2], rooms[task % self.size**2])

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Int32[Array, "2"], State]:
        """Go to a random cell."""
        position = jax.random.randint(key, (2,), 0, self.size, jnp.int32)
        return position, State(position, jnp.zeros((), jnp.bool_), jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Int32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move, if there is no wall; take the key or open the door."""
        position = self.move(state.position, action)
        opens = state.has_key & (position == task.door).all()
        takes = ~state.has_key & (position == task.key).all()
        reward = jnp.where(opens | takes, 1.0, 0.0)
        return position, State(position, state.has_key | takes, state.time + 1), reward, opens, {}


make_dark_key_to_door = in_trials(DarkKeyToDoor)
