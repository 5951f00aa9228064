"""The agent: encoder, memory core, and separate actor and critic heads."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlformers.agents.bounds import bounded
from rlformers.agents.encoder import Encoder
from rlformers.agents.heads import Head
from rlformers.agents.hl_gauss import value_of_logits
from rlformers.agents.masks import check_mask, without_mask
from rlformers.agents.policies import Policy, mask_logits
from rlformers.config import ModelConfig
from rlformers.cores.core import Core
from rlformers.cores.layers import Norm, make_norm

DEFAULTS = ModelConfig()


class Output(NamedTuple):
    """The agent's output for an observation."""

    policy: Float[Array, "*T A"]  # parameters of the action distribution
    value: Float[Array, "*T"]
    value_logits: Float[Array, "*T K"]  # their mean is the value; K = 0 for the scalar critic


class Agent(eqx.Module):
    """A recurrent actor-critic for ONE environment; callers vmap.

    If an observation is a dict with the key "action_mask" (bool, one per logit), the mask goes to
    the policy and not to the encoder.
    """

    encoder: Encoder
    core: Core
    final_norm: Norm
    actor: Head
    critic: Head
    log_std: Float[Array, " A"]  # before `bounded`; empty for discrete actions
    policy: Policy = eqx.field(static=True)
    critic_kind: str = eqx.field(static=True)  # scalar or hl_gauss
    value_limit: float = eqx.field(static=True)  # for hl_gauss
    log_std_bounds: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        obs: Any,
        policy: Policy,
        make_core: Callable[[PRNGKeyArray], Core],
        width: int,
        *,
        key: PRNGKeyArray,
        model: ModelConfig = DEFAULTS,
        bounds: tuple[Any, Any] | None = None,
        symbols: Sequence[tuple[int, ...]] | None = None,
    ):
        """Build an agent.

        Args:
            obs: An observation of one environment, as arrays or `jax.ShapeDtypeStruct`s.
            policy: The policy of its actor.
            make_core: Builds the core from a key.
            width: D.
            key: For the initial parameters.
            model: The options of encoder, heads, norm, critic and log std. Its width, core and
                policy do not count.
            bounds: Lower and upper bounds of observations, two pytrees like `obs`. The encoder
                scales observations by them. None means unknown.
            symbols: For each leaf, how many values its integers have if they are symbols, see
                `Encoder`. None means that there are no symbols.

        Raises:
            ValueError: The encoder cannot read the observations, or the mask does not fit the
                policy.
        """
        seen, mask = without_mask(obs)
        check_mask(mask, policy)
        seen_bounds = None if bounds is None else (without_mask(bounds[0])[0], without_mask(bounds[1])[0])
        key_encoder, key_core, key_actor, key_critic = jax.random.split(key, 4)
        head = functools.partial(Head, width, num_layers=model.head_layers, activation=model.activation)
        self.policy = policy
        self.encoder = Encoder(
            seen,
            width,
            key=key_encoder,
            num_layers=model.encoder_layers,
            activation=model.activation,
            bounds=seen_bounds,
            symbols=symbols,
        )
        self.core = make_core(key_core)
        self.final_norm = make_norm(model.final_norm, width)
        self.actor = head(policy.num_outputs, 0.01, key=key_actor)
        # Small logits, so that all bins are alike at first and the value is about 0.
        num_values, gain = (model.value_bins, 0.01) if model.critic == "hl_gauss" else (1, 1.0)
        self.critic = head(num_values, gain, key=key_critic)
        self.critic_kind, self.value_limit = model.critic, model.value_limit
        self.log_std = jnp.full(policy.num_scales, model.log_std)
        self.log_std_bounds = (model.log_std_min, model.log_std_max)

    def step(self, memory: Any, obs: Any, start: Bool[Array, ""]) -> tuple[Any, Output]:
        """Observe once. `start` marks the first observation of a memory."""
        obs, mask = without_mask(obs)
        memory, y = self.core.step(memory, self.encoder(obs), start)
        return memory, self.output(y, mask)

    def scan(self, memory: Any, obs: Any, starts: Bool[Array, " T"]) -> tuple[Any, Output]:
        """Observe a segment (leading axis T); equal to T calls of `step`."""
        obs, mask = without_mask(obs)
        memory, ys = self.core.scan(memory, self.encoder(obs, num_leading=1), starts)
        return memory, self.output(ys, mask)

    def as_numbers(self, obs: Any, num_leading: int = 0) -> Any:
        """What can be normalised of observations, see `Encoder.as_numbers`; a mask stays."""
        seen, mask = without_mask(obs)
        seen = self.encoder.as_numbers(seen, num_leading)
        return seen if mask is None else {**seen, "action_mask": mask}

    def output(self, y: Float[Array, "*T D"], mask: Bool[Array, "*T A"] | None) -> Output:
        """The heads' output for the core's outputs."""
        y = self.final_norm(y)
        outputs, values = self.actor(y), self.critic(y)
        if mask is not None:
            outputs = mask_logits(outputs, mask)
        if self.log_std.size:
            log_std = bounded(self.log_std, *self.log_std_bounds)
            outputs = jnp.concatenate([outputs, jnp.broadcast_to(log_std, outputs.shape)], axis=-1)
        if self.critic_kind == "hl_gauss":
            return Output(outputs, value_of_logits(values, self.value_limit), values)
        return Output(outputs, values[..., 0], values[..., :0])
