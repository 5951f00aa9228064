"""RepeatPrevious: name the suit of an earlier card (Morad et al. 2023; popgym 1.0.7 `repeat_previous.py`)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.deck import CardGame
from rlformers.errors import UserError


class State(NamedTuple):
    """State of the game."""

    remaining: Int32[Array, "4"]  # cards left of each suit
    recent: Int32[Array, " k"]  # suits of the last k cards, newest last; zeros where fewer were dealt


class RepeatPrevious(CardGame):
    """The agent is shown the N cards of `num_decks` decks and names the k-th last suit, the shown card counting as one.

    The lag is thus k - 1: with the observations o_0, o_1, ..., the answer after o_t is o_(t-k+1).
    So popgym's code has it, though its text speaks of k steps ago; ports to JAX that lag by k are
    harder. Reward ±1/(N - k), 0 while fewer than k cards have been shown, so that returns lie in
    [-1, 1]; the episode terminates with the step that deals the last card. popgym's Easy, Medium,
    Hard are (num_decks, k) = (1, 4), (2, 32), (3, 64).

    Raises:
        UserError: `num_decks` below 1, or `k` outside 1 ... N - 1.
    """

    def __init__(self, num_decks: int = 1, k: int = 4):
        super().__init__(num_decks)
        if not 1 <= k < self.num_cards:
            raise UserError(f"env_kwargs.k: need 1 <= k < {self.num_cards} (the number of cards), got {k}")
        self.k = k

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, ""], State]:
        """Shuffle and show the first card."""
        suit, remaining = self.deal(key, self.full_deck())
        return suit, State(remaining, jnp.zeros((self.k,), jnp.int32).at[-1].set(suit))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then show the next card."""
        scale = jnp.float32(1 / (self.num_cards - self.k))
        num_shown = self.num_cards - jnp.sum(state.remaining, dtype=jnp.int32)
        reward = jnp.where(action == state.recent[0], scale, -scale)
        reward = jnp.where(num_shown >= self.k, reward, jnp.float32(0))
        suit, remaining = self.deal(key, state.remaining)
        recent = jnp.append(state.recent[1:], suit)
        return suit, State(remaining, recent), reward, ~jnp.any(remaining), {}
