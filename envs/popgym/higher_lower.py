"""HigherLower: is the next card higher or lower? (Morad et al. 2023; popgym 1.0.7 `higher_lower.py`)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.deck import CardGame
from rlformers.envs.spaces import Discrete

HIGHER, LOWER = 0, 1


class State(NamedTuple):
    """State of the game."""

    remaining: Int32[Array, "13"]  # cards left of each rank
    rank: Int32[Array, ""]  # of the last card


class HigherLower(CardGame):
    """The agent is shown the N cards of `num_decks` decks and bets whether the next rank is higher (0) or lower (1).

    The reward is ±1/N, or 0 for an equal rank. The episode terminates with the step that deals the
    last card. popgym's Easy, Medium, Hard are 1, 2, 3 decks. Counting cards helps little: a bet on
    the larger side of the ranks, without memory, earns 0.494, 0.498, 0.497 against 0.527, 0.519,
    0.509 for card counting.
    """

    def __init__(self, num_decks: int = 1):
        super().__init__(num_decks, "ranks")

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, ""], State]:
        """Shuffle and show the first card."""
        rank, remaining = self.deal(key, self.full_deck())
        return rank, State(remaining, rank)

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Show the next card and settle the bet."""
        rank, remaining = self.deal(key, state.remaining)
        scale = jnp.float32(1 / self.num_cards)
        won = (rank > state.rank) == (action == HIGHER)
        reward = jnp.where(won, scale, -scale)
        reward = jnp.where(rank == state.rank, jnp.float32(0), reward)
        return rank, State(remaining, rank), reward, ~jnp.any(remaining), {}

    def action_space(self, params: NoParams | None = None) -> Discrete:
        """Higher (0) or lower (1)."""
        return Discrete(2)
