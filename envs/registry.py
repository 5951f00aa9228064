"""The environments by id. Importing this module imports neither jax nor gymnax, so that listing them is instant.

Other packages add theirs with `register_env`, or without being imported through the entry-point group
`rlformers.envs`: a callable that takes the constructor arguments and returns a gymnax 1.x environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One line of the registry."""

    name: str
    summary: str
    target: str | Callable[..., Any]  # "module:attribute" to import on first use, or the factory itself
    kwargs: dict[str, Any]  # what the id fixes of the constructor's arguments; a user may still override it


def _popgym(family: str, module: str, summary: str, *levels: dict[str, int]) -> list[Entry]:
    target = f"rlformers.envs.popgym.{module}:{family}"
    names = ("Easy", "Medium", "Hard")
    return [
        Entry(f"popgym/{family}{name}", f"{summary} ({', '.join(f'{k} {v}' for k, v in level.items())})", target, level)
        for name, level in zip(names, levels, strict=True)
    ]


def _limit(steps: int) -> dict[str, int]:
    return {"max_steps_in_episode": steps}


# The ids of gymnax 1.0.1; a test compares them with gymnax's own list.
GYMNAX = (
    "CartPole-v1 Pendulum-v1 Acrobot-v1 MountainCar-v0 MountainCarContinuous-v0 Asterix-MinAtar Breakout-MinAtar "
    "Freeway-MinAtar Seaquest-MinAtar SpaceInvaders-MinAtar Catch-bsuite DeepSea-bsuite MemoryChain-bsuite "
    "UmbrellaChain-bsuite DiscountingChain-bsuite MNISTBandit-bsuite SimpleBandit-bsuite FourRooms-misc MetaMaze-misc "
    "PointRobot-misc BernoulliBandit-misc GaussianBandit-misc Reacher-misc Swimmer-misc Pong-misc FrozenLake-misc"
).split()

_entries = {
    entry.name: entry
    for entry in (
        *_popgym(
            "RepeatPrevious",
            "repeat_previous",
            "name the suit of the k-th last card",
            {"num_decks": 1, "k": 4},
            {"num_decks": 2, "k": 32},
            {"num_decks": 3, "k": 64},
        ),
        *_popgym(
            "RepeatFirst",
            "repeat_first",
            "name the suit of the first card",
            {"num_decks": 1},
            {"num_decks": 8},
            {"num_decks": 16},
        ),
        *_popgym(
            "PositionOnlyCartPole", "position_only_cartpole", "balance without velocities", *map(_limit, (200, 400, 600))
        ),
        *_popgym(
            "PositionOnlyPendulum", "position_only_pendulum", "swing up without velocity", *map(_limit, (200, 150, 100))
        ),
        Entry("memory/TMaze", "carry one bit along a corridor", "rlformers.envs.memory.tmaze:TMaze", {}),
        Entry(
            "memory/ActiveTMaze",
            "fetch one bit, carry it along a corridor",
            "rlformers.envs.memory.tmaze:TMaze",
            {"active": True},
        ),
        *(
            Entry(f"gymnax/{name}", "built into gymnax", "rlformers.envs.gymnax_adapter:GymnaxEnv", {"env_id": name})
            for name in GYMNAX
        ),
    )
}


def register_env(name: str, factory: Callable[..., Any], *, summary: str = "") -> None:
    """Add an environment under a new id; `factory(**env_kwargs)` returns a gymnax 1.x environment.

    Raises:
        ValueError: The id is taken.
    """
    if name in entries():
        raise ValueError(f"env: {name!r} is already registered")
    _entries[name] = Entry(name, summary, factory, {})


def entries() -> dict[str, Entry]:
    """All environments by id: built-in ones, registered ones, and those of installed plug-ins."""
    plugins = {
        point.name: Entry(point.name, f"from {point.dist.name if point.dist else point.value}", point.value, {})
        for point in importlib.metadata.entry_points(group="rlformers.envs")
    }
    return plugins | _entries


def names() -> list[str]:
    """All ids."""
    return list(entries())


def make_env(env_id: str, *, raw: bool = False, **env_kwargs: Any) -> tuple[Any, Any]:
    """Build an environment and its default params.

    Observations become one vector (or image, see `wrappers.FlattenObservation`); those of the suite popgym include the
    previous action and the start flag, as in its paper's experiments.

    Args:
        env_id: An id that `names` lists.
        raw: Leave all wrappers out.
        **env_kwargs: Arguments of the environment's constructor.

    Raises:
        ValueError: Unknown id (the nearest is suggested), an unknown argument, or a plug-in that cannot be imported.
    """
    known = entries()
    if env_id not in known:
        near = difflib.get_close_matches(env_id, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"env: {env_id!r} is none of the registered ids (rlformers list envs){hint}")
    entry = known[env_id]
    factory = _load(entry)
    parameters = [name for name in inspect.signature(factory).parameters if name != "env_id"]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(factory).parameters.values())
    for name in env_kwargs:
        if name not in parameters and not open_ended:
            raise ValueError(f"env_kwargs.{name}: {env_id} has {', '.join(parameters) or 'no arguments'}")
    try:
        env = factory(**entry.kwargs | env_kwargs)
    except TypeError as error:
        raise ValueError(f"env_kwargs: {env_id}: {error}") from error
    params = env.default_params
    if raw:
        return env, params
    from rlformers.envs.wrappers import FlattenObservation, PreviousAction

    if env_id.startswith("popgym/"):
        env = PreviousAction(env)
    return FlattenObservation(env), params


def replace_params(params: Any, **changes: Any) -> Any:
    """`params` with some fields replaced.

    Raises:
        ValueError: An unknown field, or a value of another type than the default's.
    """
    fields = [field.name for field in dataclasses.fields(params)]
    for name, value in changes.items():
        if name not in fields:
            raise ValueError(f"env_params.{name}: need one of {', '.join(fields) or 'none: there are no params'}")
        default = getattr(params, name)
        if isinstance(default, bool | int | float):
            kinds: Any = (int, float) if type(default) is float else type(default)
            if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
                raise ValueError(f"env_params.{name}: need a value of type {type(default).__name__}, got {value!r}")
    return params.replace(**changes)


def _load(entry: Entry) -> Callable[..., Any]:
    if not isinstance(entry.target, str):
        return entry.target
    module, _, attribute = entry.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"env: {entry.name!r} cannot be loaded from {entry.target!r}: {error}") from error
