"""What a trial can be worth: policies that know the prior, and optima that know the task."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.meta.bandits import Bandit, BernoulliBandit
from rlformers.envs.meta.dark_key_to_door import DarkKeyToDoor
from rlformers.envs.meta.dark_room import DarkRoom, cells
from rlformers.envs.meta.point_robot import GOAL_RADIUS, SPEED, PointRobot
from rlformers.errors import UserError

# From a key, the number of pulls of every arm and the sum of its rewards, a score of every arm; the best is pulled.
Scores = Callable[[PRNGKeyArray, Array, Array], Array]


def thompson(env: Bandit) -> Scores:
    """Thompson sampling: pull the arm that is best in a draw from the posterior (Thompson 1933).

    The priors are those of the environments: Beta(1, 1), and a standard normal with unit noise.
    """
    if isinstance(env, BernoulliBandit):
        return lambda key, pulls, sums: jax.random.beta(key, 1 + sums, 1 + pulls - sums)
    return lambda key, pulls, sums: (sums + jnp.sqrt(pulls + 1) * jax.random.normal(key, pulls.shape)) / (pulls + 1)


def greedy(env: Bandit) -> Scores:
    """Pull the arm with the best posterior mean; of equals that which was pulled least."""
    if isinstance(env, BernoulliBandit):
        return lambda key, pulls, sums: (1 + sums) / (2 + pulls) - 1e-5 * pulls
    return lambda key, pulls, sums: sums / (pulls + 1) - 1e-5 * pulls


def bandit_returns(
    env: Bandit, scores: Scores, key: PRNGKeyArray, num_trials: int
) -> tuple[Float32[Array, " N"], Float32[Array, " N"]]:
    """Returns of a policy in N trials, and what the best arm of each is expected to return.

    The difference varies less than the return. The mean of the second is known for whole distributions of tasks: 100
    pulls of the best of 10 uniform arms return 1000 / 11.
    """

    def trial(key: PRNGKeyArray) -> tuple[Array, Array]:
        key_task, key_pulls = jax.random.split(key)
        task = env.sample_task(key_task, env.default_params)

        def pull(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Array]:
            pulls, sums = carry
            key_scores, key_reward = jax.random.split(key)
            arm = jnp.argmax(scores(key_scores, pulls, sums))
            reward = env.pull(key_reward, task.means[arm])
            return (pulls.at[arm].add(1), sums.at[arm].add(reward)), reward

        nothing = jnp.zeros(env.num_arms)
        _, rewards = jax.lax.scan(pull, (nothing, nothing), jax.random.split(key_pulls, env.pulls))
        return rewards.sum(), env.pulls * task.means.max()

    return jax.lax.map(trial, jax.random.split(key, num_trials), batch_size=min(num_trials, 1000))


def dark_room_known_goal(env: DarkRoom) -> float:
    """Mean return of an attempt that walks straight to a goal of the split and stays."""
    distance = np.abs(env.goals - env.size // 2).sum(1)
    pays = np.maximum(env.episode_length + 1 - np.maximum(distance, 1), 0)
    return float(np.minimum(pays, 1 if env.once else pays).mean())


def dark_key_to_door_known_task(env: DarkKeyToDoor, steps: int) -> float:
    """Mean return of trials of a number of steps that walk straight to the key and then to the door.

    With t steps left an attempt of a steps to the key and b to the door pays 1 if a <= t, and 1 more and what t - a - b
    steps pay if a + b <= t. a is as random as the start.
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
