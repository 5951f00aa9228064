"""Symbolic Alchemy: discover how potions change stones (Wang et al. 2021; rules of dm_alchemy, Apache-2.0).

Stones are corners of a cube, coordinates ±1, worth the sum of their coordinates, (1, 1, 1) another
12: -3, -1, 1, 15. A potion moves a stone along one axis in one direction, if the edge is there.
What the agent sees is another cube:

    perceived stone = R⁻¹ (m ⊙ stone)        colour of a potion = its axis permuted, its direction flipped or not

Edges, m, R and the map of potions make up a chemistry, which is the task: 109 x 8 x 4 x 48 =
167,424 of them.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.task import DEFAULT_SPLIT, FixedLengthEnvironment, split_tasks
from rlformers.envs.spaces import Box, Discrete
from rlformers.envs.wrappers.trial import in_trials

NUM_STONES, NUM_POTIONS = 3, 12
BONUS = 12
CORNERS = np.array([[2 * (i >> axis & 1) - 1 for axis in range(3)] for i in range(8)], np.int32)  # [8, 3]
AXIS_ORDERS = np.array(list(itertools.permutations(range(3))), np.int32)  # [6, 3]
# R⁻¹ of: no rotation, and 45 degrees about z, y, x, scaled so that coordinates are -1, 0, 1.
UNROTATIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]],
        [[0.5, 0, 0.5], [0, 1, 0], [-0.5, 0, 0.5]],
        [[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]],
    ],
    np.float32,
)
# What stands for an item that is used up: coordinates, value, "used"; colour, "used".
NO_STONE = np.array([2, 2, 2, 2, 1], np.float32)
NO_POTION = np.array([1, 1], np.float32)


class Task(NamedTuple):
    """A chemistry."""

    edges: Bool[Array, "3 8"]  # whether a corner has an edge along an axis
    mirror: Int32[Array, "3"]  # m, ±1
    unrotation: Float32[Array, "3 3"]  # R⁻¹
    colours: Int32[Array, "6"]  # perceived colour of a potion of 2 axis + (direction + 1) / 2


class State(NamedTuple):
    """State of an episode."""

    stones: Int32[Array, "3 3"]  # coordinates, ±1
    stones_left: Bool[Array, "3"]
    potions: Int32[Array, "12"]  # 2 axis + (direction + 1) / 2
    potions_left: Bool[Array, "12"]
    time: Int32[Array, ""]  # steps made


class Alchemy(FixedLengthEnvironment):
    """Three random stones and twelve random potions per episode, 20 steps to improve and to cash them in.

    Action 0 does nothing. Action 1 + 13 s puts stone s into the cauldron, which pays its worth and
    uses it up. Action 2 + 13 s + p dips stone s into potion p, which uses up the potion, even if
    the stone does not move. A used stone or potion has no effect.

    Observes 3 stones and 12 potions, float32 [39]. A stone shows its perceived coordinates, the sum
    of its coordinates / 3, and 0; a used one shows (2, 2, 2, 2, 1). A potion shows its perceived
    colour / 3 - 1, and 0; a used one shows (1, 1). Episodes are truncated after `episode_length`
    steps. dm_alchemy calls our episodes trials, ten to an episode, and this level
    "perceptual_mapping_randomized_with_rotation_and_random_bottleneck".

    Args:
        episode_length: Steps of an episode.
        rotation: Let three quarters of the chemistries rotate what is perceived.
        bottleneck: Let three quarters of the chemistries lack edges.
        split: "train" or "heldout" chemistries, with three quarters and one quarter of the
            perceptual maps (the combinations of m, R and map of potions) and any edges, or "all".

    Raises:
        UserError: A length below 1, or an unknown split.
    """

    def __init__(
        self, episode_length: int = 20, rotation: bool = True, bottleneck: bool = True, split: str = DEFAULT_SPLIT
    ) -> None:
        super().__init__(episode_length)
        graphs, num_constraints = possible_graphs()
        counts = np.bincount(num_constraints)
        self.graphs = graphs if bottleneck else graphs[num_constraints == 0]
        # Every number of constraints is as probable as any other, and within it every graph.
        self.log_prior = -np.log(counts[num_constraints]) if bottleneck else np.zeros(1)
        self.num_rotations = len(UNROTATIONS) if rotation else 1
        self.maps = split_tasks(self.num_rotations * 8 * 6 * 8, split)

    def sample_task(self, key: PRNGKeyArray, params: Any) -> Task:
        """Draw a chemistry."""
        key_graph, key_map = jax.random.split(key)
        graph = jax.random.categorical(key_graph, jnp.asarray(self.log_prior))
        index = jax.random.choice(key_map, jnp.asarray(self.maps))
        index, mirror = index // 8, jnp.asarray(CORNERS)[index % 8]
        index, flips = index // 8, jnp.asarray(CORNERS)[index % 8]
        order, rotation = jnp.asarray(AXIS_ORDERS)[index % 6], index // 6
        axis, direction = jnp.divmod(jnp.arange(6), 2)
        colours = 2 * jnp.argsort(order)[axis] + (direction == (flips[axis] + 1) // 2)
        return Task(jnp.asarray(self.graphs)[graph], mirror, jnp.asarray(UNROTATIONS)[rotation], colours)

    def reset_env(self, key: PRNGKeyArray, task: Task) -> tuple[Float32[Array, "39"], State]:
        """Draw stones and potions."""
        key_stones, key_potions = jax.random.split(key)
        state = State(
            stones=jnp.asarray(CORNERS)[jax.random.randint(key_stones, (NUM_STONES,), 0, 8)],
            stones_left=jnp.ones(NUM_STONES, jnp.bool_),
            potions=jax.random.randint(key_potions, (NUM_POTIONS,), 0, 6),
            potions_left=jnp.ones(NUM_POTIONS, jnp.bool_),
            time=jnp.zeros((), jnp.int32),
        )
        return self._see(state, task), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, task: Task
    ) -> tuple[Float32[Array, "39"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Do nothing, cash a stone in, or dip it into a potion."""
        chosen, slot = jnp.divmod(jnp.maximum(action - 1, 0), NUM_POTIONS + 1)
        potion = jnp.maximum(slot - 1, 0)
        acts = (action > 0) & state.stones_left[chosen]
        cashes = acts & (slot == 0)
        dips = acts & (slot > 0) & state.potions_left[potion]

        stone = state.stones[chosen]
        axis, direction = jnp.divmod(state.potions[potion], 2)
        corner = ((stone + 1) // 2 * jnp.array([1, 2, 4])).sum()
        moves = dips & task.edges[axis, corner]
        moved = stone.at[axis].set(2 * direction - 1)
        worth = stone.sum() + BONUS * (stone == 1).all()
        state = State(
            stones=jnp.where(moves, state.stones.at[chosen].set(moved), state.stones),
            stones_left=state.stones_left & ~(cashes & (jnp.arange(NUM_STONES) == chosen)),
            potions=state.potions,
            potions_left=state.potions_left & ~(dips & (jnp.arange(NUM_POTIONS) == potion)),
            time=state.time + 1,
        )
        reward = jnp.where(cashes, worth, 0).astype(jnp.float32)
        return self._see(state, task), state, reward, jnp.zeros((), jnp.bool_), {}

    def _see(self, state: State, task: Task) -> Float32[Array, "39"]:
        perceived = jnp.matmul(task.mirror * state.stones, task.unrotation.T, precision="highest")
        value = state.stones.sum(1, keepdims=True) / 3
        stones = jnp.concatenate([perceived, value, jnp.zeros_like(value)], axis=1)
        colour = task.colours[state.potions][:, None] / 3 - 1
        potions = jnp.concatenate([colour, jnp.zeros_like(colour)], axis=1)
        stones = jnp.where(state.stones_left[:, None], stones, NO_STONE)
        potions = jnp.where(state.potions_left[:, None], potions, NO_POTION)
        return jnp.concatenate([stones.ravel(), potions.ravel()]).astype(jnp.float32)

    def action_space(self, params: Any = None) -> Discrete:
        """Nothing, and every stone with the cauldron or a potion."""
        return Discrete(1 + NUM_STONES * (NUM_POTIONS + 1))

    def observation_space(self, params: Any) -> Box:
        """Features of stones, then of potions."""
        return Box(-1.0, 2.0, (NUM_STONES * len(NO_STONE) + NUM_POTIONS * len(NO_POTION),), jnp.float32)


def possible_graphs() -> tuple[Bool[np.ndarray, "109 3 8"], Int32[np.ndarray, "109"]]:
    """All connected cubes, and the number of constraints of each.

    A constraint demands one value of one other coordinate of the stones that may move along an
    axis; there are up to two for every axis.
    """
    graphs, num_constraints = [], []
    for demands in itertools.product((0, -1, 1), repeat=6):
        edges = np.ones((3, 8), bool)
        for (axis, other), demand in zip(itertools.permutations(range(3), 2), demands, strict=True):
            edges[axis] &= (demand == 0) | (CORNERS[:, other] == demand)
        if _is_connected(edges):
            graphs.append(edges)
            num_constraints.append(sum(map(abs, demands)))
    return np.stack(graphs), np.array(num_constraints, np.int32)


def _is_connected(edges: Bool[np.ndarray, "3 8"]) -> bool:
    reached = np.arange(8) == 0
    for _ in range(7):
        for axis in range(3):
            reached |= reached[np.arange(8) ^ (1 << axis)] & edges[axis]
    return bool(reached.all())


make_alchemy = in_trials(Alchemy)
