"""RepeatFirst: name, at every step, the suit of the first card (Morad et al. 2023; popgym 1.0.7 `repeat_first.py`)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.deck import CardGame


class State(NamedTuple):
    """State of the game."""

    remaining: Int32[Array, "4"]  # cards left of each suit
    first: Int32[Array, ""]  # suit of the first card


class RepeatFirst(CardGame):
    """The agent is shown the N cards of `num_decks` decks and names the suit of the first at each of the N - 1 steps.

    Reward ±1/(N - 1), so that returns lie in [-1, 1]; the episode terminates with the step that
    deals the last card. popgym's Easy, Medium, Hard are 1, 8, 16 decks. Nothing marks the first
    card but the start flag of the wrappers.
    """

    def __init__(self, num_decks: int = 1):
        super().__init__(num_decks)

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, ""], State]:
        """Shuffle and show the first card."""
        suit, remaining = self.deal(key, self.full_deck())
        return suit, State(remaining, suit)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then show the next card."""
        scale = jnp.float32(1 / (self.num_cards - 1))
        reward = jnp.where(action == state.first, scale, -scale)
        suit, remaining = self.deal(key, state.remaining)
        return suit, State(remaining, state.first), reward, ~jnp.any(remaining), {}
