"""`check`: does an environment keep the protocol? What it promises, against what random play shows."""

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from rlformers.envs.checks import play, types
from rlformers.envs.checks.glance import glance
from rlformers.envs.checks.report import Broken, Point, Report
from rlformers.envs.checks.rollouts import Rollouts
from rlformers.envs.environment import UNLIMITED, Environment, check_params, need_at_least
from rlformers.envs.registry import find, load, make_env
from rlformers.envs.wrappers import PreviousAction
from rlformers.envs.wrappers.flatten import Flatten, part_names
from rlformers.errors import UserError, first_line, foreign

# What a time limit is called among the arguments of constructors.
LIMITS = ("max_steps_in_episode", "max_steps")


def check(
    env: str | Environment,
    params: Any = None,
    *,
    num_envs: int = 4,
    num_steps: int = 64,
    seed: int = 0,
    quick: bool = False,
    ignore: Sequence[str] = (),
    **env_kwargs: Any,
) -> Report:
    """Check that an environment keeps the protocol of `rlformers.envs.environment`.

    Types are looked at without running anything. Then copies of it are played at random, in scans, until an episode
    ends; once more with a time limit of 7, if its params or the constructor of an id have one; and some steps by
    themselves. Three programs are compiled: a reset, a scan, and a step; a limit of the constructor needs another reset
    and scan.

    Args:
        env: An id, or an environment. Wrappers around it are checked with it.
        params: Its params; default: `env.default_params`.
        num_envs: Copies.
        num_steps: Steps of a scan, 8 or more. With `quick`, any number; with 0, nothing is run.
        seed: Of the random play.
        quick: After the types, play one short scan without resets, and look whether its numbers are finite and in
            their spaces. One small program is compiled.
        ignore: Parts of the observations that agents are not shown, as `model.encoder.ignore`: texts, for example.
        **env_kwargs: Arguments of the constructor of an id, as `make_env` takes them.

    Returns:
        A report, to print, to `assert`, to ask for `report.ok` and `report.failures` (a line for every point that does
        not hold), or to make an exception of with `report.raise_for_failures()`. It stops at a point without which the
        others cannot be looked at.

    Raises:
        UserError: A name in `ignore` of which there is no part, an id or arguments that `make_env` does not take,
            arguments without an id, or less than one copy.
        TypeError: Neither an id nor an environment.
    """
    need_at_least("num_envs", num_envs, 1)
    short: play.Shortened | None = None
    if isinstance(env, str):
        name = env
        env = _make(name, env_kwargs)
        short = None if quick else _shorten(name, env_kwargs, params)
    elif not isinstance(env, Environment):
        raise TypeError(f"check: need an id or an environment, got a {type(env).__name__}")
    elif env_kwargs:
        raise UserError(f"env_kwargs.{min(env_kwargs)}: arguments go with an id; {env.name} is made already")
    else:
        name = env.name
    if isinstance(env, Flatten):  # its one-hots would hide integers out of their range
        env, ignore = env.env, (*env.ignore, *ignore)
    params = env.default_params if params is None else params
    _check_ignored(env, params, ignore)
    points: list[Point] = []

    def look(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Add a point. Returns what the function returns, None if the point does not hold."""
        try:
            found = function(*arguments)
        except Broken as error:
            points.append(Point(name, str(error)))
        except Exception as error:  # whatever an environment raises
            points.append(_raised(name, error))
        else:
            points.append(Point(name, note=found if isinstance(found, str) else ""))
            return found
        return None

    def report() -> Report:
        return Report(name, tuple(points))

    look("params have possible values", check_params, params, env)
    look(types.SPACES, types.check_spaces, env, params)
    traced = look(types.TRACED, types.trace, env, params)
    if traced is None or not report().ok:
        return report()
    for point, function in types.POINTS:
        look(point, function, env, params, traced, ignore)
    if not report().ok:
        return report()

    key = jax.random.key(seed)
    if quick and not num_steps:
        return report()
    if quick:
        run = look("a scan of vmapped steps runs", glance, env, params, key, num_envs, num_steps)
        if run is not None:
            look("numbers are finite", play.check_finite, run)
            look("values are in their spaces", play.check_contained, run, False)
        return report()
    num_steps = max(num_steps, play.TIME_LIMIT + 1)
    rollouts = Rollouts(env, num_envs, num_steps)
    played = look("a scan of vmapped steps runs", play.play, rollouts, key, params, short)
    if played is None:
        return report()
    free, limited = played
    runs = [run for run in played if run is not None]
    look("the same keys give the same episodes", play.check_deterministic, rollouts, key, free)
    look("numbers are finite", play.check_finite, free)
    look("values are in their spaces", play.check_contained, free, True, ignore)
    try:
        points.extend(play.check_single_steps([run for run in runs if run.env is env], rollouts.keys(key)[0]))
    except Exception as error:
        points.append(_raised("single steps run", error))
    look("a time limit truncates", play.check_time_limit, free, limited)
    look("never_truncates is honest", play.check_never_truncates, runs)
    look("start flags are 1 at starts", play.check_start_flags, free)
    look("episode statistics add up", play.check_statistics, free)
    return report()


def _check_ignored(env: Environment, params: Any, ignore: Sequence[str]) -> None:
    """Check that there is a part for every name.

    Raises:
        UserError: There is none; one line with the names that there are.
    """
    if ignore:
        names = part_names(env.observation_space(params))
        for name in ignore:
            if name not in names:
                has = ", ".join(sorted(names)) or "one part without a name"
                raise UserError(f"ignore: {name!r} is no part of the observation, which has {has}")


def _make(env_id: str, env_kwargs: Mapping[str, Any]) -> Environment:
    """What `make_env` makes, before it is flattened."""
    env, _ = make_env(env_id, raw=True, **env_kwargs)
    return PreviousAction(env) if find(env_id).previous_action else env


def _shorten(env_id: str, env_kwargs: Mapping[str, Any], params: Any) -> play.Shortened | None:
    """The environment with a time limit of 7, if its constructor has a limit, which can be that short."""
    arguments = inspect.signature(load(find(env_id))).parameters
    for limit in LIMITS:
        if limit in arguments and (env_kwargs.get(limit) or UNLIMITED) > play.TIME_LIMIT:
            try:
                env = _make(env_id, {**env_kwargs, limit: play.TIME_LIMIT})
            except UserError:
                return None
            params = env.default_params if params is None else params
            return play.Shortened(env, params, f"env_kwargs.{limit}={play.TIME_LIMIT}")
    return None


def _raised(name: str, error: Exception) -> Point:
    """The point that an error keeps from holding: the error in one line, and its traceback."""
    reason = f"{type(error).__name__}: {first_line(error) or 'no reason given'}"
    if foreign(error) is None:
        return Point(name, reason)
    return Point(name, reason, traceback="".join(traceback.format_exception(error)))
