"""Procedural Markov decision processes in the manner of AnyMDP (Wang et al. 2025, xenoverse's `task_sampler.py`).

Taken: a number of states that differs from task to task, under names in random order; states in a
row, with moves to a window of near ones, whose probability the actions share out by how near each
one's centre is; starts at the front; pitfalls that end an episode; a goal at the end that does, or
rewards in the second half that do not; costs on the way; and nearly all distributions of these
numbers.

Left out: potential-based rewards, rewards of single actions, the rejection of processes that are
too easy by their value functions, bandits and Garnets in between, its horizons of hundreds of
steps, and a scale of rewards that differs from task to task, exponentially, so that few make up the
mean. Start weights are uniform, not clipped normal ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.tabular_mdp import FiniteMDP, Model, State, draw
from rlformers.envs.wrappers.trial import in_trials
from rlformers.errors import UserError

LEAST_STATES = 8
NUM_STARTS = 3  # among the first states


class Task(NamedTuple):
    """What is hidden. States go by their visible names; names that the process lacks are never reached."""

    transitions: Float32[Array, "S A S"]
    rewards: Float32[Array, " S"]  # expected, on arrival
    noise: Float32[Array, " S"]  # standard deviation of these
    ends: Bool[Array, " S"]  # an episode ends on arrival
    starts: Float32[Array, " S"]  # chances


class AnyMDP(FiniteMDP):
    """A random process whose states form a row unknown to the agent: go far, and do not fall.

    The docstring of this module says what is taken from AnyMDP. There are no held-out tasks:
    processes are drawn from a continuum.

    Args:
        num_states: S, the most states.
        min_states: The fewest states. Each task draws a number between the two.
        actions: A.
        episode_length: Most steps of an episode.

    Raises:
        UserError: Less than 8 states, `min_states` above `num_states`, or another number below 1.
    """

    def __init__(self, num_states: int = 16, min_states: int = 8, actions: int = 5, episode_length: int = 32):
        super().__init__(num_states, actions, episode_length)
        need_at_least("env_kwargs.num_states", num_states, LEAST_STATES)
        if not LEAST_STATES <= min_states <= num_states:
            limits = f"need {LEAST_STATES} <= min_states <= num_states = {num_states}"
            raise UserError(f"env_kwargs.min_states: {limits}, got {min_states}")
        self.min_states = min_states

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw a process, and names for its states."""
        key_number, key_starts, key_ends, key_moves, key_rewards, key_names = jax.random.split(key, 6)
        number = jax.random.randint(key_number, (), self.min_states, self.num_states + 1)
        starts = jax.random.uniform(key_starts, (self.num_states,)) * (jnp.arange(self.num_states) < NUM_STARTS)
        starts = starts / starts.sum()
        ends, goal = self._draw_ends(key_ends, number)
        rewards, noise, pays = self._draw_rewards(key_rewards, number, ends, goal)
        transitions = self._draw_moves(key_moves, number, ends, pays)
        place = jax.random.permutation(key_names, self.num_states)  # of the state of every name
        return Task(transitions[place][:, :, place], rewards[place], noise[place], ends[place], starts[place])

    def _draw_ends(self, key: PRNGKeyArray, number: Int32[Array, ""]) -> tuple[Bool[Array, " S"], Bool[Array, ""]]:
        """Which states end an episode, pitfalls and the goal, and whether there is a goal."""
        key_rate, key_pitfalls, key_goal = jax.random.split(key, 3)
        rate = jnp.maximum(jax.random.uniform(key_rate, minval=-0.2, maxval=0.4), 0.0)
        place = jnp.arange(self.num_states)
        pitfalls = jax.random.bernoulli(key_pitfalls, rate, (self.num_states,))
        pitfalls &= (place >= NUM_STARTS) & (place < number - 1)
        goal = jax.random.bernoulli(key_goal, 0.3)
        return pitfalls | (goal & (place == number - 1)), goal

    def _draw_moves(
        self, key: PRNGKeyArray, number: Int32[Array, ""], ends: Bool[Array, " S"], pays: Bool[Array, " S"]
    ) -> Float32[Array, "S A S"]:
        """Chances of moves. A state leads to a window around it, which the actions share."""
        key_most, key_back, key_leap, key_weights, key_centres, key_widths = jax.random.split(key, 6)
        key_most_leap, key_most_back = jax.random.split(key_most)
        most_leap = jax.random.randint(key_most_leap, (), 2, jnp.minimum(number // 4, 6) + 1)
        most_back = jax.random.randint(key_most_back, (), 2, jnp.minimum(number // 2, 8) + 1)
        place = jnp.arange(self.num_states)

        back = jax.random.randint(key_back, place.shape, 2, jnp.minimum(most_back, jnp.maximum(place, 2)) + 1)
        first = jnp.where(place > 2, jnp.maximum(place - back, 0), 0)
        leap = jax.random.randint(key_leap, place.shape, 1, most_leap + 1)
        # There is a way on: the window reaches the next state that is no end, if any.
        safe = jnp.where(ends | (place >= number), number, place)
        next_safe = jnp.append(jax.lax.cummin(safe, reverse=True)[1:], number)
        last = jnp.minimum(jnp.maximum(place + leap, next_safe), number - 1)  # in the window

        window = (place >= first[:, None]) & (place <= last[:, None])  # [S, S]
        weights = jax.random.uniform(key_weights, window.shape, minval=0.2)
        weights = weights / jnp.where(window, weights, 0.0).sum(1, keepdims=True)
        # Nobody is to stand where it pays.
        weights = jnp.where((place == place[:, None]) & pays, weights / 10, weights)

        centres = jax.random.uniform(key_centres, (self.num_states, self.actions))
        centres = first[:, None] + centres * (last + 1 - first)[:, None]
        width = jnp.maximum(jax.random.exponential(key_widths, place.shape), 0.5)[:, None, None]
        distance = (centres[:, :, None] - place) / width  # [S, A, S]
        logits = jax.nn.log_softmax(-(distance**2), axis=1) + jnp.log(weights)[:, None]
        moves = jax.nn.softmax(jnp.where(window[:, None], logits, -jnp.inf), axis=-1)
        stay = jnp.eye(self.num_states)[:, None]
        return jnp.where((ends | (place >= number))[:, None, None], stay, moves)

    def _draw_rewards(
        self, key: PRNGKeyArray, number: Int32[Array, ""], ends: Bool[Array, " S"], goal: Bool[Array, ""]
    ) -> tuple[Float32[Array, " S"], Float32[Array, " S"], Bool[Array, " S"]]:
        """Rewards on arrival, their deviations, and where standing still would pay."""
        keys = jax.random.split(key, 7)
        place = jnp.arange(self.num_states)
        offset = (place + 1) / number
        chance = jax.random.uniform(keys[0], place.shape)
        amount = jax.random.uniform(keys[1], place.shape)

        inside = (place >= NUM_STARTS) & (place < number - 1) & ~ends
        pays = inside & (place > number // 2) & (chance < offset - 0.5) & ~goal
        costs = inside & ~pays & (jax.random.uniform(keys[2], place.shape) < 0.15)
        rewards = jnp.where(pays, 0.4 + amount * (offset - 0.4), 0.0)
        rewards = jnp.where(costs, -(0.2 + 0.3 * amount), rewards)
        noise = jnp.maximum(jax.random.uniform(keys[3], minval=-0.3, maxval=0.3), 0.0) * jnp.abs(rewards)

        kind, size = jax.random.uniform(keys[4]), jax.random.exponential(keys[5], (3,))
        pitfall = -size[0] * jnp.where(kind < 0.2, 0.0, jnp.where(kind < 0.2 + 0.8 * 0.6, 0.2, 2.0))
        rewards = jnp.where(ends, pitfall, rewards)
        final = 4 + 6 * amount[0]
        at_the_end = final * jnp.where(goal, jnp.maximum(0.2 * size[1], 0.05), 1.0)
        last = place == number - 1
        rewards = jnp.where(last, at_the_end, rewards)
        a_step = jnp.where(jax.random.bernoulli(keys[6]), 0.02 * size[2] * jnp.where(goal, -1.0, 1.0), 0.0)
        return rewards + a_step, noise, pays | (last & ~goal)

    def model(self, task: Task) -> Model:
        """The process of a task."""
        rewards = task.transitions @ task.rewards
        return Model(task.transitions, rewards, 1.0 - task.ends, task.starts)

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Int32[Array, ""], State]:
        """Go to one of the starts."""
        place = draw(key, task.starts)
        return place, State(place, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Act."""
        key_place, key_reward = jax.random.split(key)
        place = draw(key_place, task.transitions[state.place, action])
        reward = task.rewards[place] + task.noise[place] * jax.random.normal(key_reward)
        return place, State(place, state.time + 1), reward, task.ends[place], {}


make_any_mdp = in_trials(AnyMDP)
