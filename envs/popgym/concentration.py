"""Concentration, or Memory: turn pairs of equal cards face up (Morad et al. 2023; popgym 1.0.7 `concentration.py`)."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import PlainEnvironment, TimedParams, checked
from rlformers.envs.popgym.deck import DECK_SIZE, NUM_KINDS, check_decks, draw, take
from rlformers.envs.spaces import Discrete, MultiDiscrete

UNSEEN = -1


class State(NamedTuple):
    """State of the game.

    The card at a place is drawn when it is first turned, from those not seen yet. The layout then
    has the distribution of a shuffled deck, and nothing has to be shuffled.
    """

    table: Int32[Array, " N"]  # kind of the card at each place, UNSEEN before it is first turned
    remaining: Int32[Array, " kinds"]  # unseen cards of each kind
    matched: Bool[Array, " N"]  # places whose cards stay face up
    first: Int32[Array, ""]  # place of the first card of a pair, if it is turned, else -1
    time: Int32[Array, ""]  # steps made


class Concentration(PlainEnvironment):
    """N = 52·`num_decks` cards lie face down; each step turns one, Discrete(N), and two steps are a try.

    The observation has the kind of each card that is face up and, where a card is face down, the
    number of kinds: MultiDiscrete, int32 [N]. It shows the card just turned and the first card of
    the try, equal or not. Unequal cards are face down again in the next observation. Two equal
    cards (colours or ranks, by `deck_type`) at different places stay up and earn 2/N. Else the
    second card of a try costs 2/T. Turning a card that is already up ends the try and costs 1/T in
    its first step, 2/T in its second; the first card of the try then turns down again. The last
    pair terminates the episode, and step T = ceil(2N - N/(2N - 1)) truncates it; one step may do
    both. popgym's Easy, Medium, Hard are (num_decks, deck_type) = (1, colors), (2, colors), (1,
    ranks).

    A perfect memory that turns an unknown card when it knows no pair earns 0.816, 0.815, 0.698.
    Which card was turned is seen in the observation, unless it was face up.

    Raises:
        ValueError: `num_decks` below 1, or a `deck_type` that is neither colors nor ranks (13 cards
            of a suit make no pairs).
    """

    def __init__(self, num_decks: int = 1, deck_type: str = "ranks"):
        check_decks(num_decks, deck_type, ("colors", "ranks"))
        self.num_cards = num_decks * DECK_SIZE
        self.num_kinds = NUM_KINDS[deck_type]
        most_steps = math.ceil(2 * self.num_cards - self.num_cards / (2 * self.num_cards - 1))
        self.default_params = checked(TimedParams(max_steps_in_episode=most_steps))

    def reset_env(self, key: PRNGKeyArray, params: TimedParams) -> tuple[Int32[Array, " N"], State]:
        """All cards face down."""
        state = State(
            jnp.full((self.num_cards,), UNSEEN, jnp.int32),
            jnp.full((self.num_kinds,), self.num_cards // self.num_kinds, jnp.int32),
            jnp.zeros((self.num_cards,), jnp.bool_),
            jnp.int32(-1),
            jnp.int32(0),
        )
        return jnp.full((self.num_cards,), self.num_kinds, jnp.int32), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: TimedParams
    ) -> tuple[Int32[Array, " N"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Turn a card."""
        places = jnp.arange(self.num_cards)
        here, before = places == action, places == state.first
        seen = state.table[action]
        kind = jnp.where(seen == UNSEEN, draw(key, state.remaining), seen)
        remaining = jnp.where(seen == UNSEEN, take(state.remaining, kind), state.remaining)
        table = jnp.where(here, kind, state.table)

        second = state.first >= 0
        wasted = state.matched[action]
        match = second & ~wasted & (action != state.first) & (kind == state.table[state.first])
        cost = (1 + second) / params.max_steps_in_episode
        reward = jnp.where(match, 2 / self.num_cards, jnp.where(second | wasted, -cost, 0))
        obs = jnp.where(state.matched | here | before, table, self.num_kinds)
        matched = state.matched | (match & (here | before))
        first = jnp.where(second | wasted, -1, action).astype(jnp.int32)
        state = State(table, remaining, matched, first, state.time + 1)
        return obs, state, reward.astype(jnp.float32), jnp.all(matched), {}

    def action_space(self, params: TimedParams | None = None) -> Discrete:
        """The place of the card to turn."""
        return Discrete(self.num_cards)

    def observation_space(self, params: TimedParams) -> MultiDiscrete:
        """What lies at each place: a kind, or a card face down."""
        return MultiDiscrete([self.num_kinds + 1] * self.num_cards)
