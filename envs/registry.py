"""The environments by name. Importing this module imports neither jax nor gymnax, so that listing them is instant.

Ids are `suite/Name`. Other packages add theirs with `register_env`, or without being imported through the entry-point
group `rlformers.envs`, e.g. in their pyproject.toml

    [project.entry-points."rlformers.envs"]
    "mine/Maze" = "my_package.maze:Maze"

where the object is called with `env_kwargs` and returns an `Environment`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gymnax.environments.environment import Environment

GYMNAX_IDS = {
    "CartPole-v1": "balance a pole; mask the velocities for memory",
    "Pendulum-v1": "swing up a pendulum with a limited torque",
    "Acrobot-v1": "swing up a two-link arm",
    "MountainCar-v0": "gather momentum to leave a valley",
    "MountainCarContinuous-v0": "the same with a continuous force",
    "Asterix-MinAtar": "collect gold, avoid enemies; images 10x10",
    "Breakout-MinAtar": "break bricks with a ball; images 10x10",
    "Freeway-MinAtar": "cross a road; images 10x10",
    "Seaquest-MinAtar": "rescue divers before the oxygen ends; images 10x10",
    "SpaceInvaders-MinAtar": "shoot the advancing aliens; images 10x10",
    "Catch-bsuite": "catch a falling ball",
    "DeepSea-bsuite": "deep exploration: one path of many pays",
    "MemoryChain-bsuite": "recall a bit after memory_length steps (never truncated)",
    "UmbrellaChain-bsuite": "credit for a choice chain_length steps ago (never truncated)",
    "DiscountingChain-bsuite": "choose among rewards of different delay",
    "MNISTBandit-bsuite": "classify digits by trial; downloads MNIST",
    "SimpleBandit-bsuite": "bandit of 11 arms, always the same",
    "FourRooms-misc": "find a goal in four rooms",
    "MetaMaze-misc": "meta-RL: a hidden goal in a maze, many visits per episode",
    "PointRobot-misc": "meta-RL: a hidden goal on a half circle",
    "BernoulliBandit-misc": "meta-RL: bandit of two arms, p or 1 - p",
    "GaussianBandit-misc": "meta-RL: a safe and a gaussian arm",
    "Reacher-misc": "reach a target with a jointed arm",
    "Swimmer-misc": "collect targets, avoid urchins",
    "Pong-misc": "pong against a simple opponent; images 30x40",
    "FrozenLake-misc": "cross slippery ice; integer observations",
}


class Entry(NamedTuple):
    """One line of the registry."""

    name: str
    summary: str
    target: str | Callable[..., Any]  # "module:constructor", imported on first use, or the constructor itself
    kwargs: dict[str, Any] = {}  # arguments that the name stands for; `env_kwargs` override them
    previous_action: bool = False  # show the agent its last action and a start flag


def _levels(family: str, module: str, summary: str, argument: str, values: tuple[Any, Any, Any]) -> list[Entry]:
    """popgym's Easy, Medium and Hard of one family."""
    target = f"rlformers.envs.popgym.{module}:{family}"
    arguments = argument.split()
    return [
        Entry(f"popgym/{family}{level}", summary.format(value), target, dict(zip(arguments, value, strict=True)), True)
        for level, value in zip(("Easy", "Medium", "Hard"), values, strict=True)
    ]


_entries = {
    entry.name: entry
    for entry in (
        *_levels(
            "RepeatFirst",
            "repeat_first",
            "name the suit of the first card, {0[0]} deck(s) long",
            "num_decks",
            ((1,), (8,), (16,)),
        ),
        *_levels(
            "RepeatPrevious",
            "repeat_previous",
            "name the suit of the {0[1]}th last card, {0[0]} deck(s) long",
            "num_decks k",
            ((1, 4), (2, 32), (3, 64)),
        ),
        *_levels(
            "PositionOnlyCartPole",
            "position_only_cartpole",
            "balance a pole without seeing velocities, {0[0]} steps",
            "max_steps_in_episode",
            ((200,), (400,), (600,)),
        ),
        *_levels(
            "PositionOnlyPendulum",
            "position_only_pendulum",
            "swing up a pendulum without seeing the velocity, {0[0]} steps",
            "max_steps_in_episode",
            ((200,), (150,), (100,)),
        ),
        Entry("memory/TMaze", "recall a cue at the end of a corridor", "rlformers.envs.memory.tmaze:TMaze"),
        Entry(
            "memory/ActiveTMaze",
            "the same, with the cue a step in the wrong direction",
            "rlformers.envs.memory.tmaze:TMaze",
            {"active": True},
        ),
        *(
            Entry(f"gymnax/{name}", summary, "rlformers.envs.gymnax_adapter:make_gymnax", {"env_id": name})
            for name, summary in GYMNAX_IDS.items()
        ),
    )
}


def register_env(
    name: str,
    target: str | Callable[..., Any],
    *,
    summary: str = "",
    kwargs: dict[str, Any] | None = None,
    previous_action: bool = False,
) -> None:
    """Add an environment under a new id.

    Args:
        name: The id, `suite/Name`.
        target: A constructor (a class, or a function that returns an `Environment`) or "module:constructor".
        summary: One line for `rlformers list envs`.
        kwargs: Arguments that the id stands for.
        previous_action: Whether `make_env` adds the previous action and a start flag to its observations.

    Raises:
        ValueError: The id is taken.
    """
    if name in entries():
        raise ValueError(f"env: {name!r} is already registered")
    _entries[name] = Entry(name, summary, target, dict(kwargs or {}), previous_action)


def entries() -> dict[str, Entry]:
    """All environments by id: built-in ones, registered ones, and those of installed plug-ins."""
    plugins = {
        point.name: Entry(point.name, f"from {point.dist.name if point.dist else point.value}", point.value)
        for point in importlib.metadata.entry_points(group="rlformers.envs")
    }
    return plugins | _entries


def names() -> list[str]:
    """All ids."""
    return list(entries())


def make_env(env_id: str, *, raw: bool = False, **env_kwargs: Any) -> tuple[Environment, Any]:
    """Build an environment and its default params, e.g. `make_env("popgym/RepeatPreviousEasy", k=8)`.

    Observations are made into what agents read, one float32 vector or an image or a dict of both (see
    `wrappers.FlattenObservation`); those of popgym first get the previous action and a start flag
    (`wrappers.PreviousAction`), as in the paper.

    Args:
        env_id: An id that `names` lists.
        raw: Leave the observations as the environment defines them.
        **env_kwargs: Arguments of its constructor.

    Raises:
        ValueError: Unknown id (the nearest is suggested), unknown or impossible argument, or an environment that cannot
            be loaded; one line that names the key and what is allowed.
    """
    known = entries()
    if env_id not in known:
        near = difflib.get_close_matches(env_id, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"env: {env_id!r} is none of the registered ids{hint} (`rlformers list envs` shows them)")
    entry = known[env_id]
    constructor = _load(entry)
    parameters = inspect.signature(constructor).parameters.values()
    if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        allowed = [parameter.name for parameter in parameters]
        for name in env_kwargs:
            if name not in allowed:
                raise ValueError(f"env_kwargs.{name}: env {env_id!r} has {', '.join(allowed) or 'no arguments'}")
    try:
        env = constructor(**(entry.kwargs | env_kwargs))
    except TypeError as error:
        if not env_kwargs:
            raise
        reason = str(error).partition("\n")[0]
        raise ValueError(f"env_kwargs: env {env_id!r} cannot be built with {env_kwargs}: {reason}") from error
    if not raw:
        from rlformers.envs.wrappers import FlattenObservation, PreviousAction

        env = FlattenObservation(PreviousAction(env) if entry.previous_action else env)
    return env, env.default_params


def _load(entry: Entry) -> Callable[..., Any]:
    if not isinstance(entry.target, str):
        return entry.target
    module, _, attribute = entry.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"env: {entry.name!r} cannot be loaded from {entry.target!r}: {error}") from error


def replace_params(params: Any, **changes: Any) -> Any:
    """Params with some fields changed, e.g. `replace_params(params, length=20)`.

    A field keeps the type of its present value: an int takes an int, a float a float or an int, a bool a bool, an array
    numbers of its shape.

    Raises:
        ValueError: Unknown field or wrong type; the message names `env_params.<field>` and what is allowed.
    """
    allowed = [field.name for field in dataclasses.fields(params)]
    for name in changes:
        if name not in allowed:
            raise ValueError(f"env_params.{name}: this environment has {', '.join(allowed) or 'no params'}")
    return params.replace(**{name: _like(name, getattr(params, name), value) for name, value in changes.items()})


def _like(name: str, present: Any, value: Any) -> Any:
    """`value` in the type of `present`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(present, bool):
        wanted, fits = "true or false", isinstance(value, bool)
    elif isinstance(present, int):
        wanted, fits = "an integer", number and isinstance(value, int)
    elif isinstance(present, float):
        wanted, fits = "a number", number
        value = float(value) if fits else value
    elif hasattr(present, "shape"):
        import numpy as np

        kinds = {"b": "b", "i": "iu", "u": "iu"}.get(np.dtype(present.dtype).kind, "iuf")
        wanted = f"{present.dtype.name} numbers of shape {present.shape}"
        array = np.asarray(value)
        fits = array.shape == present.shape and array.dtype.kind in kinds
        value = array.astype(present.dtype) if fits else value
    else:
        wanted, fits = f"a {type(present).__name__}", isinstance(value, type(present))
    if not fits:
        raise ValueError(f"env_params.{name}: need {wanted}, got {value!r}")
    return value
