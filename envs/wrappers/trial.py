"""Trials: several episodes of one hidden task, through which the agent keeps its memory (RL², Duan et al. 2016).

Three ends, kept apart:

* an episode of the wrapped environment ends: the next one starts at once, under the same task. Neither the memory nor
  the value is cut, since what is maximised is the return of the trial; the agent sees the flag "episode_end".
* the trial **terminates**: after `episodes` episodes or `steps` steps. The memory starts afresh, the value is cut.
* the trial is **truncated**: after `steps` steps with `truncate`. The memory starts afresh, the value is bootstrapped.

To learners a trial is an episode like any other, inside the automatic reset, which also draws the
next task.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.adapters.host.resets import Begun, about_to_reset, pop_begun, replacing
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.lazy_resets import reset_is_dear, reset_where
from rlformers.envs.meta.task import distribution, sample_task
from rlformers.envs.wrappers.agent_inputs import extend, flag_space, is_packed, null_action, reward_space, seen_action
from rlformers.envs.wrappers.keys import INPUTS
from rlformers.errors import UserError

INNER_RESETS = ("resample", "same")
# Attempts of a trial that only a number of steps ends, reported one by one.
RECORDED = 10


class TrialState(NamedTuple):
    """State of `Trial`, K attempts being reported."""

    env_state: Any
    task: Any
    first: Any  # observation and state that all episodes of the trial start from; None where they are resampled
    time: Int32[Array, ""]  # steps made in the trial
    attempts: Int32[Array, ""]  # episodes completed in the trial
    attempt_return: Float32[Array, ""]  # of the running episode
    returns: Float32[Array, " K"]  # of completed episodes, 0 before


class Trial(Wrapper):
    """Plays episodes of one task until the trial ends. Every trial has its own task (see `task.MetaEnvironment`).

    Observations become a dict. "observation" is the environment's own. `inputs` chooses the rest,
    which is about the step before: "previous_action", "previous_reward" (float32 []), "episode_end"
    (float32 [], 1 if it ended an episode), and "trial_start" (float32 [], 1 in the first
    observation, where the others are 0). After the end of an episode, "observation" is the first
    one of the next episode; if the trial has one episode, its own last one.

    `info["episode_attempt_return"]`, float32 [K], has the returns of the episodes completed so far
    in this trial. `info["episode_attempt_count"]`, float32 [K], is 1 for those and 0 for the
    others. K is `episodes`, or 10. `info["episode_task"]`, float32 [n], has all numbers of the
    task, to tell trials apart; it is missing if the environment draws no tasks.

    Args:
        env: What to play.
        episodes: Terminate the trial after this many episodes.
        steps: End the trial after this many steps, wherever its episode stands.
        truncate: `steps` truncates instead of terminating.
        inner_reset: "resample" the first state of every episode, or start all episodes of a trial
            from the "same" one.
        inputs: What the agent sees of the step before, any of `INPUTS`.

    Raises:
        UserError: Neither `episodes` nor `steps`, one below 1, or an unknown name.
    """

    keeps_observation = True
    packs = True
    reports = ("episode_attempt_return", "episode_attempt_count", "episode_task")
    sample_task = None  # tasks are drawn in here; to what stands around a trial, its params are its params

    def __init__(
        self,
        env: Environment,
        episodes: int | None = None,
        steps: int | None = None,
        truncate: bool = False,
        inner_reset: str = "resample",
        inputs: Sequence[str] = INPUTS,
    ):
        super().__init__(env)
        if episodes is None and steps is None:
            raise UserError("env_kwargs.episodes: need episodes or steps, without which a trial has no end")
        for name, number in (("episodes", episodes), ("steps", steps)):
            if number is not None and not (isinstance(number, int) and number >= 1):
                raise UserError(f"env_kwargs.{name}: need an int of at least 1, got {number!r}")
        if truncate and steps is None:
            raise UserError("env_kwargs.truncate: need env_kwargs.steps, the number of steps to truncate after")
        if inner_reset not in INNER_RESETS:
            raise UserError(f"env_kwargs.inner_reset: need one of {', '.join(INNER_RESETS)}, got {inner_reset!r}")
        if isinstance(inputs, str) or not set(inputs) <= set(INPUTS):
            raise UserError(f"env_kwargs.inputs: need a list of any of {', '.join(INPUTS)}, got {inputs!r}")
        self.episodes = episodes
        self.steps = steps
        self.truncate = truncate
        self.inner_reset = inner_reset
        self.inputs = tuple(name for name in INPUTS if name in inputs)
        self.num_recorded = episodes or RECORDED

    def around(self, env: Environment) -> "Trial":
        """The same kind of trials of another environment."""
        other = copy.copy(self)
        other.env = env
        return other

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, TrialState]:
        """Draw a task and start its first episode."""
        key_task, key_reset = jax.random.split(key)
        task = sample_task(self.env, key_task, params)
        obs, env_state = self.env.reset_env(key_reset, task)
        state = TrialState(
            env_state=env_state,
            task=task,
            first=(obs, env_state) if self.inner_reset == "same" else None,
            time=jnp.zeros((), jnp.int32),
            attempts=jnp.zeros((), jnp.int32),
            attempt_return=jnp.zeros((), jnp.float32),
            returns=jnp.zeros(self.num_recorded, jnp.float32),
        )
        zero, one = jnp.zeros((), jnp.float32), jnp.ones((), jnp.float32)
        return self._see(obs, null_action(self.env.action_space(params)), zero, zero, one), state

    def step_env(
        self, key: PRNGKeyArray, state: TrialState, action: Any, params: Any
    ) -> tuple[Any, TrialState, Float32[Array, ""], Bool[Array, ""], dict]:
        """Make a step of the running episode; if it was the last, start the next one."""
        key_step, key_reset = jax.random.split(key)
        goes_on = self.episodes != 1  # else no episode follows
        with about_to_reset(key_reset) if goes_on else nullcontext():
            obs, env_state, reward, terminated, info = self.env.step_env(key_step, state.env_state, action, state.task)
        reward = jnp.asarray(reward, jnp.float32)
        end = terminated | self.env.is_truncated(env_state, state.task)
        if goes_on:
            info, begun = pop_begun(info)
            obs, env_state = self._begin_again(key_reset, end, state, obs, env_state, begun)

        attempt_return = state.attempt_return + reward
        attempt = jnp.arange(self.num_recorded)
        state = TrialState(
            env_state=env_state,
            task=state.task,
            first=state.first,
            time=state.time + 1,
            attempts=state.attempts + end,
            attempt_return=jnp.where(end, 0.0, attempt_return),
            returns=jnp.where(end & (attempt == state.attempts), attempt_return, state.returns),
        )
        info = {
            **info,
            "episode_attempt_return": state.returns,
            "episode_attempt_count": (attempt < state.attempts).astype(jnp.float32),
        }
        if distribution(self.env) is not None:
            info["episode_task"] = _numbers(state.task)
        previous = seen_action(self.env.action_space(params), action)
        obs = self._see(obs, previous, reward, end.astype(jnp.float32), jnp.zeros((), jnp.float32))
        return obs, state, reward, self._is_over(state, truncate=False), info

    def _begin_again(
        self,
        key: PRNGKeyArray,
        end: Bool[Array, ""],
        state: TrialState,
        obs: Any,
        env_state: Any,
        begun: Begun | None,
    ) -> tuple[Any, Any]:
        """The first observation and state of the next episode if one has ended, else those given."""
        if self.inner_reset == "same":
            return jax.tree.map(lambda new, old: jnp.where(end, new, old), state.first, (obs, env_state))
        lazily = not self.on_host and reset_is_dear(self.env, state.task)
        with replacing(self.env, end, env_state, begun):
            return reset_where(self.env.reset_env, end, key, state.task, (obs, env_state), lazily)

    def _see(self, obs: Any, *inputs: Any) -> Any:
        parts = {name: part for name, part in zip(INPUTS, inputs, strict=True) if name in self.inputs}
        return extend(obs, parts, is_packed(self.env))

    def _is_over(self, state: TrialState, truncate: bool) -> Bool[Array, ""]:
        """Whether the trial has terminated or, with `truncate`, is truncated."""
        over = jnp.zeros((), jnp.bool_)
        if self.steps is not None and self.truncate == truncate:
            over |= state.time >= self.steps
        if self.episodes is not None and not truncate:
            over |= state.attempts >= self.episodes
        return over

    def is_truncated(self, state: TrialState, params: Any) -> Bool[Array, ""]:
        """Whether the last of `steps` is made, with `truncate`."""
        return self._is_over(state, truncate=True)

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        parts = dict(zip(INPUTS, (self.env.action_space(params), reward_space, flag_space, flag_space), strict=True))
        shown = {name: parts[name] for name in self.inputs}
        return extend(self.env.observation_space(params), shown, is_packed(self.env), spaces.Dict)

    @property
    def never_truncates(self) -> bool:
        """Whether all trials end by termination, however the episodes inside them end."""
        return not self.truncate


def _numbers(task: Any) -> Float32[Array, " n"]:
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(task)]
    numbers = [leaf for leaf in leaves if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    return jnp.concatenate([jnp.zeros(0), *numbers]).astype(jnp.float32)


def in_trials(make: Callable[..., Environment]) -> Callable[..., Trial]:
    """A constructor of trials of what `make` builds. It takes the arguments of `make` and of `Trial`."""
    trial = [parameter for name, parameter in inspect.signature(Trial).parameters.items() if name != "env"]
    names = {parameter.name for parameter in trial}

    def construct(**kwargs: Any) -> Trial:
        own = {name: value for name, value in kwargs.items() if name not in names}
        return Trial(make(**own), **{name: value for name, value in kwargs.items() if name in names})

    own = inspect.signature(make).parameters.values()
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *trial)]
    construct.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    construct.__doc__ = make.__doc__
    construct.trials_of = make  # type: ignore[attr-defined]
    return construct
