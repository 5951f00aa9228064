"""`check`: does an environment keep the protocol? What it promises, against what random play shows."""

from collections.abc import Callable
from typing import Any

import jax

from rlformers.envs.checks import play, types
from rlformers.envs.checks.report import Broken, Point, Report
from rlformers.envs.checks.rollouts import Rollouts
from rlformers.envs.environment import Environment
from rlformers.envs.flatten import Flatten
from rlformers.envs.registry import make_env


def check(
    env: str | Environment, params: Any = None, *, num_envs: int = 4, num_steps: int = 64, seed: int = 0
) -> Report:
    """Check that an environment keeps the protocol of `rlformers.envs.environment`.

    Types are looked at without running anything. Then copies of it are played at random, in scans, until an episode
    ends; once more with `max_steps_in_episode`, if the params have it, set to 7; and some steps by themselves. Three
    programs are compiled: a reset, a scan, and a step.

    Args:
        env: An id, or an environment.
        params: Its params; default: `env.default_params`.
        num_envs: Copies.
        num_steps: Steps of a scan, 8 or more.
        seed: Of the random play.

    Returns:
        A report, to print or to ask for `report.ok` and `report.failures`, one line for every point that does not hold.
        It stops at a point without which the others cannot be looked at.

    Raises:
        ValueError: An id that `make_env` does not take.
    """
    if isinstance(env, str):
        name, env = env, make_env(env)[0]
    else:
        name = env.name
    if isinstance(env, Flatten):  # its one-hots would hide integers out of their range
        env = env.env
    points: list[Point] = []

    def look(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Add a point. Returns what the function returns, None if the point does not hold."""
        try:
            found = function(*arguments)
        except Broken as error:
            points.append(Point(name, str(error)))
        except Exception as error:  # whatever an environment raises
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            points.append(Point(name, f"{type(error).__name__}: {reason}"))
        else:
            points.append(Point(name, note=found if isinstance(found, str) else ""))
            return found
        return None

    def report() -> Report:
        return Report(name, tuple(points))

    params = env.default_params if params is None else params
    look("spaces are known ones", types.check_spaces, env, params)
    traced = look("reset and step can be traced", types.trace, env, params)
    if traced is None or not report().ok:
        return report()
    look("observations have the shapes and dtypes of their space", types.check_observations, env, params, traced)
    look("states keep their shapes and dtypes", types.check_states, traced)
    look("reward, terminated and truncated are float32, bool and bool scalars", types.check_ends, traced)
    look("agents can read the observations", types.check_readable, env, params)
    if not report().ok:
        return report()

    key = jax.random.key(seed)
    rollouts = Rollouts(env, num_envs, max(num_steps, play.TIME_LIMIT + 1))
    played = look("a scan of vmapped steps runs", play.play, rollouts, key, params)
    if played is None:
        return report()
    free, limited = played
    runs = [run for run in played if run is not None]
    look("the same keys give the same episodes", play.check_deterministic, rollouts, key, free)
    look("numbers are finite", play.check_finite, free)
    look("values are in their spaces", play.check_contained, env, free)
    try:
        points.extend(play.check_single_steps(env, runs, rollouts.keys(key)[0]))
    except Exception as error:
        points.append(Point("single steps run", f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"))
    look("a time limit truncates", play.check_time_limit, env, free, limited)
    look("never_truncates is honest", play.check_never_truncates, env, runs)
    look("start flags are 1 at starts", play.check_start_flags, free)
    look("episode statistics add up", play.check_statistics, free)
    return report()
