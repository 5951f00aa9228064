"""Masks of actions: the part "action_mask" of an observation that is a dict, true where an action is possible."""

from typing import Any

from rlformers.agents.policies import CategoricalPolicy, Policy
from rlformers.errors import UserError


def without_mask(obs: Any) -> tuple[Any, Any]:
    """What the encoder sees of an observation, and the mask of the actions, if there is one."""
    if isinstance(obs, dict) and "action_mask" in obs:
        return {name: leaf for name, leaf in obs.items() if name != "action_mask"}, obs["action_mask"]
    return obs, None


def check_mask(mask: Any, policy: Policy) -> None:
    """Check that a mask, if there is one, says of every logit of a discrete choice whether it is allowed.

    Raises:
        UserError: It has another type or shape, or actions are continuous.
    """
    if mask is None:
        return
    if not isinstance(policy, CategoricalPolicy):
        raise UserError("env: an action_mask is for discrete actions, and those of this environment are continuous")
    if mask.dtype != bool or mask.shape != (policy.num_outputs,):
        sizes = ", ".join(map(str, mask.shape))
        raise UserError(f"env: the action_mask is {mask.dtype}[{sizes}], need bool[{policy.num_outputs}]")
