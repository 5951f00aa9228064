"""What a trial can be worth: policies that know the prior, and optima that know the task."""

import itertools

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from rlformers.envs.meta.dark_key_to_door import DarkKeyToDoor
from rlformers.envs.meta.dark_room import DarkRoom, cells
from rlformers.envs.meta.point_robot import GOAL_RADIUS, SPEED, PointRobot
from rlformers.errors import UserError


def dark_room_known_goal(env: DarkRoom) -> float:
    """Mean return of an attempt that walks straight to a goal of the split and stays."""
    distance = np.abs(env.goals - env.size // 2).sum(1)
    pays = np.maximum(env.episode_length + 1 - np.maximum(distance, 1), 0)
    return float(np.minimum(pays, 1 if env.once else pays).mean())


def dark_key_to_door_known_task(env: DarkKeyToDoor, steps: int) -> float:
    """Mean return of trials of a number of steps that walk straight to the key and then to the door.

    With t steps left an attempt of a steps to the key and b to the door pays 1 if a <= t, and 1
    more and what t - a - b steps pay if a + b <= t. a is as random as the start.
    """
    rooms = cells(env.size)
    # The key is taken, and the door opened, by a step that ends there, even on the cell where the agent is.
    distance = np.maximum(np.abs(rooms[:, None] - rooms).sum(-1), 1)
    farthest = distance.max()
    if env.episode_length < 2 * farthest:
        raise UserError(f"dark_key_to_door: need attempts of {2 * farthest} steps or more, got {env.episode_length}")
    chance = np.stack([(distance == a).mean(0) for a in range(farthest + 1)])  # [a, key]
    value = np.zeros((steps + 1, len(rooms), farthest + 1))  # [t, key, b]
    for t, b in itertools.product(range(1, steps + 1), range(1, farthest + 1)):
        for a in range(1, min(farthest, t) + 1):
            value[t, :, b] += chance[a] * (1 + (1 + value[t - a - b, :, b] if a + b <= t else 0))
    key, door = np.divmod(env.tasks, len(rooms))
    return float(value[steps, key, distance[key, door]].mean())


def point_robot_known_goal(env: PointRobot, key: PRNGKeyArray, num_tasks: int = 10_000) -> float:
    """Mean return of an attempt that goes straight to a goal of the split, along each axis as fast as it may."""
    goals = jax.vmap(env.sample_task, (0, None))(jax.random.split(key, num_tasks), env.default_params).goal
    reach = SPEED * np.arange(1, env.episode_length + 1)[:, None, None]
    distance = np.linalg.norm(np.maximum(np.abs(goals) - reach, 0), axis=-1)  # [T, N]
    rewards = -distance if env.dense else np.where(distance <= GOAL_RADIUS, 1 - distance, 0)
    return float(rewards.sum(0).mean())
