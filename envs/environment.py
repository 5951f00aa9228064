"""The environment protocol: gymnax 1.x's own, and the base of our wrappers.

`reset(key, params) -> obs, state` and `step(key, state, action, params) -> obs, state, reward,
terminated, truncated, info`. `step` resets by itself and keeps the last observation of the episode
in `info["final_observation"]`. Both come from `Environment`. An environment implements `reset_env`
and `step_env` (five values, no reset). It implements `is_truncated` too if its time limit is not
`state.time >= params.max_steps_in_episode`.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams, EnvState
from jaxtyping import Array, Bool, PRNGKeyArray

from rlformers.envs.adapters.host import on_host, resets
from rlformers.envs.lazy_resets import reset_is_dear, reset_where
from rlformers.errors import UserError

__all__ = [
    "UNLIMITED",
    "EnvParams",
    "EnvState",
    "Environment",
    "NoParams",
    "Number",
    "PlainEnvironment",
    "TimedParams",
    "Wrapper",
    "check_params",
    "checked",
    "need_at_least",
    "never_truncates",
    "unwrapped",
    "wrappers_around",
]

# Stands for no time limit: more steps than anyone makes.
UNLIMITED = 2**31 - 1

# A field of params: a Python number, an array [] of vmapped params, or what jax.tree puts in its place.
Number = Any


def need_at_least(name: str, value: Any, minimum: int) -> None:
    """Check a field of params or an argument, named with its prefix. Arrays of vmapped params pass.

    Raises:
        UserError: The value is below the minimum.
    """
    if isinstance(value, int | float) and value < minimum:
        raise UserError(f"{name}: need at least {minimum}, got {value}")


@struct.dataclass
class NoParams:
    """Params of an environment whose every number is an argument of its constructor."""


@struct.dataclass
class TimedParams(EnvParams):
    """The time limit T, in steps."""

    max_steps_in_episode: Number = 200

    def check(self) -> None:
        """Check the limit.

        Raises:
            UserError: T below 1.
        """
        need_at_least("max_steps_in_episode", self.max_steps_in_episode, 1)


def checked(params: Any) -> Any:
    """The same params, after their `check`. For constructors that build default params from a user's arguments.

    Raises:
        UserError: As `check`.
    """
    params.check()
    return params


def check_params(params: Any, env: Any = None) -> None:
    """Check params where a user gives them.

    Params are pytrees. jax builds them from anything (differences, axes, booleans), so their
    constructors must check nothing. Checks stand in a method `check()` of the params, or
    `check_params(params)` of the environment or a wrapper.

    Args:
        params: Of the environment. A time limit must be 1 or more in any case.
        env: The environment; None: only `params.check()` is called.

    Raises:
        UserError: As those methods, or a time limit below 1.
    """
    check = getattr(params, "check", None)
    if callable(check):
        check()
    need_at_least("max_steps_in_episode", getattr(params, "max_steps_in_episode", 1), 1)
    if env is not None and hasattr(env, "check_params"):
        env.check_params(params)


class PlainEnvironment(Environment):
    """What most environments of this package share, so that each says only what is its own.

    A subclass sets `default_params`, in its class or in its constructor, unless it has no params.
    It sets `never_truncates = True` if its episodes end by termination only.
    """

    default_params: Any = NoParams()
    never_truncates = False

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether `params.max_steps_in_episode` steps are made; never, if `never_truncates`."""
        return jnp.zeros((), jnp.bool_) if self.never_truncates else super().is_truncated(state, params)

    @property
    def num_actions(self) -> int:
        """Number of actions, or of their components."""
        space = self.action_space(self.default_params)
        return space.n if isinstance(space, spaces.Discrete) else space.shape[0]


class Wrapper(Environment):
    """An environment around another one, with the same params.

    Wrappers transform `reset_env` and `step_env`, so they sit INSIDE the automatic reset of the
    outermost one. Nothing that they add to an observation can be left over from the episode before.
    A wrapper with a memory of its own has a NamedTuple as its state, whose field `env_state` is the
    state of the wrapped environment. A wrapper without one uses the inner state itself.
    """

    def __init__(self, env: Environment):
        self.env = env

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state

    def step(
        self, key: PRNGKeyArray, state: Any, action: Any, params: Any = None
    ) -> tuple[Any, Any, Array, Array, Array, dict]:
        """A step, and a reset if it ended the episode. Returns what gymnax's own step returns, bit for bit.

        A reset that costs more than a step is computed only where it is needed (`lazy_resets`). An
        environment on the host is told which of its copies need one (`adapters.host.resets`).
        """
        params = self.default_params if params is None else params
        if self.on_host:
            return resets.step(self, key, state, action, params)
        key_step, key_reset = jax.random.split(key)
        final, last, reward, terminated, info = self.step_env(key_step, state, action, params)
        truncated = self.is_truncated(last, params)
        done = terminated | truncated
        lazily = reset_is_dear(self, params)
        obs, state = reset_where(self.reset_env, done, key_reset, params, (final, last), lazily)
        info = {**info, "terminated": terminated, "truncated": truncated, "final_observation": final}
        return obs, state, reward, terminated, truncated, info

    def check_params(self, params: Any) -> None:
        """Let the wrapped environment check its params (see `check_params` of this module)."""
        if hasattr(self.env, "check_params"):
            self.env.check_params(params)

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        return self.env.reset_env(key, params)

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        return self.env.step_env(key, state, action, params)

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether the time limit is reached."""
        return self.env.is_truncated(self.inner_state(state), params)

    def action_space(self, params: Any = None) -> spaces.Space:
        """Space of the actions."""
        return self.env.action_space(params)

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        return self.env.observation_space(params)

    @property
    def default_params(self) -> Any:
        """Params of the wrapped environment."""
        return self.env.default_params

    @property
    def num_actions(self) -> int:
        """Number of actions, or of their components."""
        return self.env.num_actions

    @property
    def name(self) -> str:
        """Name of the wrapped environment."""
        return self.env.name

    @property
    def keeps_observation(self) -> bool:
        """Whether every entry of the observation stays in its place, though more may stand beside it."""
        return type(self).observation_space is Wrapper.observation_space

    @property
    def never_truncates(self) -> bool:
        """Whether the learner may leave out the value of final observations."""
        return never_truncates(self.env)

    @property
    def on_host(self) -> bool:
        """Whether the wrapped environment lives outside of the program."""
        return on_host(self.env)


def never_truncates(env: Environment) -> bool:
    """Whether the environment declares that its episodes end by termination only."""
    return bool(getattr(env, "never_truncates", False))


def wrappers_around(env: Environment) -> Iterator[Wrapper]:
    """The wrappers of an environment, from the outermost one on."""
    while isinstance(env, Wrapper):
        yield env
        env = env.env


def unwrapped(env: Environment) -> Environment:
    """The environment inside all wrappers."""
    for wrapper in wrappers_around(env):
        env = wrapper.env
    return env
