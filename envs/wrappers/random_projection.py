"""Random projections: every trial has sensors and motors that the agent never saw (Lu et al. 2023, algorithm 1)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.meta.task import distribution as distribution_of
from rlformers.envs.meta.task import sample_task
from rlformers.errors import UserError

DISTRIBUTIONS = ("orthogonal", "gaussian")
# A split by signs or sizes of M leaks through the symmetries of the environment. Cart-pole is the same in the mirror,
# (x, theta) -> (-x, -theta) with left and right exchanged. So the agent sees and earns the same, to the last bit, under
# (M, p) and under (-M, p with left and right exchanged).
NO_SPLIT = (
    "need all: projections are drawn from a continuum, so every evaluation plays unseen ones, and a held-out "
    "projection can be one of training in the mirror"
)


class Projection(NamedTuple):
    """The task of `RandomProjection`."""

    task: Any  # of the wrapped environment
    observation: Float32[Array, "O E"]
    action: Any  # [E_a, A] for a Box, a permutation [n] for Discrete, one per choice for MultiDiscrete, or None


class ProjectedState(NamedTuple):
    """State of `RandomProjection` outside of a trial."""

    env_state: Any
    projection: Projection  # of this episode; its task is None where the wrapped environment has none but its params


class RandomProjection(Wrapper):
    """Projects the flattened observation o [E] to M o [O], and permutes or projects the actions.

    The projection is part of the task: in a `trial.Trial` one is drawn per trial. Outside of a
    trial, with params in place of a task, every episode draws one (and the task of the wrapped
    environment) and keeps it in its state.

    Continuous actions a [A] in [-1, 1] become the environment's clip(W a, -1, 1), stretched to the
    bounds of its Box [E_a]; the values of discrete actions change places. With `distribution`

    * "orthogonal", M has orthonormal columns times sqrt(2), W orthonormal rows;
    * "gaussian", the entries of M and W are normal with variance 1 / E and 1 / A.

    The paper names no distribution; its published code draws M as here by default and leaves
    actions alone.

    Args:
        env: An environment; its tasks, if it has any, are drawn along with the projection.
        observation_size: O, at least E. Default: E.
        action_size: A, at least E_a, for continuous actions. Default: E_a.
        project_actions: Project or permute actions too.
        distribution: "orthogonal" or "gaussian".
        split: "all"; projections have no split, see `NO_SPLIT`.

    Raises:
        UserError: A size that loses information, actions that cannot be projected, a mask of them,
            an unknown name, or a split.
    """

    def __init__(
        self,
        env: Environment,
        observation_size: int | None = None,
        action_size: int | None = None,
        project_actions: bool = True,
        distribution: str = "orthogonal",
        split: str = "all",
    ):
        super().__init__(env)
        if split != "all":
            raise UserError(f"env_kwargs.split: {NO_SPLIT}; got {split!r}")
        if distribution not in DISTRIBUTIONS:
            allowed = ", ".join(DISTRIBUTIONS)
            raise UserError(f"env_kwargs.distribution: need one of {allowed}, got {distribution!r}")
        self.inner_space = env.observation_space(env.default_params)
        self.inner_actions = env.action_space(env.default_params)
        if "action_mask" in getattr(self.inner_space, "spaces", ()):
            raise UserError(f"RandomProjection: {env.name} shows an action_mask, which a projection would hide")
        self.num_inputs = spaces.flat_size(self.inner_space)
        self.num_outputs = _at_least("observation_size", self.num_inputs, observation_size)
        self.project_actions = project_actions
        self.distribution = distribution

        continuous = isinstance(self.inner_actions, spaces.Box) and project_actions
        if action_size is not None and not continuous:
            raise UserError("env_kwargs.action_size: this environment has no continuous actions to project")
        if continuous:
            shape, bounds = self.inner_actions.shape, (self.inner_actions.low, self.inner_actions.high)
            low, high = (np.broadcast_to(np.asarray(bound, np.float32), shape) for bound in bounds)
            if len(shape) != 1 or max(np.abs(low).max(), np.abs(high).max()) > spaces.UNBOUNDED:
                raise UserError("env_kwargs.project_actions: need actions that are vectors with finite bounds")
            self.centre, self.half = (high + low) / 2, (high - low) / 2
            self.action_size = _at_least("action_size", shape[0], action_size)
        elif project_actions and not isinstance(self.inner_actions, spaces.Discrete | spaces.MultiDiscrete):
            raise UserError(f"env_kwargs.project_actions: cannot project the actions {self.inner_actions}")

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Projection:
        """Draw the task of the wrapped environment and the projections."""
        key_task, key_observation, key_action = jax.random.split(key, 3)
        return Projection(
            task=sample_task(self.env, key_task, params),
            observation=self._sample_observation(key_observation),
            action=self._sample_action(key_action) if self.project_actions else None,
        )

    def _sample_observation(self, key: PRNGKeyArray) -> Float32[Array, "O E"]:
        if self.distribution == "orthogonal":
            return 2**0.5 * orthonormal_columns(key, self.num_outputs, self.num_inputs)
        return jax.random.normal(key, (self.num_outputs, self.num_inputs)) / self.num_inputs**0.5

    def _sample_action(self, key: PRNGKeyArray) -> Any:
        space = self.inner_actions
        if isinstance(space, spaces.Discrete):
            return jax.random.permutation(key, space.n)
        if isinstance(space, spaces.MultiDiscrete):
            keys = jax.random.split(key, len(space.nvec))
            return tuple(jax.random.permutation(key, n) for key, n in zip(keys, space.nvec, strict=True))
        inner = space.shape[0]
        if self.distribution == "orthogonal":
            return orthonormal_columns(key, self.action_size, inner).T
        return jax.random.normal(key, (inner, self.action_size)) / self.action_size**0.5

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state if isinstance(state, ProjectedState) else state

    def task_of(self, state: Any, params: Any) -> Projection:
        """The task in play: `params` in a trial, else the task of the episode."""
        if not isinstance(state, ProjectedState):
            return params
        projection = state.projection
        return projection._replace(task=params) if distribution_of(self.env) is None else projection

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Float32[Array, " O"], Any]:
        """Start an episode of the task `params`, or of a new task if they are params."""
        if isinstance(params, Projection):
            obs, env_state = self.env.reset_env(key, params.task)
            return self._project(obs, params), env_state
        key_task, key_reset = jax.random.split(key)
        task = self.sample_task(key_task, params)
        obs, env_state = self.env.reset_env(key_reset, task.task)
        kept = task._replace(task=None) if distribution_of(self.env) is None else task
        return self._project(obs, task), ProjectedState(env_state, kept)

    def step_env(
        self, key: PRNGKeyArray, state: Any, action: Any, params: Any
    ) -> tuple[Float32[Array, " O"], Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        task, inner = self.task_of(state, params), self.inner_state(state)
        obs, inner, reward, terminated, info = self.env.step_env(key, inner, self._translate(action, task), task.task)
        state = state._replace(env_state=inner) if isinstance(state, ProjectedState) else inner
        return self._project(obs, task), state, reward, terminated, info

    def _project(self, obs: Any, task: Projection) -> Float32[Array, " O"]:
        return jnp.matmul(task.observation, spaces.flatten(self.inner_space, obs), precision="highest")

    def _translate(self, action: Any, task: Projection) -> Any:
        """The environment's action."""
        if not self.project_actions:
            return action
        if isinstance(task.action, tuple):
            return jnp.stack([permutation[action[i]] for i, permutation in enumerate(task.action)])
        space = self.inner_actions
        if isinstance(space, spaces.Discrete):
            return task.action[action]
        projected = jnp.matmul(task.action, action, precision="highest")
        stretched = self.centre + self.half * jnp.clip(projected, -1, 1)
        low, high = (jnp.asarray(bound, space.dtype) for bound in (space.low, space.high))
        return jnp.clip(spaces.as_dtype(stretched, space.dtype), low, high)

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether the time limit is reached."""
        return self.env.is_truncated(self.inner_state(state), self.task_of(state, params).task)

    def action_space(self, params: Any = None) -> spaces.Space:
        """The wrapped environment's, if actions are discrete or not projected; else [-1, 1]^A."""
        if isinstance(self.inner_actions, spaces.Box) and self.project_actions:
            return spaces.Box(-1.0, 1.0, (self.action_size,), jnp.float32)
        return self.inner_actions

    def observation_space(self, params: Any) -> spaces.Box:
        """Vectors [O] without bounds."""
        return spaces.Box(-jnp.inf, jnp.inf, (self.num_outputs,), jnp.float32)


def orthonormal_columns(key: PRNGKeyArray, num_rows: int, num_columns: int) -> Float32[Array, "rows columns"]:
    """A uniformly distributed matrix with orthonormal columns, no more of them than rows.

    Gram-Schmidt on normal vectors: for the few columns of an observation cheaper than a QR
    decomposition per step and environment, which automatic resets would ask for.
    """
    vectors = jax.random.normal(key, (num_columns, num_rows))

    def add(basis: Array, i: Array) -> tuple[Array, None]:
        """Make the i-th vector orthogonal to the basis, twice: once is not enough in float32, twice is."""
        vector = vectors[i]
        for _ in range(2):
            components = jnp.matmul(basis, vector, precision="highest")
            vector = vector - jnp.matmul(components, basis, precision="highest")
        return basis.at[i].set(vector / jnp.linalg.norm(vector)), None

    basis, _ = jax.lax.scan(add, jnp.zeros_like(vectors), jnp.arange(num_columns))
    return basis.T


def _at_least(name: str, least: int, size: int | None) -> int:
    if size is not None and size < least:
        raise UserError(f"env_kwargs.{name}: need at least {least}, what the environment has, got {size}")
    return least if size is None else size
