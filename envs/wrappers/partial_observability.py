"""Wrappers that make any environment partially observable: entries masked, noise, observations late, lost or blank.

They act on all that the environment shows, goals included, and on nothing that `PreviousAction`, `EpisodeStart` and
others put beside it; a mask of actions is left alone as well. All sit inside the automatic
reset: no observation, seen or held back, outlives its episode, and the final one is treated like any other.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.wrappers.agent_inputs import is_packed
from rlformers.envs.wrappers.observation_wrapper import Observer, Shown, take
from rlformers.errors import UserError

__all__ = ["Delay", "Flicker", "FrameDrop", "Mask", "Noise", "PeriodicObservation"]


class Mask(Observer):
    """Hides entries of a vector: it gets shorter (Ni et al. 2022, the -P and -V tasks of appendix E).

    Args:
        env: Its observations are one Box or MultiDiscrete of rank 1.
        hidden: Indices, a list or an array of integers, or "velocities" or "positions" (all that are not velocities)
            where the environment has an attribute `velocities`: the indices of its observation that are.

    Raises:
        UserError: No such entry, none left, no vector, or velocities unknown; names `wrap.mask`.
    """

    keeps_observation = False

    def __init__(self, env: Environment, hidden: Any):
        super().__init__(env)
        space = take(env.observation_space(env.default_params), is_packed(env))
        if not isinstance(space, spaces.Box | spaces.MultiDiscrete) or len(space.shape) != 1:
            raise UserError(f"wrap.mask: need a vector to hide entries of, {env.name} observes {space!r}")
        size = space.shape[0]
        indices = _named(env, hidden, size) if isinstance(hidden, str) else _plain(hidden)
        valid = isinstance(indices, Sequence) and all(type(index) is int and 0 <= index < size for index in indices)
        if not valid or not 0 < len(set(indices)) < size:
            raise UserError(
                f"wrap.mask: need velocities, positions, or a list of some, not all, of the indices 0 to {size - 1}, "
                f"got {hidden!r}"
            )
        self.kept = np.array([index for index in range(size) if index not in indices])

    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Drop the hidden entries."""
        return Shown(obs[self.kept])

    def next(self, key: Any, memory: Any, obs: Any, space: spaces.Space) -> Shown:
        """Drop the hidden entries."""
        return Shown(obs[self.kept])

    def shown_space(self, space: Any) -> spaces.Space:
        """The space of the others."""
        if isinstance(space, spaces.MultiDiscrete):
            return spaces.MultiDiscrete([space.nvec[index] for index in self.kept])
        low, high = (jnp.broadcast_to(bound, space.shape)[self.kept] for bound in (space.low, space.high))
        return spaces.Box(low, high, (len(self.kept),), space.dtype)


def _plain(hidden: Any) -> Any:
    """Arrays, and the integers of NumPy in a list, as Python's; all else as it is."""
    if isinstance(hidden, np.ndarray | jax.Array):
        return hidden.tolist()
    if isinstance(hidden, Sequence):
        return [index.item() if isinstance(index, np.integer) else index for index in hidden]
    return hidden


def _named(env: Environment, word: str, size: int) -> list[int]:
    """The indices that a word stands for, as the innermost environment with these observations declares them."""
    owner = env
    while not hasattr(owner, "velocities"):
        if not isinstance(owner, Wrapper) or not owner.keeps_observation:
            raise UserError(f"wrap.mask: the velocities of {env.name} are not known; need indices, got {word!r}")
        owner = owner.env
    velocities = list(owner.velocities)
    named = {"velocities": velocities, "positions": [index for index in range(size) if index not in velocities]}
    return named.get(word, [])


class Noise(Observer):
    """Adds Gaussian noise to all real-valued parts of the observation, in their units; bounds become infinite.

    Args:
        env: At least one part of its observation is a Box of floats.
        std: Standard deviation.

    Raises:
        UserError: `std` is not positive, or everything is integers; names `wrap.noise`.
    """

    random = True

    def __init__(self, env: Environment, std: float):
        super().__init__(env)
        space = take(env.observation_space(env.default_params), is_packed(env))
        if not 0 < std < float("inf"):
            raise UserError(f"wrap.noise: need a positive number, got {std!r}")
        if not any(_is_real(leaf) for leaf, _ in spaces.leaves(space)):
            raise UserError(f"wrap.noise: need real-valued observations, {env.name} observes {space!r}")
        self.std = std

    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Add noise."""
        keys = iter(jax.random.split(key, len(spaces.leaves(space))))

        def add(leaf: spaces.Space, x: Array) -> Array:
            key_leaf = next(keys)
            return x + self.std * jax.random.normal(key_leaf, x.shape, x.dtype) if _is_real(leaf) else x

        return Shown(spaces.map_leaves(add, space, obs))

    def next(self, key: Any, memory: Any, obs: Any, space: spaces.Space) -> Shown:
        """Add noise."""
        return self.first(key, obs, space)

    def shown_space(self, space: spaces.Space) -> spaces.Space:
        """Unbounded where there is noise."""
        return spaces.map_leaves(
            lambda leaf: spaces.Box(-jnp.inf, jnp.inf, leaf.shape, leaf.dtype) if _is_real(leaf) else leaf, space
        )


def _is_real(leaf: spaces.Space) -> bool:
    return isinstance(leaf, spaces.Box) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _blank_space(space: spaces.Space) -> spaces.Space:
    """The space with room for a blank: 0 in a Box, one more value for integers."""

    def widen(leaf: spaces.Space) -> spaces.Space:
        if isinstance(leaf, spaces.Discrete):
            return spaces.Discrete(leaf.n + 1)
        if isinstance(leaf, spaces.MultiDiscrete):
            return spaces.MultiDiscrete([n + 1 for n in leaf.nvec])
        zero = jnp.zeros((), leaf.dtype)
        return spaces.Box(jnp.minimum(leaf.low, zero), jnp.maximum(leaf.high, zero), leaf.shape, leaf.dtype)

    return spaces.map_leaves(widen, space)


def _blank_unless(seen: Bool[Array, ""], obs: Any, space: spaces.Space) -> Any:
    def choose(leaf: spaces.Space, x: Any) -> Array:
        blank = leaf.n if isinstance(leaf, spaces.Discrete) else getattr(leaf, "nvec", 0)
        return jnp.where(seen, x, jnp.asarray(blank, leaf.dtype))

    return spaces.map_leaves(choose, space, obs)


class Flicker(Observer):
    """Blanks every observation, the first included, with a probability (Hausknecht & Stone 2015, section 5: 0.5).

    A blank is 0 in a Box; of integers it is one more value, n in what becomes Discrete(n + 1).

    Args:
        env: Any environment.
        probability: Of a blank, each for itself.
        flag: Tell the agent, see `Observer`.

    Raises:
        UserError: `probability` is not above 0 and below 1; names `wrap.flicker`.
    """

    random = True

    def __init__(self, env: Environment, probability: float, flag: bool = False):
        super().__init__(env)
        self.probability, self.flag = _probability("wrap.flicker", probability), flag

    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Perhaps blank it."""
        seen = ~jax.random.bernoulli(key, self.probability)
        return Shown(_blank_unless(seen, obs, space), seen=seen)

    def next(self, key: Any, memory: Any, obs: Any, space: spaces.Space) -> Shown:
        """Perhaps blank it."""
        return self.first(key, obs, space)

    def shown_space(self, space: spaces.Space) -> spaces.Space:
        """With room for a blank."""
        return _blank_space(space)


class PeriodicObservation(Observer):
    """Shows every k-th observation of an episode, the first included, and blanks (see `Flicker`) in between.

    Args:
        env: Any environment.
        period: k.
        flag: Tell the agent, see `Observer`.

    Raises:
        UserError: `period` below 1; names `wrap.period`.
    """

    def __init__(self, env: Environment, period: int, flag: bool = False):
        super().__init__(env)
        if period < 1:
            raise UserError(f"wrap.period: need at least 1, got {period!r}")
        self.period, self.flag = period, flag

    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show it."""
        seen = jnp.ones((), jnp.bool_)
        return Shown(_blank_unless(seen, obs, space), jnp.zeros((), jnp.int32), seen)

    def next(self, key: Any, memory: Int32[Array, ""], obs: Any, space: spaces.Space) -> Shown:
        """Show it if its turn has come. Memory: steps since the last that was shown."""
        age = (memory + 1) % self.period
        return Shown(_blank_unless(age == 0, obs, space), age, age == 0)

    def shown_space(self, space: spaces.Space) -> spaces.Space:
        """With room for a blank."""
        return _blank_space(space)


class FrameDrop(Observer):
    """Loses observations with a probability: the agent then sees again what it saw last. The first always arrives.

    Args:
        env: Any environment.
        probability: Of a loss, each for itself.
        flag: Tell the agent, see `Observer`.

    Raises:
        UserError: `probability` is not above 0 and below 1; names `wrap.frame_drop`.
    """

    random = True

    def __init__(self, env: Environment, probability: float, flag: bool = False):
        super().__init__(env)
        self.probability, self.flag = _probability("wrap.frame_drop", probability), flag

    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show and keep it."""
        return Shown(obs, obs, jnp.ones((), jnp.bool_))

    def next(self, key: Any, memory: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show and keep it, or what was kept."""
        seen = ~jax.random.bernoulli(key, self.probability)
        shown = jax.tree.map(lambda new, old: jnp.where(seen, new, old), obs, memory)
        return Shown(shown, shown, seen)


class Delay(Observer):
    """Shows observations some steps late: at time t that of time max(0, t - d). Rewards and ends are not delayed.

    The final observation of an episode is the one shown at its end; what was still under way is lost.

    Args:
        env: Any environment.
        steps: d.

    Raises:
        UserError: `steps` below 1; names `wrap.delay`.
    """

    def __init__(self, env: Environment, steps: int):
        super().__init__(env)
        if steps < 1:
            raise UserError(f"wrap.delay: need at least 1, got {steps!r}")
        self.steps = steps

    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show it, and until there is a later one. Memory: the observations to come, [d, ...]."""
        return Shown(obs, jax.tree.map(lambda x: jnp.broadcast_to(x, (self.steps, *jnp.shape(x))), obs))

    def next(self, key: Any, memory: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show the oldest, keep the new one."""
        shown = jax.tree.map(lambda queue: queue[0], memory)
        return Shown(shown, jax.tree.map(lambda queue, x: jnp.concatenate([queue[1:], x[None]]), memory, obs))


def _probability(key: str, value: float) -> float:
    if not 0 < value < 1:
        raise UserError(f"{key}: need a probability above 0 and below 1, got {value!r}")
    return value
