"""Point robot: a hidden goal on a half circle, continuous actions (PEARL, Rakelly et al. 2019, section 6)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.task import DEFAULT_SPLIT, FixedLengthEnvironment, split_tasks
from rlformers.envs.spaces import Box
from rlformers.envs.wrappers.trial import in_trials

# The half circle is split by arcs of 9 degrees, so that every held-out goal has training goals on both sides.
NUM_ARCS = 20
SPEED = 0.1  # the farthest an action moves along each axis
GOAL_RADIUS = 0.2


class State(NamedTuple):
    """State of an episode."""

    position: Float32[Array, "2"]
    time: Int32[Array, ""]  # steps made


class Task(NamedTuple):
    """What is hidden."""

    goal: Float32[Array, "2"]


class PointRobot(FixedLengthEnvironment):
    """A point in the plane that starts in the origin; goals lie on the upper half of the unit circle.

    Observes its position, float32 [2]; actions in [-1, 1]², times 0.1, are added to it. With d the
    distance to the goal after the step, the reward is 1 - d within 0.2 of it and else 0, or -d if
    `dense`. Episodes are truncated after `episode_length` steps.

    Args:
        episode_length: Steps of an episode.
        dense: Pay -d at every step.
        split: "train" or "heldout" goals, 15 and 5 of 20 arcs of the half circle, or "all".

    Raises:
        UserError: A length below 1, or an unknown split.
    """

    def __init__(self, episode_length: int = 20, dense: bool = False, split: str = DEFAULT_SPLIT):
        super().__init__(episode_length)
        self.dense = dense
        self.arcs = (split_tasks(NUM_ARCS, split) + 3) % NUM_ARCS  # held out are 1, 3, 8, 13, 16: none at an end

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw an angle, uniform over the arcs of the split."""
        key_arc, key_angle = jax.random.split(key)
        arc = jax.random.choice(key_arc, jnp.asarray(self.arcs))
        angle = math.pi / NUM_ARCS * (arc + jax.random.uniform(key_angle))
        return Task(jnp.stack([jnp.cos(angle), jnp.sin(angle)]))

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Float32[Array, "2"], State]:
        """Go to the origin."""
        position = jnp.zeros(2, jnp.float32)
        return position, State(position, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Float32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Move."""
        position = state.position + SPEED * jnp.clip(action, -1, 1)
        distance = jnp.linalg.norm(position - task.goal)
        reward = -distance if self.dense else jnp.where(distance <= GOAL_RADIUS, 1 - distance, 0.0)
        return position, State(position, state.time + 1), reward, jnp.zeros((), jnp.bool_), {}

    def action_space(self, params: Any = None) -> Box:
        """A step along each axis, in units of 0.1."""
        return Box(-1.0, 1.0, (2,), jnp.float32)

    def observation_space(self, params: Any) -> Box:
        """As far as an episode reaches."""
        reach = SPEED * self.episode_length
        return Box(-reach, reach, (2,), jnp.float32)


make_point_robot = in_trials(PointRobot)
