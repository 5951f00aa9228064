"""Pictures of states, in NumPy: `render(env, state, params)`.

They are for people: hidden cards, goals and mines are shown.
"""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from rlformers.envs.environment import Environment, Wrapper, unwrapped
from rlformers.envs.rendering.pictures import bars, grids
from rlformers.envs.rendering.pictures.canvas import Canvas
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.trial import Trial
from rlformers.errors import UserError

_POPGYM, _MEMORY, _META = (f"rlformers.envs.{suite}" for suite in ("popgym", "memory", "meta"))
_CONTROL, _MISC = "gymnax.environments.classic_control", "gymnax.environments.misc"

# Who draws an environment, or one that inherits from it: a function of `pictures`.
PAINTERS = {
    f"{_POPGYM}.repeat_first.RepeatFirst": "cards.repeat_first",
    f"{_POPGYM}.repeat_previous.RepeatPrevious": "cards.repeat_previous",
    f"{_POPGYM}.autoencode.Autoencode": "cards.autoencode",
    f"{_POPGYM}.count_recall.CountRecall": "cards.count_recall",
    f"{_POPGYM}.higher_lower.HigherLower": "cards.higher_lower",
    f"{_POPGYM}.concentration.Concentration": "cards.concentration",
    f"{_POPGYM}.multiarmed_bandit.MultiarmedBandit": "cards.bandit",
    f"{_POPGYM}.battleship.Battleship": "grids.battleship",
    f"{_POPGYM}.minesweeper.MineSweeper": "grids.minesweeper",
    f"{_POPGYM}.labyrinth.Labyrinth": "grids.labyrinth",
    f"{_POPGYM}.cartpole.CartPole": "control.cartpole",
    f"{_POPGYM}.position_only_pendulum.PositionOnlyPendulum": "control.pendulum",
    f"{_MEMORY}.tmaze.TMaze": "grids.t_maze",
    f"{_MEMORY}.three_phases.ThreePhases": "grids.three_phases",
    f"{_MEMORY}.localisation.Localisation": "control.localisation",
    f"{_META}.alchemy.Alchemy": "alchemy.alchemy",
    f"{_META}.bandits.Bandit": "cards.bandit",
    f"{_META}.dark_room.DarkRoom": "grids.dark_room",
    f"{_META}.dark_key_to_door.DarkKeyToDoor": "grids.dark_key_to_door",
    f"{_META}.point_robot.PointRobot": "control.point_robot",
    f"{_CONTROL}.cartpole.CartPole": "control.cartpole",
    f"{_CONTROL}.pendulum.Pendulum": "control.pendulum",
    f"{_CONTROL}.acrobot.Acrobot": "control.acrobot",
    f"{_CONTROL}.mountain_car.MountainCar": "control.mountain_car",
    f"{_CONTROL}.continuous_mountain_car.ContinuousMountainCar": "control.mountain_car",
    f"{_MISC}.point_robot.PointRobot": "control.point_robot",
    f"{_MISC}.rooms.FourRooms": "grids.walls_and_goal",
    f"{_MISC}.meta_maze.MetaMaze": "grids.walls_and_goal",
    f"{_MISC}.frozen_lake.FrozenLake": "grids.frozen_lake",
}


def render(env: Environment, state: Any, params: Any, obs: Any = None, size: int = 256) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a state, of one environment (not of a batch).

    Another environment draws itself with a method `render(state, params)`. If it has none, its
    observation is drawn: an image as it is, other numbers as bars.

    Args:
        env: An environment, wrapped or not.
        state: Its state.
        params: Its params.
        obs: Its observation, for environments that nobody draws; default: what gymnax's `observe`
            says, or else the numbers in the state.
        size: Pixels along a side of what is drawn here.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UserError: The environment's own `render` returns something else.
    """
    env, state, params = innermost(env, state, params)
    canvas = Canvas(size)
    paint = painter(env)
    if paint is not None:
        paint(canvas, env, jax.tree.map(_numpy, state), jax.tree.map(_numpy, params))
        return canvas.image()
    if has_picture(env, state, params):  # not gymnax's, which make Matplotlib figures
        image = np.asarray(env.render(state, params))
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise UserError(f"{env.name}.render: need uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
        return image
    obs = _observe(env, state, params) if obs is None else obs
    return draw_numbers(state, size) if obs is None else draw_observation(obs, size)


def has_picture(env: Environment, state: Any, params: Any) -> bool:
    """Whether `render` draws the state; if not, it draws the observation."""
    env, _, _ = innermost(env, state, params)
    own = hasattr(env, "render") and getattr(env, "draws_itself", True)
    return painter(env) is not None or (own and not type(env).__module__.startswith("gymnax."))


def keep_pictures(env: Environment) -> None:
    """Let an environment on the host, which cannot go back to a state, keep what `render` will be asked for."""
    env = unwrapped(env)
    if hasattr(env, "keep_pictures"):
        env.keep_pictures()


def draw_observation(obs: Any, size: int = 256) -> UInt8[np.ndarray, "h w 3"]:
    """The first image in an observation or, if there is none, its numbers as bars."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(obs) if not _is_key(leaf)]
    images = [leaf for leaf in leaves if leaf.ndim in (2, 3) and min(leaf.shape[:2]) > 1]
    if not images:
        return draw_numbers(obs, size)
    canvas = Canvas(size)
    grids.picture(canvas, images[0])
    return canvas.image()


def draw_numbers(values: Any, size: int = 256) -> UInt8[np.ndarray, "h w 3"]:
    """All numbers of a pytree as bars."""
    leaves = [np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(values) if not _is_key(leaf)]
    canvas = Canvas(size)
    if leaves:
        bars.numbers(canvas, np.concatenate(leaves))
    return canvas.image()


def innermost(env: Environment, state: Any, params: Any) -> tuple[Environment, Any, Any]:
    """The environment inside all wrappers, its state, and its params: in a trial, the task."""
    while isinstance(env, Wrapper):
        if isinstance(env, Trial):
            params = state.task
        elif isinstance(env, RandomProjection):
            params = env.task_of(state, params).task
        env, state = env.env, env.inner_state(state)
    return env, state, params


def painter(env: Environment) -> Callable[..., None] | None:
    """Who draws this environment, if anybody here does."""
    for ancestor in type(env).__mro__:
        name = PAINTERS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if name is not None:
            module, _, function = name.partition(".")
            return getattr(importlib.import_module(f"rlformers.envs.rendering.pictures.{module}"), function)
    return None


def _observe(env: Environment, state: Any, params: Any) -> Any:
    """The observation of a state, where it can be had without a step, as in gymnax's environments."""
    try:
        return env.observe(jax.random.key(0), state, None, params)
    except (NotImplementedError, TypeError, AttributeError):
        return None


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key)


def _numpy(leaf: Any) -> Any:
    return leaf if _is_key(leaf) else np.asarray(leaf)
