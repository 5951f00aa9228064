"""The two-step task: does an agent plan with a model of the world, or repeat what was rewarded? (Daw et al. 2011)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.task import MetaEnvironment
from rlformers.envs.spaces import Discrete
from rlformers.envs.wrappers.trial import in_trials
from rlformers.errors import UserError

CHOICE, LEFT, RIGHT = range(3)  # what is observed


class State(NamedTuple):
    """State of an episode."""

    place: Int32[Array, ""]  # where a choice is made, or the left or the right place that it led to
    good: Int32[Array, ""]  # 0 or 1: the left or the right place pays often now
    time: Int32[Array, ""]  # steps made


class Task(NamedTuple):
    """What is hidden at first."""

    good: Int32[Array, ""]  # which place pays often in the first round


class TwoStep(MetaEnvironment):
    """Rounds of two steps: a choice leads to one of two places, and leaving that place pays 1 or 0.

    Choice a leads to place a with probability `common`, else to the other one. Any action leaves a
    place. The good place pays with probability `reward_chance`, the other one with 1 -
    `reward_chance`. Before every round but the first they exchange roles with probability
    `reversal_rate`. Observes where the agent is, Discrete(3): 0 at the choice, 1 and 2 at the
    places. The episode terminates after `rounds` rounds, or 2 `rounds` steps.

    This is the version of Wang et al. 2018 (simulation 4): the numbers are theirs, and the second
    step offers no choice. In the version of Daw et al. 2011 the common transition has probability
    .7, each place has two arms, and their chances drift.

    Args:
        rounds: Rounds of an episode.
        common: Probability of the usual transition after a choice.
        reward_chance: Probability that the good place pays.
        reversal_rate: Probability of a reversal before a round.

    Raises:
        UserError: No rounds, `common` or `reward_chance` outside of [0.5, 1], or a rate outside of
            [0, 1].
    """

    never_truncates = True

    def __init__(
        self, rounds: int = 100, common: float = 0.8, reward_chance: float = 0.9, reversal_rate: float = 0.025
    ):
        need_at_least("env_kwargs.rounds", rounds, 1)
        for name, value, least in (
            ("common", common, 0.5),
            ("reward_chance", reward_chance, 0.5),
            ("reversal_rate", reversal_rate, 0.0),
        ):
            if not least <= value <= 1:
                raise UserError(f"env_kwargs.{name}: need a number in [{least:g}, 1], got {value}")
        self.rounds = rounds
        self.common = common
        self.reward_chance = reward_chance
        self.reversal_rate = reversal_rate

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw which place is good at first."""
        return Task(jax.random.bernoulli(key).astype(jnp.int32))

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Int32[Array, ""], State]:
        """Before the first choice."""
        place = jnp.full((), CHOICE, jnp.int32)
        return place, State(place, task.good, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Choose, or be paid."""
        key_step, key_reverse = jax.random.split(key)
        chance = jax.random.uniform(key_step)
        choosing = state.place == CHOICE
        end = jnp.where(chance < self.common, action, 1 - action)
        place = jnp.where(choosing, LEFT + end, CHOICE).astype(jnp.int32)
        pays = jnp.where(state.place - LEFT == state.good, self.reward_chance, 1 - self.reward_chance)
        reward = jnp.where(~choosing & (chance < pays), 1.0, 0.0)
        reverse = ~choosing & jax.random.bernoulli(key_reverse, self.reversal_rate)
        time = state.time + 1
        state = State(place, jnp.where(reverse, 1 - state.good, state.good), time)
        return place, state, reward, time >= 2 * self.rounds, {}

    def action_space(self, params: Any = None) -> Discrete:
        """Left and right."""
        return Discrete(2)

    def observation_space(self, params: Any) -> Discrete:
        """The choice, the left and the right place."""
        return Discrete(3)


make_two_step = in_trials(TwoStep)
