"""The wrappers as keywords, for `wrap.*` and `trial.*` of an experiment and of `make_env`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rlformers.envs.constructor_arguments import check_arguments
from rlformers.envs.environment import Environment, wrappers_around
from rlformers.envs.spec import TRUNCATIONS
from rlformers.envs.wrappers import EpisodeStart, PreviousAction, RewardInput, TimeLimit, TruncationTerminates
from rlformers.envs.wrappers.keys import TrialConfig, WrapConfig
from rlformers.envs.wrappers.partial_observability import Delay, Flicker, FrameDrop, Mask, Noise, PeriodicObservation
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.timing import ActionRepeat, RewardDelay
from rlformers.envs.wrappers.trial import Trial
from rlformers.errors import UserError


def wrap(
    env: Environment, *, around: Callable[[Environment], Environment] = lambda env: env, **keys: Any
) -> Environment:
    """Put wrappers around an environment, in the order of the fields of `WrapConfig`, `action_repeat` innermost.

    A wrapper whose key has its default is not added. A sensor first sees less (mask, noise), then
    is late (delay), then loses or blanks what it sends. All of them count the agent's steps, not
    those that an action is repeated for. What the agent is told about the step before is never
    blank or late. Trials go around the wrappers up to `reward_delay`, so that an episode is an
    attempt; `truncation` and the keys after it are about the trial.

    Args:
        env: Any environment.
        around: What comes between `reward_delay` and `truncation`, see `in_trials`.
        **keys: Fields of `WrapConfig`; `projection` is a mapping of the fields of
            `ProjectionConfig`.

    Raises:
        UserError: One line that names `wrap.<key>`, what is allowed and what was given.
    """
    keys = check_arguments(WrapConfig, keys, "wrap", "need one of")
    projection = keys.pop("projection", None) or {}
    given = WrapConfig(**keys)
    if given.flag and not given.frame_drop and not given.flicker and given.period == 1:
        raise UserError("wrap.flag: there is nothing to tell without wrap.frame_drop, wrap.flicker or wrap.period")
    if given.truncation not in (None, *TRUNCATIONS):
        raise UserError(f"wrap.truncation: need null or one of {', '.join(TRUNCATIONS)}, got {given.truncation!r}")
    trial = env if isinstance(env, Trial) else None
    if trial is not None:
        env = trial.env
    if given.action_repeat != 1:
        env = ActionRepeat(env, given.action_repeat)
    if given.time_limit is not None:
        if given.time_limit < 1:
            raise UserError(f"wrap.time_limit: need at least 1, got {given.time_limit}")
        env = TimeLimit(env, given.time_limit)
    if given.mask is not None:
        env = Mask(env, given.mask)
    env = _projected(env, projection)
    if given.noise:
        env = Noise(env, given.noise)
    if given.delay:
        env = Delay(env, given.delay)
    if given.frame_drop:
        env = FrameDrop(env, given.frame_drop, given.flag)
    if given.flicker:
        env = Flicker(env, given.flicker, given.flag)
    if given.period != 1:
        env = PeriodicObservation(env, given.period, given.flag)
    if given.reward_delay:
        env = RewardDelay(env, given.reward_delay)
    if trial is not None:
        env = trial if env is trial.env else trial.around(env)
    env = around(env)
    if given.truncation == "terminates":
        env = TruncationTerminates(env)
    if given.previous_action:
        env = PreviousAction(env, start_flag=False)
    if given.reward_input:
        env = RewardInput(env)
    if given.episode_start:
        env = EpisodeStart(env)
    return env


def in_trials(env: Environment, keys: Mapping[str, Any]) -> tuple[Callable[[Environment], Environment], bool]:
    """What puts `Trial` around an environment, if any key asks for it, and whether it does.

    Args:
        env: The environment, without its wrappers.
        keys: Arguments of `Trial`; without `episodes` and `steps` there are no trials.

    Raises:
        UserError: One line that names `trial.<argument>`: it does not fit, there is nothing to
            which it applies, or the environment plays trials by itself.
    """
    check_arguments(Trial, keys, "trial", "need one of", taken={"env"})
    meant = asdict(TrialConfig())
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
    return any(isinstance(wrapper, Trial) for wrapper in wrappers_around(env))


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
