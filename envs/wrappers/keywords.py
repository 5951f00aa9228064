"""The wrappers as keywords, for `wrap.*` and `trial.*` of an experiment and of `make_env`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rlformers.envs.constructor_arguments import check_arguments
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.spec import TRUNCATIONS
from rlformers.envs.wrappers import EpisodeStart, PreviousAction, RewardInput, TimeLimit, TruncationTerminates
from rlformers.envs.wrappers.partial_observability import Delay, Flicker, FrameDrop, Mask, Noise, PeriodicObservation
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.timing import ActionRepeat, RewardDelay
from rlformers.envs.wrappers.trial import INPUTS, Trial
from rlformers.errors import UserError


def wrap(
    env: Environment,
    action_repeat: int = 1,
    time_limit: int | None = None,
    mask: Any = None,
    projection: Any = None,
    noise: float = 0.0,
    delay: int = 0,
    frame_drop: float = 0.0,
    flicker: float = 0.0,
    period: int = 1,
    flag: bool = False,
    reward_delay: int = 0,
    truncation: str | None = None,
    previous_action: bool = False,
    reward_input: bool = False,
    episode_start: bool = False,
    around: Callable[[Environment], Environment] = lambda env: env,
) -> Environment:
    """Put wrappers around an environment, in the order of the arguments: `action_repeat` innermost.

    What a default says is not added: a sensor first sees less (mask, noise), then is late (delay), then loses or blanks
    what it sends; all of them count the agent's steps, not those that an action is repeated for. What the agent is told
    of the step before is of this step and never blank. Trials are played of what these wrappers make of the environment
    inside, so that an episode is an attempt; from `truncation` on they are about the trial.

    Args:
        env: Any environment.
        action_repeat: k of `ActionRepeat`.
        time_limit: Steps of `TimeLimit`, those of the agent.
        mask: Entries to hide, see `Mask`.
        projection: Arguments of `RandomProjection` as a mapping, of which `distribution` must be given.
        noise: Standard deviation of `Noise`.
        delay: Steps of `Delay`.
        frame_drop: Probability of `FrameDrop`.
        flicker: Probability of `Flicker`.
        period: k of `PeriodicObservation`.
        flag: Tell the agent which observations are blank or old, for the last three.
        reward_delay: Steps of `RewardDelay`.
        truncation: "terminates" is `TruncationTerminates`, "bootstraps" and None leave ends as they are. Before,
            `make_env` has reported what belongs to the task as terminations, if it is None (`Entry.truncation`).
        previous_action: Show the agent its last action, see `PreviousAction`.
        reward_input: Show the agent its last reward, see `RewardInput`; after `reward_delay`, what it was paid.
        episode_start: Show the agent a start flag, see `EpisodeStart`.
        around: What comes between `reward_delay` and `truncation`, see `in_trials`.

    Raises:
        UserError: One line that names `wrap.<argument>`, what is allowed and what was given.
    """
    if flag and not frame_drop and not flicker and period == 1:
        raise UserError("wrap.flag: there is nothing to tell without wrap.frame_drop, wrap.flicker or wrap.period")
    if truncation not in (None, *TRUNCATIONS):
        raise UserError(f"wrap.truncation: need null or one of {', '.join(TRUNCATIONS)}, got {truncation!r}")
    trial = env if isinstance(env, Trial) else None
    if trial is not None:
        env = trial.env
    if action_repeat != 1:
        env = ActionRepeat(env, action_repeat)
    if time_limit is not None:
        if time_limit < 1:
            raise UserError(f"wrap.time_limit: need at least 1, got {time_limit}")
        env = TimeLimit(env, time_limit)
    if mask is not None:
        env = Mask(env, mask)
    env = _projected(env, projection or {})
    if noise:
        env = Noise(env, noise)
    if delay:
        env = Delay(env, delay)
    if frame_drop:
        env = FrameDrop(env, frame_drop, flag)
    if flicker:
        env = Flicker(env, flicker, flag)
    if period != 1:
        env = PeriodicObservation(env, period, flag)
    if reward_delay:
        env = RewardDelay(env, reward_delay)
    if trial is not None:
        env = trial if env is trial.env else trial.around(env)
    env = around(env)
    if truncation == "terminates":
        env = TruncationTerminates(env)
    if previous_action:
        env = PreviousAction(env, start_flag=False)
    if reward_input:
        env = RewardInput(env)
    if episode_start:
        env = EpisodeStart(env)
    return env


def in_trials(env: Environment, keys: Mapping[str, Any]) -> tuple[Callable[[Environment], Environment], bool]:
    """What puts `Trial` around an environment, if any key asks for it, and whether it does.

    Args:
        env: The environment, without its wrappers.
        keys: Arguments of `Trial`; without `episodes` and `steps` there are no trials.

    Raises:
        UserError: One line that names `trial.<argument>`: it does not fit, there is nothing to which it applies, or the
            environment plays trials by itself.
    """
    check_arguments(Trial, keys, "trial", "need one of", taken={"env"})
    meant = {"truncate": False, "inner_reset": "resample", "inputs": list(INPUTS), "episodes": None, "steps": None}
    given = {key: value for key, value in keys.items() if _plain(value) != meant[key]}
    if not given:
        return lambda env: env, False
    first = next(iter(given))
    if _plays_trials(env):
        raise UserError(f"trial.{first}: {env.name} plays trials by itself; write env_kwargs.{first}")
    if given.get("episodes") is None and given.get("steps") is None:
        raise UserError(f"trial.{first}: there are no trials without trial.episodes or trial.steps")
    with _renamed("env_kwargs.", "trial."):
        Trial(env, **keys)  # before anything else is built
    return lambda env: Trial(env, **keys), True


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _plays_trials(env: Environment) -> bool:
    while isinstance(env, Wrapper):
        if isinstance(env, Trial):
            return True
        env = env.env
    return False


def _projected(env: Environment, keys: Mapping[str, Any]) -> Environment:
    given = {key: value for key, value in keys.items() if value is not None}
    check_arguments(RandomProjection, given, "wrap.projection", "need one of", taken={"env", "split"})
    if "distribution" not in given:
        for key, value in given.items():
            if (key, value) != ("project_actions", True):
                raise UserError(
                    f"wrap.projection.{key}: there is nothing to project without wrap.projection.distribution"
                )
        return env
    with _renamed("env_kwargs.", "wrap.projection."):
        return RandomProjection(env, **given)


@contextmanager
def _renamed(prefix: str, wanted: str) -> Iterator[None]:
    """Errors that name a key by the wrong prefix name the right one."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(prefix, wanted)) from error
