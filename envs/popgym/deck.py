"""Shuffled decks of cards, dealt one card at a time, and what the card games share.

A deck is the number of cards left of each kind, and the next card is one of the cards left, each as likely as any
other. The sequence of kinds has exactly the distribution of a deck shuffled in advance, without the sort of up to 832
random numbers that shuffling costs at every step of an environment that resets itself.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int32, PRNGKeyArray

from rlformers.envs.environment import Environment
from rlformers.envs.spaces import Discrete

NUM_SUITS = 4
CARDS_PER_SUIT = 13


@struct.dataclass
class Params:
    """The games of suits have no numeric parameters."""


class SuitGame(Environment):
    """A game in which the suits of `num_decks` shuffled decks of 52 cards are shown one by one.

    Observations and actions are suits, Discrete(4). The last card of the deck ends the game: by termination, as in
    popgym, never by truncation.

    Raises:
        ValueError: `num_decks` below 1.
    """

    never_truncates = True

    def __init__(self, num_decks: int):
        if num_decks < 1:
            raise ValueError(f"env_kwargs.num_decks: need at least 1, got {num_decks}")
        self.num_cards = num_decks * NUM_SUITS * CARDS_PER_SUIT

    def draw(self, key: PRNGKeyArray, remaining: Int32[Array, "4"]) -> Int32[Array, ""]:
        """The suit of the next card, given how many cards of each suit remain. The only chance event of the games."""
        position = jax.random.randint(key, (), 0, jnp.sum(remaining, dtype=jnp.int32), jnp.int32)
        return jnp.sum(position >= jnp.cumsum(remaining), dtype=jnp.int32)

    def deal(self, key: PRNGKeyArray, remaining: Int32[Array, "4"]) -> tuple[Int32[Array, ""], Int32[Array, "4"]]:
        """Take the next card off the deck: its suit, and what then remains of each suit."""
        suit = self.draw(key, remaining)
        return suit, remaining - (jnp.arange(NUM_SUITS) == suit).astype(jnp.int32)

    def full_deck(self) -> Int32[Array, "4"]:
        """Number of cards of each suit before the first is dealt."""
        return jnp.full((NUM_SUITS,), self.num_cards // NUM_SUITS, jnp.int32)

    def is_truncated(self, state: Any, params: Params) -> Bool[Array, ""]:
        """Never."""
        return jnp.zeros((), jnp.bool_)

    @property
    def default_params(self) -> Params:
        """No parameters."""
        return Params()

    @property
    def num_actions(self) -> int:
        """The four suits."""
        return NUM_SUITS

    def action_space(self, params: Params | None = None) -> Discrete:
        """The suit that the agent names."""
        return Discrete(NUM_SUITS)

    def observation_space(self, params: Params) -> Discrete:
        """The suit of the card just dealt."""
        return Discrete(NUM_SUITS)
