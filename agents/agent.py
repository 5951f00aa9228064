"""The agent: encoder, memory core, and separate actor and critic heads."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlformers.agents.encoder import Encoder
from rlformers.agents.policies import Policy, mask_logits
from rlformers.cores.core import Core
from rlformers.cores.layers import Linear, orthogonal

INITIAL_LOG_STD = -0.5


class Output(NamedTuple):
    """What the agent says about an observation."""

    policy: Float[Array, "*T A"]  # parameters of the action distribution
    value: Float[Array, "*T"]


class Head(eqx.Module):
    """One hidden layer and a linear output."""

    hidden: Linear
    out: Linear

    def __init__(self, width: int, num_outputs: int, gain: float, *, key: PRNGKeyArray):
        key_hidden, key_out = jax.random.split(key)
        self.hidden = Linear(width, width, key=key_hidden, init=orthogonal(2**0.5))
        self.out = Linear(width, num_outputs, key=key_out, init=orthogonal(gain))

    def __call__(self, x: Float[Array, "*T D"]) -> Float[Array, "*T A"]:
        """Apply to the last axis."""
        return self.out(jax.nn.relu(self.hidden(x)))


class Agent(eqx.Module):
    """A recurrent actor-critic for ONE environment; callers vmap.

    If an observation is a dict with the key "action_mask" (bool, one per logit), it masks the policy and is not seen
    by the encoder.
    """

    encoder: Encoder
    core: Core
    actor: Head
    critic: Head
    log_std: Float[Array, " A"]  # empty for discrete actions
    policy: Policy = eqx.field(static=True)

    def __init__(
        self,
        obs: Any,
        policy: Policy,
        make_core: Callable[[PRNGKeyArray], Core],
        width: int,
        *,
        key: PRNGKeyArray,
    ):
        key_encoder, key_core, key_actor, key_critic = jax.random.split(key, 4)
        self.policy = policy
        self.encoder = Encoder(without_mask(obs)[0], width, key=key_encoder)
        self.core = make_core(key_core)
        self.actor = Head(width, self.policy.num_outputs, 0.01, key=key_actor)
        self.critic = Head(width, 1, 1.0, key=key_critic)
        self.log_std = jnp.full(self.policy.num_scales, INITIAL_LOG_STD)

    def step(self, memory: Any, obs: Any, start: Bool[Array, ""]) -> tuple[Any, Output]:
        """Observe once. `start` marks the first observation of a memory."""
        obs, mask = without_mask(obs)
        memory, y = self.core.step(memory, self.encoder(obs), start)
        return memory, self.output(y, mask)

    def scan(self, memory: Any, obs: Any, starts: Bool[Array, " T"]) -> tuple[Any, Output]:
        """Observe a segment (leading axis T); equal to T times `step`."""
        obs, mask = without_mask(obs)
        memory, ys = self.core.scan(memory, self.encoder(obs, num_leading=1), starts)
        return memory, self.output(ys, mask)

    def output(self, y: Float[Array, "*T D"], mask: Bool[Array, "*T A"] | None) -> Output:
        """What the heads make of the core's outputs."""
        outputs = self.actor(y)
        if mask is not None:
            outputs = mask_logits(outputs, mask)
        if self.log_std.size:
            outputs = jnp.concatenate([outputs, jnp.broadcast_to(self.log_std, outputs.shape)], axis=-1)
        return Output(outputs, self.critic(y)[..., 0])


def without_mask(obs: Any) -> tuple[Any, Any]:
    """What the encoder sees of an observation, and the mask of the actions, if there is one."""
    if isinstance(obs, dict) and "action_mask" in obs:
        return {name: leaf for name, leaf in obs.items() if name != "action_mask"}, obs["action_mask"]
    return obs, None
