"""AssociativeRecall: multi-query associative recall, MQAR (Arora et al. 2023, Zoology, section 4)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import NoParams, need_at_least
from rlformers.envs.memory.probe import Probe, draw_seed, mark, symbol
from rlformers.envs.spaces import MultiDiscrete
from rlformers.errors import UserError


class State(NamedTuple):
    """State of the task."""

    seed: UInt32[Array, "2"]  # of the values
    uses: Int32[Array, " num_keys"]  # how often each key has been shown: once in each half, if it is one of the K
    key_token: Int32[Array, ""]  # the last key shown
    time: Int32[Array, ""]  # steps made


class AssociativeRecall(Probe):
    """K keys, each followed by its value; then every key again, in another order, and the agent names its value.

    Keys are distinct, their order and that of the questions are random; values are independent and
    uniform. An observation is one token, MultiDiscrete(num_keys + num_values, 2): a key or num_keys
    + a value, and whether it is a question. Actions are Discrete(num_values). Episodes have 3 K
    steps; a right answer earns 1/K: the optimal return is 1, without memory 1/num_values. Against
    the paper: values may repeat (so that what was asked already tells nothing about what is left),
    questions follow each other without noise between them and carry a mark.

    Args:
        num_pairs: K.
        num_keys: Size of the vocabulary of keys.
        num_values: Size of the vocabulary of values.

    Raises:
        UserError: K outside 1 ... num_keys, or num_values below 2.
    """

    def __init__(self, num_pairs: int = 8, num_keys: int = 16, num_values: int = 8):
        super().__init__(num_answers=num_values)
        need_at_least("env_kwargs.num_values", num_values, 2)
        if not 1 <= num_pairs <= num_keys:
            raise UserError(f"env_kwargs.num_pairs: need 1 <= num_pairs <= num_keys = {num_keys}, got {num_pairs}")
        self.num_pairs = num_pairs
        self.num_keys = num_keys

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, "2"], State]:
        """Draw the values and show the first key."""
        key_values, key_token = jax.random.split(key)
        zero = jnp.zeros((), jnp.int32)
        uses = jnp.zeros((self.num_keys,), jnp.int32)
        state = self._next_key(key_token, State(draw_seed(key_values), uses, zero, zero))
        return self._observe(state), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer and show the next token."""
        reward = mark(action == self._value(state), self._asks(state.time), self.num_pairs)
        state = state._replace(time=state.time + 1)
        with_key = self._next_key(key, state)
        is_key = self._asks(state.time) | (state.time % 2 == 0)
        state = jax.tree.map(lambda new, old: jnp.where(is_key, new, old), with_key, state)
        return self._observe(state), state, reward, state.time >= 3 * self.num_pairs, {}

    def _asks(self, time: Int32[Array, ""]) -> Bool[Array, ""]:
        return time >= 2 * self.num_pairs

    def _value(self, state: State) -> Int32[Array, ""]:
        return symbol(state.seed, state.key_token, self.num_answers)

    def _next_key(self, key: PRNGKeyArray, state: State) -> State:
        """Take any of the keys that are due, each as likely as any other."""
        due = state.uses == self._asks(state.time).astype(jnp.int32)
        position = jax.random.randint(key, (), 0, jnp.maximum(jnp.sum(due), 1))
        token = jnp.argmax(jnp.cumsum(due) > position).astype(jnp.int32)
        uses = state.uses + (jnp.arange(self.num_keys) == token)
        return state._replace(uses=uses, key_token=token)

    def _observe(self, state: State) -> Int32[Array, "2"]:
        question = self._asks(state.time)
        is_key = question | (state.time % 2 == 0)
        token = jnp.where(is_key, state.key_token, self.num_keys + self._value(state))
        return jnp.stack([token, question]).astype(jnp.int32)

    def observation_space(self, params: NoParams) -> MultiDiscrete:
        """Token and mark of a question."""
        return MultiDiscrete((self.num_keys + self.num_answers, 2))
