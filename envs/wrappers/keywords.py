"""The wrappers as keywords, for `wrap.*` of an experiment and `make_env(..., wrap={...})`."""

from typing import Any

from rlformers.envs.environment import Environment
from rlformers.envs.wrappers import EpisodeStart, PreviousAction, RewardInput, TruncationTerminates
from rlformers.envs.wrappers.partial_observability import Delay, Flicker, FrameDrop, Mask, Noise, PeriodicObservation
from rlformers.envs.wrappers.timing import ActionRepeat, RewardDelay
from rlformers.envs.wrappers.trial import Trial
from rlformers.errors import UserError

TRUNCATIONS = ("bootstraps", "terminates")


def wrap(
    env: Environment,
    action_repeat: int = 1,
    mask: Any = None,
    noise: float = 0.0,
    delay: int = 0,
    frame_drop: float = 0.0,
    flicker: float = 0.0,
    period: int = 1,
    flag: bool = False,
    reward_delay: int = 0,
    truncation: str = "bootstraps",
    previous_action: bool = False,
    reward_input: bool = False,
    episode_start: bool = False,
) -> Environment:
    """Put wrappers around an environment, in the order of the arguments: `action_repeat` innermost.

    What a default says is not added: a sensor first sees less (mask, noise), then is late (delay), then loses or blanks
    what it sends; all of them count the agent's steps, not those that an action is repeated for. What the agent is told
    of the step before is of this step and never blank. Trials are played of what these wrappers make of the environment
    inside, so that an episode is an attempt; from `truncation` on they are about the trial.

    Args:
        env: Any environment.
        action_repeat: k of `ActionRepeat`.
        mask: Entries to hide, see `Mask`.
        noise: Standard deviation of `Noise`.
        delay: Steps of `Delay`.
        frame_drop: Probability of `FrameDrop`.
        flicker: Probability of `Flicker`.
        period: k of `PeriodicObservation`.
        flag: Tell the agent which observations are blank or old, for the last three.
        reward_delay: Steps of `RewardDelay`.
        truncation: "bootstraps" leaves ends as they are, "terminates" is `TruncationTerminates`.
        previous_action: Show the agent its last action, see `PreviousAction`.
        reward_input: Show the agent its last reward, see `RewardInput`; after `reward_delay`, what it was paid.
        episode_start: Show the agent a start flag, see `EpisodeStart`.

    Raises:
        UserError: One line that names `wrap.<argument>`, what is allowed and what was given.
    """
    if flag and not frame_drop and not flicker and period == 1:
        raise UserError("wrap.flag: there is nothing to tell without wrap.frame_drop, wrap.flicker or wrap.period")
    if truncation not in TRUNCATIONS:
        raise UserError(f"wrap.truncation: need one of {', '.join(TRUNCATIONS)}, got {truncation!r}")
    trial = env if isinstance(env, Trial) else None
    if trial is not None:
        env = trial.env
    if action_repeat != 1:
        env = ActionRepeat(env, action_repeat)
    if mask is not None:
        env = Mask(env, mask)
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
    if truncation == "terminates":
        env = TruncationTerminates(env)
    if previous_action:
        env = PreviousAction(env, start_flag=False)
    if reward_input:
        env = RewardInput(env)
    if episode_start:
        env = EpisodeStart(env)
    return env
