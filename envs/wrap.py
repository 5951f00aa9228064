"""The wrappers for partial observability as keywords, for `wrap.*` of an experiment and `make_env(..., wrap={...})`."""

from typing import Any

from rlformers.envs.environment import Environment
from rlformers.envs.pace import ActionRepeat, RewardDelay
from rlformers.envs.partial import Delay, Flicker, FrameDrop, Mask, Noise, PeriodicObservation


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
) -> Environment:
    """Put wrappers around an environment, in the order of the arguments: `action_repeat` innermost.

    What a default says is not added: a sensor first sees less (mask, noise), then is late (delay), then loses or blanks
    what it sends; all of them count the agent's steps, not those that an action is repeated for.

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

    Raises:
        ValueError: One line that names `wrap.<argument>`, what is allowed and what was given.
    """
    if flag and not frame_drop and not flicker and period == 1:
        raise ValueError("wrap.flag: there is nothing to tell without wrap.frame_drop, wrap.flicker or wrap.period")
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
    return env
