"""Bandits whose arms change while they are pulled: at random, or as an adversary planned it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.task import MetaEnvironment
from rlformers.envs.spaces import Box, Discrete
from rlformers.envs.wrappers.trial import in_trials
from rlformers.errors import UserError


class ChangingBandit(MetaEnvironment):
    """K arms, `pulls` pulls. Observes the fraction of the pulls made, float32 [1]. `Trial` shows the rewards.

    The episode terminates with the last pull. There are no held-out tasks: the arms are drawn from
    a continuum.

    Args:
        num_arms: K.
        pulls: Pulls of an episode.

    Raises:
        UserError: Less than 2 arms or 1 pull.
    """

    never_truncates = True

    def __init__(self, num_arms: int, pulls: int):
        need_at_least("env_kwargs.num_arms", num_arms, 2)
        need_at_least("env_kwargs.pulls", pulls, 1)
        self.num_arms = num_arms
        self.pulls = pulls

    def action_space(self, params: Any = None) -> Discrete:
        """The arms."""
        return Discrete(self.num_arms)

    def observation_space(self, params: Any) -> Box:
        """Fraction of the pulls made."""
        return Box(0.0, 1.0, (1,), jnp.float32)

    def _see(self, time: Int32[Array, ""]) -> Float32[Array, "1"]:
        return jnp.full(1, time / self.pulls, jnp.float32)


class Arms(NamedTuple):
    """State of an episode: the arms as they are now."""

    chances: Float32[Array, " K"]  # of paying 1
    time: Int32[Array, ""]  # pulls made


class Start(NamedTuple):
    """The arms before the first pull."""

    chances: Float32[Array, " K"]


class NonStationaryBandit(ChangingBandit):
    """Arms pay 1 with chances that jump and drift, and else 0; see `ChangingBandit`.

    Chances are uniform in [0, 1] at first. After every pull, with probability `jump_rate`, all of
    them are drawn anew. These are the abrupt changes of Garivier & Moulines 2011, but at random
    times instead of fixed ones. Then each chance makes a normal step of deviation `drift` and is
    reflected at 0 and 1, as the restless arms of Daw et al. 2006.

    Args:
        num_arms: K.
        pulls: Pulls of an episode.
        jump_rate: Probability of a jump after a pull.
        drift: Standard deviation of a step.

    Raises:
        UserError: Less than 2 arms or 1 pull, or a rate or a drift outside of [0, 1].
    """

    def __init__(self, num_arms: int = 5, pulls: int = 200, jump_rate: float = 0.02, drift: float = 0.0):
        super().__init__(num_arms, pulls)
        for name, value in (("jump_rate", jump_rate), ("drift", drift)):
            if not 0 <= value <= 1:
                raise UserError(f"env_kwargs.{name}: need a number in [0, 1], got {value}")
        self.jump_rate = jump_rate
        self.drift = drift

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Start:
        """Draw the chances before the first pull."""
        return Start(jax.random.uniform(key, (self.num_arms,)))

    def reset_env(self, key: PRNGKeyArray, task: Start) -> tuple[Float32[Array, "1"], Arms]:
        """Before the first pull."""
        time = jnp.zeros((), jnp.int32)
        return self._see(time), Arms(task.chances, time)

    def step_env(
        self, key: PRNGKeyArray, state: Arms, action: Any, task: Start
    ) -> tuple[Float32[Array, "1"], Arms, Float32[Array, ""], Bool[Array, ""], dict]:
        """Pull an arm; then the arms change."""
        key_reward, key_change = jax.random.split(key)
        reward = jax.random.bernoulli(key_reward, state.chances[action]).astype(jnp.float32)
        time = state.time + 1
        state = Arms(self.change(key_change, state.chances), time)
        return self._see(time), state, reward, time >= self.pulls, {}

    def change(self, key: PRNGKeyArray, chances: Float32[Array, " K"]) -> Float32[Array, " K"]:
        """The chances after those of one pull."""
        key_when, key_jump, key_drift = jax.random.split(key, 3)
        anew = jax.random.uniform(key_jump, (self.num_arms,))
        chances = jnp.where(jax.random.bernoulli(key_when, self.jump_rate), anew, chances)
        if not self.drift:
            return chances
        moved = jnp.mod(chances + self.drift * jax.random.normal(key_drift, (self.num_arms,)), 2.0)
        return jnp.minimum(moved, 2.0 - moved)


class Pulled(NamedTuple):
    """State of an episode."""

    time: Int32[Array, ""]  # pulls made


class Plan(NamedTuple):
    """What the adversary fixed before the first pull, in S segments."""

    rewards: Float32[Array, "S K"]  # of every arm, as long as a segment lasts
    starts: Int32[Array, " S"]  # the pull that a segment begins with; the first is 0


class AdversarialBandit(ChangingBandit):
    """Arms pay what an adversary planned in advance (Auer et al. 2002); see `ChangingBandit`.

    There are S segments of random lengths. During a segment every arm pays a constant, uniform in
    [0, 1], without noise. Only the arm that would have paid most so far pays 0. So following the
    leader earns nothing from the second segment on, while the best arm of the whole episode is not
    bad.

    Args:
        num_arms: K.
        pulls: Pulls of an episode.
        segments: S.

    Raises:
        UserError: Less than 2 arms or 1 pull, or a number of segments that is not in 1 .. pulls.
    """

    def __init__(self, num_arms: int = 5, pulls: int = 200, segments: int = 8):
        super().__init__(num_arms, pulls)
        if not 1 <= segments <= pulls:
            raise UserError(f"env_kwargs.segments: need 1 <= segments <= pulls = {pulls}, got {segments}")
        self.segments = segments

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Plan:
        """Plan an episode."""
        key_starts, key_rewards = jax.random.split(key)
        gaps = jnp.sort(jax.random.uniform(key_starts, (self.segments - 1,))) * (self.pulls - self.segments + 1)
        starts = jnp.arange(self.segments) + jnp.concatenate([jnp.zeros(1), jnp.floor(gaps)]).astype(jnp.int32)
        lengths = jnp.diff(starts, append=self.pulls)
        levels = jax.random.uniform(key_rewards, (self.segments, self.num_arms))

        def segment(totals: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            level, length, first = inputs
            level = jnp.where(first, level, level.at[jnp.argmax(totals)].set(0.0))
            return totals + length * level, level

        first = jnp.arange(self.segments) == 0
        _, rewards = jax.lax.scan(
            segment, jnp.zeros(self.num_arms), (levels, lengths, first), unroll=min(self.segments, 16)
        )
        return Plan(rewards, starts)

    def reset_env(self, key: PRNGKeyArray, task: Plan) -> tuple[Float32[Array, "1"], Pulled]:
        """Before the first pull."""
        state = Pulled(jnp.zeros((), jnp.int32))
        return self._see(state.time), state

    def step_env(
        self, key: PRNGKeyArray, state: Pulled, action: Any, task: Plan
    ) -> tuple[Float32[Array, "1"], Pulled, Float32[Array, ""], Bool[Array, ""], dict]:
        """Pull an arm."""
        segment = (task.starts <= state.time).sum() - 1
        state = Pulled(state.time + 1)
        return self._see(state.time), state, task.rewards[segment, action], state.time >= self.pulls, {}


make_non_stationary_bandit = in_trials(NonStationaryBandit)
make_adversarial_bandit = in_trials(AdversarialBandit)
