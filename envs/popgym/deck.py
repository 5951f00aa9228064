"""Shuffled decks of cards, dealt one card at a time, and what the card games share.

A deck is the number of cards left of each kind. The next card is any of the cards left, all equally
likely. The sequence of kinds has exactly the distribution of a deck shuffled in advance, but costs
no sort of up to 832 random numbers in every step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams, PlainEnvironment
from rlformers.envs.popgym.draw import draw_index
from rlformers.envs.spaces import Discrete, Space
from rlformers.errors import UserError

DECK_SIZE = 52
NUM_KINDS = {"colors": 2, "suits": 4, "ranks": 13}  # by what tells cards apart


def check_decks(num_decks: int, deck_type: str, allowed: tuple[str, ...] = tuple(NUM_KINDS)) -> None:
    """Check the arguments of games of cards.

    Raises:
        UserError: `num_decks` below 1, or a `deck_type` that is not allowed.
    """
    if num_decks < 1:
        raise UserError(f"env_kwargs.num_decks: need at least 1, got {num_decks}")
    if deck_type not in allowed:
        raise UserError(f"env_kwargs.deck_type: need one of {', '.join(allowed)}, got {deck_type!r}")


def draw(key: PRNGKeyArray, remaining: Int32[Array, " kinds"]) -> Int32[Array, ""]:
    """The kind of the next card, given how many cards of each kind remain."""
    return draw_index(jax.random.bits(key, (), jnp.uint32), remaining)


def take(remaining: Int32[Array, " kinds"], kind: Int32[Array, ""]) -> Int32[Array, " kinds"]:
    """What remains of each kind without one card of this kind."""
    return remaining - (jnp.arange(len(remaining)) == kind).astype(jnp.int32)


class CardGame(PlainEnvironment):
    """A game in which the cards of `num_decks` shuffled decks of 52 are shown one by one.

    Only the kind of a card counts, an integer: its colour (of 2), suit (of 4) or rank (of 13), by
    `deck_type`. Observations and actions are kinds, unless a game says otherwise. The end of the
    game is a termination, as in popgym, never a truncation.

    Raises:
        UserError: `num_decks` below 1, or an unknown `deck_type`.
    """

    never_truncates = True

    def __init__(self, num_decks: int, deck_type: str = "suits"):
        check_decks(num_decks, deck_type)
        self.num_cards = num_decks * DECK_SIZE
        self.num_kinds = NUM_KINDS[deck_type]

    def draw(self, key: PRNGKeyArray, remaining: Int32[Array, " kinds"]) -> Int32[Array, ""]:
        """The kind of the next card of a deck. The only chance event of the games."""
        return draw(key, remaining)

    def deal(
        self, key: PRNGKeyArray, remaining: Int32[Array, " kinds"]
    ) -> tuple[Int32[Array, ""], Int32[Array, " kinds"]]:
        """Take the next card off a deck: its kind, and what then remains of each kind."""
        kind = self.draw(key, remaining)
        return kind, take(remaining, kind)

    def full_deck(self) -> Int32[Array, " kinds"]:
        """Number of cards of each kind before the first is dealt."""
        return jnp.full((self.num_kinds,), self.num_cards // self.num_kinds, jnp.int32)

    def action_space(self, params: NoParams | None = None) -> Discrete:
        """The kind of card that the agent names."""
        return Discrete(self.num_kinds)

    def observation_space(self, params: NoParams) -> Space:
        """The kind of the card just dealt."""
        return Discrete(self.num_kinds)
