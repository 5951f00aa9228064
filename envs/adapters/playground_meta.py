"""The 12x2 protocol of Lu et al. 2023 (section 5 and algorithm 1): control tasks behind random projections.

A trial is one episode of 1000 steps of a random task. New random matrices project its observations
to 12 numbers, and two actions of the agent to its one or two. The agent sees the reward and the end
of the step before. Tasks are those of the DeepMind control suite with at most 12 observed numbers
and 2 actions.

One program holds all tasks: `lax.switch` over their simulators, whose states are packed into
vectors of one length. Vmapped copies compute every branch and choose one, so a step costs as much
as a step of every task.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.adapters.brax_state import TIME_LIMIT, BraxState, SimulatorState, make_playground
from rlformers.envs.adapters.control_catalogue import PLAYGROUND_IDS
from rlformers.envs.adapters.packed import Packed, lengths, pack, unpack
from rlformers.envs.environment import TimedParams
from rlformers.envs.meta.task import DEFAULT_SPLIT, MetaEnvironment
from rlformers.envs.spaces import Box
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.trial import Trial
from rlformers.errors import UserError

TRAIN = ("BallInCup", "CartpoleSwingup", "FingerSpin", "FingerTurnHard", "PointMass", "ReacherEasy")
HELD_OUT = ("CartpoleBalance", "FingerTurnEasy", "PendulumSwingup", "PointMassHard", "ReacherHard")
SPLITS = {"train": TRAIN, "heldout": HELD_OUT, "all": TRAIN + HELD_OUT}
OBSERVATION_SIZE, ACTION_SIZE = 12, 2


class ChosenTask(NamedTuple):
    """One of the tasks."""

    number: Int32[Array, ""]  # its place in the list
    max_steps_in_episode: Int32[Array, ""]


class MixtureState(NamedTuple):
    """State of `Mixture`."""

    packed: Packed  # of the chosen task
    time: Int32[Array, ""]  # steps made in this episode


class Mixture(MetaEnvironment):
    """Tasks with different observations and actions as one environment. Its task is which of them is played.

    Observations of fewer than 12 numbers are filled up with zeros; a task with one action takes the
    first.

    Args:
        tasks: Ids without `playground/`; all observe at most 12 numbers and have at most 2 actions.

    Raises:
        UserError: A task that does not fit.
    """

    default_params = TimedParams(max_steps_in_episode=TIME_LIMIT)

    def __init__(self, tasks: Sequence[str]):
        self.tasks: list[BraxState] = [make_playground(task) for task in tasks]
        for task in self.tasks:
            sizes = task.observation_space(None).shape[0], task.action_space().shape[0]
            if sizes[0] > OBSERVATION_SIZE or sizes[1] > ACTION_SIZE:
                raise UserError(
                    f"env_kwargs.tasks: {task.name} has {sizes} observations and actions, at most (12, 2) fit"
                )
        key = jax.random.key(0)
        self._like = [jax.eval_shape(task.reset_env, key, None)[1].simulator for task in self.tasks]
        self._sizes = [max(of_all) for of_all in zip(*map(lengths, self._like), strict=True)]  # F, W

    @property
    def name(self) -> str:
        """The tasks."""
        return f"Mixture({', '.join(task.name for task in self.tasks)})"

    def sample_task(self, key: PRNGKeyArray, params: TimedParams) -> ChosenTask:
        """Draw a task; all are equally likely."""
        number = jax.random.randint(key, (), 0, len(self.tasks), jnp.int32)
        return ChosenTask(number, jnp.asarray(params.max_steps_in_episode, jnp.int32))

    def reset_env(self, key: PRNGKeyArray, task: ChosenTask) -> tuple[Float32[Array, " 12"], MixtureState]:
        """Start an episode."""

        def branch(number: int) -> Any:
            def reset(key: PRNGKeyArray) -> tuple[Array, Packed]:
                obs, state = self.tasks[number].reset_env(key, None)
                return _fill(obs), pack(state.simulator, *self._sizes)

            return reset

        obs, packed = jax.lax.switch(task.number, [branch(i) for i in range(len(self.tasks))], key)
        return obs, MixtureState(packed, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: MixtureState, action: Float32[Array, " 2"], task: ChosenTask
    ) -> tuple[Float32[Array, " 12"], MixtureState, Float32[Array, ""], Bool[Array, ""], dict]:
        """Make a step, without automatic reset."""

        def branch(number: int) -> Any:
            def step(packed: Packed, action: Array) -> tuple[Array, Packed, Array, Array]:
                env = self.tasks[number]
                before = SimulatorState(unpack(packed, self._like[number]), state.time)
                own = action[: env.action_space().shape[0]]
                obs, after, reward, terminated, _ = env.step_env(key, before, own, None)
                return _fill(obs), pack(after.simulator, *self._sizes), reward, terminated

            return step

        branches = [branch(i) for i in range(len(self.tasks))]
        obs, packed, reward, terminated = jax.lax.switch(task.number, branches, state.packed, action)
        return obs, MixtureState(packed, state.time + 1), reward, terminated, {}

    def observation_space(self, params: Any) -> Box:
        """Vectors [12] without bounds."""
        return Box(-jnp.inf, jnp.inf, (OBSERVATION_SIZE,), jnp.float32)

    def action_space(self, params: Any = None) -> Box:
        """[-1, 1]^2."""
        return Box(-1.0, 1.0, (ACTION_SIZE,), jnp.float32)


def _fill(obs: Float32[Array, " n"]) -> Float32[Array, " 12"]:
    return jnp.pad(obs, (0, OBSERVATION_SIZE - obs.size))


def make_meta12x2(
    split: str | None = None,
    tasks: Sequence[str] | None = None,
    distribution: str = "orthogonal",
    inputs: Sequence[str] = ("previous_reward", "episode_end"),
) -> Trial:
    """Trials of one episode of a task behind a projection.

    Args:
        split: "train", the six tasks that the paper trains on, "heldout", the five others, or
            "all". Default: "train", if there are no `tasks`.
        tasks: Others instead, e.g. ["CartpoleSwingup", "PointMass"].
        distribution: Of the projections, see `RandomProjection`; the paper names none.
        inputs: What the agent sees of the step before, see `Trial`; by default what the paper
            appends.

    Raises:
        UserError: An unknown split or task, a task that does not fit, or both a split and tasks.
    """
    if split is not None and split not in SPLITS:
        raise UserError(f"env_kwargs.split: need one of {', '.join(SPLITS)}, got {split!r}")
    if split is not None and tasks is not None:
        raise UserError(f"env_kwargs.split: cannot be combined with env_kwargs.tasks, got {split!r} and {tasks!r}")
    if tasks is None:
        tasks = SPLITS[split or DEFAULT_SPLIT]
    known = {*PLAYGROUND_IDS, "PointMassHard"}
    if isinstance(tasks, str) or not tasks or not set(tasks) <= known:
        raise UserError(f"env_kwargs.tasks: need a list of ids such as {', '.join(SPLITS['all'])}, got {tasks!r}")
    projected = RandomProjection(
        Mixture(tasks), observation_size=OBSERVATION_SIZE, action_size=ACTION_SIZE, distribution=distribution
    )
    return Trial(projected, episodes=1, inputs=inputs)
