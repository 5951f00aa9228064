"""Mystery Path on a grid: find an invisible path by falling off it, and remember it (Pleines et al. 2023)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams, PlainEnvironment, need_at_least
from rlformers.envs.memory.turtle import NORTH, Pose, move
from rlformers.envs.spaces import Discrete, MultiDiscrete
from rlformers.errors import UserError

NUM_ACTIONS = 4


class State(NamedTuple):
    """State of an episode."""

    pose: Pose
    path: Bool[Array, "n n"]  # [x, y]
    start: Int32[Array, "2"]  # (x, y)
    goal: Int32[Array, "2"]  # (x, y)
    visited: Bool[Array, "n n"]  # cells of the path
    fell: Bool[Array, ""]  # off the path in the last step
    time: Int32[Array, ""]  # steps made


class MysteryPath(PlainEnvironment):
    """An invisible path leads across n x n cells. Whoever leaves it has to begin again.

    Actions: 0 stay, 1 turn left, 2 turn right, 3 forward. A step off the path is seen, and the next
    step leads back to the start, whatever the action. The goal at the end of the path pays 1 and
    terminates the episode. The episode also terminates after `max_steps` steps. Each new cell of
    the path pays `progress`, except for start and goal.

    Observes MultiDiscrete(n, n, 4, 2, n, n, n, n): x, y, the direction (north, west, south, east),
    whether the agent just fell, start and goal.

    Rules and numbers are those of Memory Gym's MysteryPath-Grid-v0, which shows pictures. Only the
    path differs: there an A* search among random walls and costs finds it. Here it starts in a
    random cell of a random side and goes across. In every row but the last it first goes 0 or 1
    cells sideways, never into a wall or beside an earlier cell.

    Args:
        size: n.
        max_steps: Most steps of an episode.
        progress: Reward of a new cell of the path.

    Raises:
        UserError: A size below 2, no steps, or a negative `progress`.
    """

    never_truncates = True

    def __init__(self, size: int = 7, max_steps: int = 128, progress: float = 0.0):
        need_at_least("env_kwargs.size", size, 2)
        need_at_least("env_kwargs.max_steps", max_steps, 1)
        if progress < 0:
            raise UserError(f"env_kwargs.progress: need at least 0, got {progress}")
        self.size = size
        self.max_steps = max_steps
        self.progress = progress

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, "8"], State]:
        """Draw a path."""
        path, start, goal = self._draw_path(key)
        nowhere = jnp.zeros((self.size, self.size), jnp.bool_)
        zero = jnp.zeros((), jnp.int32)
        state = State(Pose(start, zero + NORTH), path, start, goal, nowhere, jnp.zeros((), jnp.bool_), zero)
        return self._see(state), state

    def _draw_path(self, key: PRNGKeyArray) -> tuple[Bool[Array, "n n"], Int32[Array, "2"], Int32[Array, "2"]]:
        """The cells of a path, its start and its goal."""
        key_start, key_steps, key_side = jax.random.split(key, 3)
        last = self.size - 1
        first = jax.random.randint(key_start, (), 0, self.size)
        aside = jax.random.randint(key_steps, (last,), -1, 2)
        places, before = [first], jnp.zeros((), jnp.int32)
        for step in range(last):
            aside_by = jnp.clip(places[-1] + aside[step], 0, last) - places[-1]
            before = jnp.where(aside_by == -before, 0, aside_by)  # a way back would touch the path
            places.append(places[-1] + before)
        begins = jnp.stack(places)  # where row i of the path begins, [n]
        ends = jnp.append(begins[1:], begins[-1])
        column = jnp.arange(self.size)
        path = (column >= jnp.minimum(begins, ends)[:, None]) & (column <= jnp.maximum(begins, ends)[:, None])
        start, goal = jnp.stack([0 * first, begins[0]]), jnp.stack([0 * first + last, begins[-1]])

        across, back = jax.random.bernoulli(key_side, 0.5, (2,))
        path = jnp.where(back, path[::-1], path)
        flip = lambda cell: cell.at[0].set(jnp.where(back, last - cell[0], cell[0]))  # noqa: E731
        start, goal = flip(start), flip(goal)
        turn = lambda cell: jnp.where(across, cell, cell[::-1]).astype(jnp.int32)  # noqa: E731
        return jnp.where(across, path, path.T), turn(start), turn(goal)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, "8"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move, or go back to the start."""
        moved = move(state.pose, action, self.size)
        back = Pose(state.start, state.pose.facing)
        pose = jax.tree.map(lambda yes, no: jnp.where(state.fell, yes, no), back, moved)
        x, y = pose.position
        at_goal, at_start = (pose.position == state.goal).all(), (pose.position == state.start).all()
        on_path = state.path[x, y]
        new = on_path & ~state.visited[x, y] & ~at_goal & ~at_start
        reward = jnp.where(at_goal, 1.0, jnp.where(new, self.progress, 0.0)).astype(jnp.float32)
        time = state.time + 1
        visited = state.visited.at[x, y].set(state.visited[x, y] | on_path)
        state = State(pose, state.path, state.start, state.goal, visited, ~on_path, time)
        return self._see(state), state, reward, at_goal | (time >= self.max_steps), {}

    def _see(self, state: State) -> Int32[Array, "8"]:
        middle = jnp.stack([state.pose.facing, state.fell.astype(jnp.int32)])
        return jnp.concatenate([state.pose.position, middle, state.start, state.goal]).astype(jnp.int32)

    def action_space(self, params: NoParams | None = None) -> Discrete:
        """Stay, turn left, turn right, forward."""
        return Discrete(NUM_ACTIONS)

    def observation_space(self, params: NoParams) -> MultiDiscrete:
        """Place, way to face, whether one fell, start and goal."""
        n = self.size
        return MultiDiscrete((n, n, 4, 2, n, n, n, n))
