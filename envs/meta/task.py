"""Tasks: what is drawn once per trial, and which tasks are for training and which are held out."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Int32, PRNGKeyArray

from rlformers.envs.environment import Environment, PlainEnvironment, Wrapper, need_at_least
from rlformers.errors import UserError

SPLITS = ("all", "train", "heldout")

# What every environment plays by default whose `train` and `heldout` are drawn from one distribution of tasks: a run
# that says nothing of splits can then be tested with split=heldout. The default is `all` where `train` would be another
# problem than the one that is known by the environment's name (bandits: the best arm has an even number), or where no
# task can be held out (projections). `tests/envs/test_splits.py` looks at all of them.
DEFAULT_SPLIT = "train"


class MetaEnvironment(PlainEnvironment):
    """An environment with a distribution of tasks.

    `params` describe the distribution. `sample_task(key, params)` draws a task from it, any pytree
    of arrays. `reset_env`, `step_env` and `is_truncated` take the task in the place of params.
    Spaces are the same for all tasks, and take params or a task. `trial.Trial` decides when tasks
    are drawn.
    """

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Any:
        """Draw a task."""
        raise NotImplementedError


class FixedLengthEnvironment(MetaEnvironment):
    """A `MetaEnvironment` whose episodes are truncated after `episode_length` steps.

    Raises:
        UserError: A length below 1.
    """

    def __init__(self, episode_length: int):
        need_at_least("env_kwargs.episode_length", episode_length, 1)
        self.episode_length = episode_length

    def is_truncated(self, state: Any, task: Any) -> Bool[Array, ""]:
        """Whether `episode_length` steps are made."""
        return state.time >= self.episode_length


class Tasks(Wrapper):
    """Gives a plain environment tasks: its params are the task, e.g. poles of different lengths:

        Tasks(CartPole(), lambda key, params: params.replace(length=jax.random.uniform(key)))

    Args:
        env: Any environment.
        draw: From a key and the params to the params of a task.
    """

    def __init__(self, env: Environment, draw: Callable[[PRNGKeyArray, Any], Any]):
        super().__init__(env)
        self.sample_task = draw


def sample_task(env: Environment, key: PRNGKeyArray, params: Any) -> Any:
    """Draw a task of an environment, or of the one that it wraps. Without a distribution the params are the task."""
    draw = distribution(env)
    return params if draw is None else draw(key, params)


def distribution(env: Environment) -> Callable[[PRNGKeyArray, Any], Any] | None:
    """The `sample_task` of an environment, or of the one that it wraps, if it has any."""
    while isinstance(env, Wrapper) and not hasattr(env, "sample_task"):
        env = env.env
    return getattr(env, "sample_task", None)


def split_tasks(num_tasks: int, split: str) -> Int32[np.ndarray, " n"]:
    """The tasks of a split, out of 0 .. num_tasks - 1. A fixed quarter is held out, spread evenly over them.

    Knuth's multiplicative hash ranks the tasks; it never changes with a version.

    Raises:
        UserError: `split` is none of `SPLITS`.
    """
    if split not in SPLITS:
        raise UserError(f"env_kwargs.split: need one of {', '.join(SPLITS)}, got {split!r}")
    ranked = np.argsort(np.arange(num_tasks, dtype=np.uint64) * 2654435761 % 2**32, kind="stable")
    held_out, training = ranked[: num_tasks // 4], ranked[num_tasks // 4 :]
    return np.sort({"all": ranked, "train": training, "heldout": held_out}[split]).astype(np.int32)
