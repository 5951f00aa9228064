"""CountRecall: how often was this card shown? (Morad et al. 2023; popgym 1.0.7 `count_recall.py`)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.deck import CardGame
from rlformers.envs.spaces import Discrete, MultiDiscrete


class State(NamedTuple):
    """State of the game."""

    values: Int32[Array, " kinds"]  # cards left of each kind in the deck that is shown
    queries: Int32[Array, " kinds"]  # cards left of each kind in the deck of queries
    query: Int32[Array, ""]  # kind of the card asked for


class CountRecall(CardGame):
    """At every step a card and a query are dealt; the agent says how often the queried kind has been shown so far.

    Observations are (card, query), kinds by `deck_type`, each from its own shuffled deck of N =
    52·`num_decks` cards. The right count includes the card of the same observation. The reward is
    ±1/(N - 1), so returns lie in [-1, 1]. The episode terminates with the step that deals the last
    card, whose query is never asked. popgym's Easy, Medium, Hard are (num_decks, deck_type) = (1,
    colors), (2, suits), (4, ranks).

    Actions are counts from 0 to N over the number of kinds, as since popgym 1.0.7. Before, the
    largest count could not be answered, and the optima were 0.962, 0.944, 0.891 instead of 1.
    popgym's `error_clamp` has no effect there and does not exist here.

    Raises:
        ValueError: `num_decks` below 1, or an unknown `deck_type`.
    """

    def __init__(self, num_decks: int = 1, deck_type: str = "colors"):
        super().__init__(num_decks, deck_type)

    def deal_both(
        self, key: PRNGKeyArray, values: Int32[Array, " kinds"], queries: Int32[Array, " kinds"]
    ) -> tuple[Int32[Array, "2"], State]:
        """Deal a card and a query."""
        key_value, key_query = jax.random.split(key)
        value, values = self.deal(key_value, values)
        query, queries = self.deal(key_query, queries)
        return jnp.stack([value, query]), State(values, queries, query)

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, "2"], State]:
        """Shuffle, and deal the first card and query."""
        return self.deal_both(key, self.full_deck(), self.full_deck())

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, "2"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the count, then deal again."""
        scale = jnp.float32(1 / (self.num_cards - 1))
        count = (self.full_deck() - state.values)[state.query]
        reward = jnp.where(action == count, scale, -scale)
        obs, state = self.deal_both(key, state.values, state.queries)
        return obs, state, reward, ~jnp.any(state.values), {}

    def action_space(self, params: NoParams | None = None) -> Discrete:
        """A count."""
        return Discrete(self.num_cards // self.num_kinds + 1)

    def observation_space(self, params: NoParams) -> MultiDiscrete:
        """The card and the query."""
        return MultiDiscrete((self.num_kinds, self.num_kinds))
