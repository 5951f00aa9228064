"""What can be checked of an environment without running it: spaces, structures, shapes and dtypes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from rlformers.envs import spaces
from rlformers.envs.checks.report import Broken, require
from rlformers.envs.environment import Environment
from rlformers.envs.reserved import check_names
from rlformers.envs.wrappers.episode_statistics import reported_by_wrappers
from rlformers.envs.wrappers.flatten import Flatten, part_names
from rlformers.errors import UserError

Ignored = Sequence[str]  # parts of observations that agents are not shown


class Types(NamedTuple):
    """What `reset_env`, `step_env` and `is_truncated` return, abstractly."""

    first_obs: Any
    first_state: Any
    obs: Any
    state: Any
    reward: Any
    terminated: Any
    truncated: Any


def check_spaces(env: Environment, params: Any) -> str:
    """Spaces are of the known kinds."""
    texts = []
    for kind, space in (("observation", env.observation_space(params)), ("action", env.action_space(params))):
        for leaf, _ in spaces.leaves(space):
            known = isinstance(leaf, spaces.Box | spaces.Discrete | spaces.MultiDiscrete)
            require(
                known, f"{kind}_space has a {type(leaf).__name__}, need Box, Discrete, MultiDiscrete, Dict or Tuple"
            )
            if isinstance(leaf, spaces.Box):
                low, high = (np.broadcast_to(bound, leaf.shape) for bound in (leaf.low, leaf.high))
                require((low <= high).all(), f"{kind}_space has a Box whose low is above its high")
        texts.append(f"{kind} {spaces.text(space)}")
    return ", ".join(texts)


def trace(env: Environment, params: Any) -> Types:
    """Trace reset and step, as jit does."""
    key = jax.random.key(0)
    reset = jax.eval_shape(env.reset_env, key, params)
    require(
        isinstance(reset, tuple) and len(reset) == 2,
        f"reset_env returns no pair of observation and state but {_count(reset)}",
    )
    action = jax.eval_shape(partial(spaces.sample, env.action_space(params)), key)
    step = jax.eval_shape(env.step_env, key, reset[1], action, params)
    require(
        isinstance(step, tuple) and len(step) == 5 and isinstance(step[4], dict),
        f"step_env does not return observation, state, reward, terminated and a dict but {_count(step)}",
    )
    try:
        check_names(step[4], env.name, reported_by_wrappers(env))
    except UserError as error:
        raise Broken(str(error)) from error
    # A state of another structure is another point, and would hide behind what `is_truncated` raises of it.
    before: Any = jax.tree.structure(reset[1])
    alike = before == jax.tree.structure(step[1])
    truncated = jax.eval_shape(env.is_truncated, step[1] if alike else reset[1], params)
    return Types(reset[0], reset[1], step[0], step[1], step[2], step[3], truncated)


def _count(returned: Any) -> str:
    if not isinstance(returned, tuple):
        return f"one value, {name(returned)}"
    last = f", the last {name(returned[-1])}" if returned and hasattr(returned[-1], "dtype") else ""
    return f"{len(returned)} values{last}"


def name(tree: Any) -> str:
    """An array's dtype and shape, or the structure of something else."""
    return f"{tree.dtype}{list(tree.shape)}" if hasattr(tree, "dtype") else str(jax.tree.structure(tree))


def check_observations(env: Environment, params: Any, types: Types, ignore: Ignored = ()) -> None:
    """Observations of reset and step have structure, shapes and dtypes of their space."""
    space = env.observation_space(params)
    _compare("observation of reset_env", space, types.first_obs)
    _compare("observation of step_env", space, types.obs)


def _compare(path: str, space: spaces.Space, obs: Any) -> None:
    """An observation, abstract, has structure, shapes and dtypes of a space."""
    if isinstance(space, spaces.Dict):
        keys = sorted(obs) if isinstance(obs, dict) else name(obs)
        require(keys == sorted(space.spaces), f"{path} has {keys}, space has {sorted(space.spaces)}")
        for key, part in space.spaces.items():
            _compare(f"{path}[{key!r}]", part, obs[key])
    elif isinstance(space, spaces.Tuple):
        size = len(obs) if isinstance(obs, tuple | list) else name(obs)
        require(size == len(space.spaces), f"{path} has {size} parts, space has {len(space.spaces)}")
        for index, part in enumerate(space.spaces):
            _compare(f"{path}[{index}]", part, obs[index])
    else:
        wanted = f"{np.dtype(space.dtype)}{list(space.shape)}"
        require(name(obs) == wanted, f"{path} is {name(obs)}, space has {wanted}")


def check_states(types: Types) -> None:
    """A step leaves the types of the state as they were, so that it can be the carry of a scan."""
    first: Any = jax.tree.structure(types.first_state)
    later: Any = jax.tree.structure(types.state)
    require(first == later, f"{first} at reset, {later} after a step")
    pairs = zip(jax.tree_util.tree_leaves_with_path(types.first_state), jax.tree.leaves(types.state), strict=True)
    for (path, before), after in pairs:
        place = f"state{jax.tree_util.keystr(path)}"
        require(name(before) == name(after), f"{place} is {name(before)} at reset, {name(after)} after a step")


def check_ends(types: Types) -> None:
    """Reward and ends are scalars of the right dtypes, or what EpisodeStatistics makes one of, as in training."""
    parts = (
        ("reward", types.reward, "float32[]", "biuf"),
        ("terminated", types.terminated, "bool[]", "b"),
    )
    for what, part, wanted, kinds in parts:
        known = hasattr(part, "dtype") and np.dtype(part.dtype).kind in kinds and part.size == 1
        require(known, f"{what} is {name(part)}, need {wanted}")
    require(name(types.truncated) == "bool[]", f"is_truncated is {name(types.truncated)}, need bool[]")


def check_readable(env: Environment, params: Any, types: Types, ignore: Ignored = ()) -> str:
    """Observations without what is ignored can be flattened for encoders, and a mask of actions fits the actions."""
    flat = Flatten(env, ignore)
    space = flat.observation_space(params)
    mask = getattr(space, "spaces", {}).get("action_mask")
    if mask is not None:
        actions = env.action_space(params)
        size = actions.n if isinstance(actions, spaces.Discrete) else sum(getattr(actions, "nvec", ()))
        given = f"{np.dtype(mask.dtype)}{list(mask.shape)}"
        require(given == f"bool[{size}]", f"action_mask is {given}, need bool[{size}]")
    for when, obs in (("reset_env", types.first_obs), ("step_env", types.obs)):
        _compare(f"flattened observation of {when}", space, jax.eval_shape(flat.flatten, obs, params))
    return f"as {spaces.text(space)}"


# The points that tracing can tell, in their order. What the later ones look at, the first two must have made possible.
SPACES = "spaces are known ones"
TRACED = "reset and step can be traced"
POINTS: tuple[tuple[str, Callable[[Environment, Any, Types, Ignored], str | None]], ...] = (
    ("observations have the shapes and dtypes of their space", check_observations),
    ("states keep their shapes and dtypes", lambda env, params, types, ignore: check_states(types)),
    (
        "reward, terminated and truncated are float32, bool and bool scalars",
        lambda env, params, types, ignore: check_ends(types),
    ),
    ("agents can read the observations", check_readable),
)


def first_broken(env: Environment, params: Any, ignore: Ignored = ()) -> tuple[str, Exception] | None:
    """The first of these points that does not hold, with `Broken` or what the environment raised; None: all do.

    Args:
        env: The environment, with some of its wrappers; they may be those that add a part of `ignore`, or not.
        params: Its params.
        ignore: Parts of the observations that agents are not shown.
    """
    point = SPACES
    try:
        names = part_names(env.observation_space(params))
        ignore = [name for name in ignore if name in names]
        check_spaces(env, params)
        point = TRACED
        types = trace(env, params)
        for point, look in POINTS:  # noqa: B007 (the one at which an error is raised is the result)
            look(env, params, types, ignore)
    except Exception as error:  # whatever an environment raises
        return point, error
    return None


def fits_space(env: Environment, params: Any, obs: Any) -> None:
    """The observation of a reset, abstract, has structure and shapes of the space; the precision of numbers may differ.

    Raises:
        Broken: It has not.
    """

    def of_one_kind(space: spaces.Space, part: Any) -> Any:
        """The part with the dtype of the space, if it is another one for the same kind of numbers."""
        if isinstance(space, spaces.Dict) and isinstance(part, dict):
            return {key: of_one_kind(space.spaces[key], x) if key in space.spaces else x for key, x in part.items()}
        if not isinstance(space, spaces.Box) or not hasattr(part, "dtype"):
            return part
        alike = (np.dtype(space.dtype).kind in "biu") == (np.dtype(part.dtype).kind in "biu")
        return jax.ShapeDtypeStruct(part.shape, space.dtype) if alike else part

    space = env.observation_space(params)
    _compare("observation of reset", space, of_one_kind(space, obs))
