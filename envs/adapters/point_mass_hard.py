"""dm_control's point_mass-hard, which MuJoCo Playground leaves out: PointMass with motors that push anywhere.

dm_control 1.0 (suite/point_mass.py, `initialize_episode` with `randomize_gains`) draws two
directions of length 1 per episode, not too parallel (the absolute value of their product is at most
0.9), as the coefficients of the two tendons that the motors pull: the force on the mass is 0.1 N
(a_1 d_1 + a_2 d_2). Rewards do not change. Instead of drawing until they fit, the angle between
them is drawn uniformly from those that fit, which is the same distribution.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray
from mujoco import mjx
from mujoco_playground._src import mjx_env
from mujoco_playground._src.dm_control_suite.point_mass import PointMass
from mujoco_playground._src.mjx_env import State

# The least angle between the two directions, or between one and the opposite of the other.
LEAST_ANGLE = math.acos(0.9)


def directions(key: PRNGKeyArray) -> Float32[Array, "2 2"]:
    """The directions of the two motors, a row each."""
    key_first, key_between, key_side = jax.random.split(key, 3)
    first = jax.random.uniform(key_first, (), jnp.float32, 0.0, 2 * math.pi)
    between = jax.random.uniform(key_between, (), jnp.float32, LEAST_ANGLE, math.pi - LEAST_ANGLE)
    second = first + jax.random.rademacher(key_side, (), jnp.float32) * between
    angles = jnp.stack([first, second])
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)


class PointMassHard(PointMass):
    """Playground's PointMass with directions of its motors drawn at every reset, `state.info["directions"]`.

    MJX holds the coefficients of tendons fixed. The motors of the model, which pull along x and y,
    get the sum of what the two of the task would do, for which their limits of 1 are raised.
    """

    def __init__(self, config: Any, config_overrides: Any = None):
        super().__init__(config, config_overrides)
        self._mj_model.actuator_ctrlrange[:] = [-2, 2]
        self._mjx_model = mjx.put_model(self._mj_model, impl=self._config.impl)

    def reset(self, rng: PRNGKeyArray) -> State:
        """Start an episode."""
        rng, key = jax.random.split(rng)
        state = super().reset(rng)
        return state.replace(info={**state.info, "directions": directions(key)})

    def step(self, state: State, action: Float32[Array, " 2"]) -> State:
        """Make a step; the reward is that of the action, not of where it pushes."""
        force = jnp.matmul(jnp.clip(action, -1, 1), state.info["directions"], precision="highest")
        data = mjx_env.step(self.mjx_model, state.data, force, self.n_substeps)
        reward = self._get_reward(data, action, state.info, state.metrics)
        done = jnp.isnan(data.qpos).any() | jnp.isnan(data.qvel).any()
        obs = self._get_obs(data, state.info)
        return State(data, obs, reward, done.astype(jnp.float32), state.metrics, state.info)
