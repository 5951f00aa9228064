"""Masks of actions that environments of Gymnasium keep beside their observations."""

from typing import Any

import gymnasium
import numpy as np

from rlformers.errors import UserError

SOURCES = ("auto", "info", "method")
METHOD = "action_masks"  # what sb3-contrib's MaskablePPO asks for


class ShowsMask(gymnasium.Wrapper):
    """Puts the mask of actions into the observation, which becomes a Dict with "action_mask", one bool per choice.

    Args:
        env: An environment with discrete actions.
        source: "info" is `info["action_mask"]` of resets and steps, "method" what `action_masks()` returns, "auto" the
            method if there is one, else the info. At the end of an episode, an info may leave it out: all are allowed.

    Raises:
        UserError: There is no mask there, or the actions are continuous.
    """

    def __init__(self, env: gymnasium.Env, source: str):
        super().__init__(env)
        if source not in SOURCES:
            raise UserError(f"env_kwargs.action_mask: need one of {', '.join(SOURCES)} or null, got {source!r}")
        actions: Any = env.action_space
        if not isinstance(actions, gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete):
            raise UserError(f"env_kwargs.action_mask: need discrete actions, this environment has {actions}")
        self.size = int(actions.n if isinstance(actions, gymnasium.spaces.Discrete) else actions.nvec.sum())
        has_method = env.has_wrapper_attr(METHOD)
        if source == "method" and not has_method:
            raise UserError(f"env_kwargs.action_mask: this environment has no method {METHOD}()")
        self.by_method = has_method if source == "auto" else source == "method"
        space = env.observation_space
        parts = dict(space.spaces) if isinstance(space, gymnasium.spaces.Dict) else {"observation": space}
        parts["action_mask"] = gymnasium.spaces.MultiBinary(self.size)
        self.whole = isinstance(space, gymnasium.spaces.Dict)
        self.observation_space = gymnasium.spaces.Dict(parts)

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode."""
        observation, info = self.env.reset(**kwargs)
        return self._show(observation, info, over=False), info

    def step(self, action: Any) -> Any:
        """Make a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        shown = self._show(observation, info, over=bool(terminated or truncated))
        return shown, reward, terminated, truncated, info

    def _show(self, observation: Any, info: dict[str, Any], over: bool) -> dict[str, Any]:
        mask = self.env.get_wrapper_attr(METHOD)() if self.by_method else info.get("action_mask")
        if mask is None and over:
            mask = np.ones(self.size, bool)
        if mask is None:
            names = ", ".join(sorted(map(str, info))) or "nothing"
            raise UserError(f"env_kwargs.action_mask: its info has no 'action_mask', but {names}")
        parts = mask if isinstance(mask, tuple | list) and np.ndim(mask[0]) else [mask]
        flat = np.concatenate([np.ravel(part) for part in parts])
        if flat.shape != (self.size,) or not np.isin(flat, (0, 1)).all():
            raise UserError(f"env: the action_mask is {flat.dtype}[{flat.size}], need {self.size} truth values")
        shown = dict(observation) if self.whole else {"observation": observation}
        return {**shown, "action_mask": flat.astype(np.int8)}
