"""Rulesets for XLand, drawn on the spot: a goal, and the rules by which the objects that it needs come about.

The package's benchmarks are files of millions of rulesets to download; these are drawn by key
inside jit, in its encoding, after the same idea (production rules that lead from the objects laid
out to those of the goal, and objects that lead nowhere). What the benchmarks also have, rules and
goals about directions and rules that lead nowhere, is left out. Every ruleset drawn can be solved.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, Integer, PRNGKeyArray, UInt8
from xminigrid.core.constants import NUM_COLORS, NUM_TILES, Colors, Tiles
from xminigrid.core.goals import MAX_GOAL_ENCODING_LEN, NUM_GOALS
from xminigrid.core.rules import MAX_RULE_ENCODING_LEN, NUM_RULES
from xminigrid.types import RuleSet

from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.task import DEFAULT_SPLIT, split_tasks
from rlformers.errors import UserError

KINDS = (Tiles.BALL, Tiles.SQUARE, Tiles.PYRAMID, Tiles.KEY, Tiles.HEX, Tiles.STAR)
# All but black and empty. MiniGrid's grey is that of walls, but no wall has the shape of an object.
COLORS = (
    *(Colors.RED, Colors.GREEN, Colors.BLUE, Colors.PURPLE, Colors.YELLOW),
    *(Colors.GREY, Colors.ORANGE, Colors.WHITE, Colors.BROWN, Colors.PINK),
)
OBJECTS = np.array([(kind, color) for kind in KINDS for color in COLORS], np.uint8)

# The package's numbers, of goals: hold an object, be next to it, have it next to another one; and of the rules under
# which an object turns into another: when it is picked up, when the agent comes near, when it is put down next to a
# third, which disappears.
GOALS = np.array([1, 3, 4])
RULES = np.array([1, 2, 3])
NEEDS_TWO_GOAL, NEEDS_TWO_RULE = 4, 3
# Goals of these numbers have a position in these places; everything else after the number of a goal or rule is tiles.
POSITIONS = {5: slice(3, 5), 6: slice(1, 3)}


class Rulesets:
    """A distribution of rulesets, all of the same shapes.

    The goal is to hold object 0, to be next to it, or to put it next to its partner. There are 0 to
    `max_rules` rules. The first makes object 0 out of object 1 (and its partner), the next one
    makes object 1 out of object 2, and so on. The last object, the partners and the distractors are
    laid out. All objects differ in kind or colour.

    Args:
        max_rules: Most rules of a ruleset.
        num_distractors: Objects laid out that lead nowhere.
        split: "heldout": rulesets whose goals are about a quarter of the objects; "train": those
            whose goals are about the others; or "all". Rules are about all objects in all of them.

    Raises:
        UserError: A number below 0, more objects than there are, or an unknown split.
    """

    def __init__(self, max_rules: int = 1, num_distractors: int = 2, split: str = DEFAULT_SPLIT):
        need_at_least("env_kwargs.max_rules", max_rules, 0)
        need_at_least("env_kwargs.num_distractors", num_distractors, 0)
        self.max_rules = max_rules
        self.num_distractors = num_distractors
        self.goal_objects = split_tasks(len(OBJECTS), split)
        self.num_objects = 2 * (max_rules + 1) + num_distractors
        self.num_laid_out = max_rules + 2 + num_distractors  # at most; the package wants room for the padding, too
        if self.num_objects > len(OBJECTS):
            raise UserError(
                f"env_kwargs.max_rules: {max_rules} rules and {num_distractors} distractors need {self.num_objects} "
                f"objects, there are {len(OBJECTS)}"
            )

    def draw(self, key: PRNGKeyArray) -> RuleSet:
        """Draw a ruleset: goal [5], rules [max_rules, 7] and init_tiles [max_rules + 2 + D, 2], padded with zeros."""
        key_objects, key_goal, key_rules, key_number = jax.random.split(key, 4)
        number = jax.random.randint(key_number, (), 0, self.max_rules + 1)
        chain, partners, distractors = self._draw_objects(key_objects)

        kind = jax.random.choice(key_goal, jnp.asarray(GOALS))
        two = kind == NEEDS_TWO_GOAL
        goal = jnp.concatenate([kind[None], chain[0], jnp.where(two, partners[0], 0)])

        kinds = jax.random.choice(key_rules, jnp.asarray(RULES), (self.max_rules,))
        used = jnp.arange(self.max_rules) < number
        needs_partner = used & (kinds == NEEDS_TWO_RULE)
        rules = jax.vmap(_encode_rule)(kinds, chain[1:], partners[1:], chain[:-1])
        rules = jnp.where(used[:, None], rules, 0)

        laid_out = jnp.concatenate([two[None], needs_partner])
        partners = jnp.where(laid_out[:, None], partners, 0)
        tiles = jnp.concatenate([chain[number][None], partners, distractors])
        return RuleSet(goal.astype(jnp.uint8), self._at_least_one(rules.astype(jnp.uint8)), tiles.astype(jnp.uint8))

    def _draw_objects(self, key: PRNGKeyArray) -> tuple[Int32[Array, "n 2"], Int32[Array, "n 2"], Int32[Array, "D 2"]]:
        """Different objects for the chain, their partners and the distractors; the first two are goal's."""
        order = jax.random.uniform(key, (len(OBJECTS),))
        allowed = jnp.zeros(len(OBJECTS), bool).at[self.goal_objects].set(True)
        of_goal = jnp.argsort(jnp.where(allowed, order, 2.0))[:2]
        others = jnp.argsort(order.at[of_goal].set(2.0))[: self.num_objects - 2]
        objects = jnp.asarray(OBJECTS, jnp.int32)
        first, partner = objects[of_goal]
        chain, partners, distractors = jnp.split(objects[others], [self.max_rules, 2 * self.max_rules])
        return jnp.concatenate([first[None], chain]), jnp.concatenate([partner[None], partners]), distractors

    def _at_least_one(self, rules: UInt8[Array, "n 7"]) -> UInt8[Array, "m 7"]:
        """The package scans over the rules: without any, it gets an empty one, as its own empty ruleset has."""
        return rules if self.max_rules else jnp.zeros((1, MAX_RULE_ENCODING_LEN), jnp.uint8)


def _encode_rule(
    kind: Int32[Array, ""], tile: Int32[Array, "2"], partner: Int32[Array, "2"], product: Int32[Array, "2"]
) -> Int32[Array, "7"]:
    """[kind, tile, product, 0, 0], or [kind, tile, partner, product] for a kind that needs two."""
    one = jnp.concatenate([tile, product, jnp.zeros(2, jnp.int32)])
    two = jnp.concatenate([tile, partner, product])
    return jnp.concatenate([kind[None], jnp.where(kind == NEEDS_TWO_RULE, two, one)])


def ruleset_of(given: Any) -> RuleSet:
    """A ruleset out of the lists of a config.

    Raises:
        UserError: Something is missing or too much, has the wrong shape, or names what the package
            does not have.
    """
    shapes = {"goal": (MAX_GOAL_ENCODING_LEN,), "rules": (None, MAX_RULE_ENCODING_LEN), "init_tiles": (None, 2)}
    most = {"goal": NUM_GOALS, "rules": NUM_RULES, "init_tiles": NUM_TILES}
    if not isinstance(given, Mapping) or set(given) != set(shapes):
        raise UserError(f"env_kwargs.ruleset: need a mapping with {', '.join(shapes)}, got {given!r}")
    parts = {}
    for name, shape in shapes.items():
        try:
            array = np.array(given[name])
        except ValueError:
            array = np.zeros(())
        fits = array.ndim == len(shape) and array.shape[-1] == shape[-1] and array.size and array.dtype.kind in "iu"
        first = array.reshape(-1, shape[-1])[:, 0] if fits else np.zeros(1)
        if not fits or (array < 0).any() or (array > 255).any() or (first >= most[name]).any():
            size = " x ".join("n" if part is None else str(part) for part in shape)
            raise UserError(
                f"env_kwargs.ruleset: {name} needs {size} integers whose first is below {most[name]}, "
                f"got {given[name]!r}"
            )
        if (_tiles(name, array) >= (NUM_TILES, NUM_COLORS)).any():
            raise UserError(
                f"env_kwargs.ruleset: {name} needs tiles below {NUM_TILES} of colours below {NUM_COLORS}, "
                f"got {given[name]!r}"
            )
        parts[name] = jnp.asarray(array, jnp.uint8)
    return RuleSet(**parts)


def _tiles(name: str, array: Integer[np.ndarray, "..."]) -> Integer[np.ndarray, "n 2"]:
    """The pairs of tile and colour [n, 2] in a part of a ruleset."""
    if name == "init_tiles":
        return array
    array = array.copy()
    if name == "goal":
        array[POSITIONS.get(int(array[0]), slice(0))] = 0
    return array[..., 1:].reshape(-1, 2)
