"""The environment protocol: gymnax 1.x's own, and the base of our wrappers.

`reset(key, params) -> obs, state` and `step(key, state, action, params) -> obs, state, reward, terminated, truncated,
info`, which resets itself and keeps the last observation of the episode in `info["final_observation"]`. Both come from
`Environment`; an environment implements `reset_env`, `step_env` (five values, no reset) and, where its time limit is
not `state.time >= params.max_steps_in_episode`, `is_truncated`.
"""

from typing import Any

import jax
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
    "Number",
    "TimedParams",
    "Wrapper",
    "check_params",
    "checked",
    "need_at_least",
    "never_truncates",
]

# Stands for no time limit: more steps than anyone makes.
UNLIMITED = 2**31 - 1

# A field of params: a Python number, an array [] of vmapped params, or what jax.tree puts in its place.
Number = Any


def need_at_least(name: str, value: Any, minimum: int) -> None:
    """Check a field of params (arrays of vmapped params pass) or an argument, named with its prefix.

    Raises:
        UserError: The value is below the minimum.
    """
    if isinstance(value, int | float) and value < minimum:
        raise UserError(f"{name}: need at least {minimum}, got {value}")


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
    """The same params, after their `check`. For constructors that make their default params of what a user gives.

    Raises:
        UserError: As `check`.
    """
    params.check()
    return params


def check_params(params: Any, env: Any = None) -> None:
    """Check values of params where a user gives them.

    Params are pytrees: jax builds them of anything (differences, axes, booleans), so that their constructors may check
    nothing. What has something to check has a method for it: params a `check()`, or an environment, or a wrapper of it,
    a `check_params(params)`.

    Args:
        params: Of the environment. A time limit is 1 or more, whoever made them.
        env: The environment; None: only what the params say themselves.

    Raises:
        UserError: As those methods, or a time limit below 1.
    """
    check = getattr(params, "check", None)
    if callable(check):
        check()
    need_at_least("max_steps_in_episode", getattr(params, "max_steps_in_episode", 1), 1)
    if env is not None and hasattr(env, "check_params"):
        env.check_params(params)


class Wrapper(Environment):
    """An environment around another one, with the same params.

    Wrappers transform `reset_env` and `step_env`, hence sit INSIDE the automatic reset of the outermost one: nothing
    they add to an observation can be left over from the episode before. A wrapper that needs memory of its own makes
    its state a NamedTuple whose field `env_state` is the state of the wrapped environment; one that needs none uses
    the inner state itself and overrides nothing below.
    """

    def __init__(self, env: Environment):
        self.env = env

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state

    def step(
        self, key: PRNGKeyArray, state: Any, action: Any, params: Any = None
    ) -> tuple[Any, Any, Array, Array, Array, dict]:
        """A step, and the reset of copies whose episode it ended; what gymnax's own step returns, bit for bit.

        A reset that costs more than a step is computed where it is needed only (`lazy_resets`). An environment on the
        host must learn which of its copies need one (`adapters.host.resets`).
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
        """Let the wrapped environment check them, if it does (see `check_params` of this module)."""
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
    """Whether episodes of this environment only ever end by termination, as it declares itself."""
    return bool(getattr(env, "never_truncates", False))
