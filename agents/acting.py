"""Acting: T steps of an agent in B environments, recorded for learning."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from rlformers.agents.agent import Agent, Output
from rlformers.agents.sequences import Cut, scan_sequences

See = Callable[[Any], Any]  # from an environment's observations to the agent's


class World(NamedTuple):
    """B environments and the agent's memories between two steps; leading axis B."""

    env_state: Any
    obs: Any
    start: Bool[Array, " B"]  # whether obs is the first of a new memory
    memory: Any  # before it consumes obs


class Rollout(NamedTuple):
    """What acting produced; leading axes [T, B]."""

    obs: Any  # as the environments return it
    start: Array
    action: Array  # raw, before squashing
    log_prob: Array
    value: Array
    reward: Array
    terminated: Array
    truncated: Array
    final_value: Array  # of info["final_observation"]; valid only where truncated
    episodes: dict[str, Array]  # sums over the episodes that ended in this step, [T, ...]


class _Carry(NamedTuple):
    world: World
    final_obs: Any  # of the step before
    truncated: Bool[Array, " B"]  # in the step before


def act(
    agent: Agent,
    world: World,
    env: Any,
    env_params: Any,
    see: See,
    cut: Cut,
    vmapped: bool,
    key: PRNGKeyArray,
) -> tuple[World, Any, Rollout, Array]:
    """T steps in B environments.

    V(final_observation) after a truncation takes one more step of the memory before the reset,
    whose result is dropped. `act` computes it with the next step, where the memory is at hand.
    Environments that declare that they never truncate skip it.

    Args:
        agent: The agent, with the parameters to act with.
        world: The environments and memories before the first step.
        env: A gymnax 1.x environment.
        env_params: Its params.
        see: Normalises observations.
        cut: T, and where sequences begin.
        vmapped: See `observe`.
        key: For actions and environments.

    Returns:
        The world after T steps; the memories at the starts of sequences [K B, ...]; the rollout;
        V(o_T) [B].
    """
    B = len(world.start)
    can_truncate = not getattr(env, "never_truncates", False)

    def look(carry: _Carry) -> tuple[Any, Output, Array]:
        world = carry.world
        if not can_truncate:
            memory, output = jax.vmap(agent.step)(world.memory, see(world.obs), world.start)
            return memory, output, jnp.zeros(B)
        return observe(agent, world.memory, see(world.obs), world.start, see(carry.final_obs), carry.truncated, vmapped)

    def step(carry: _Carry, key: PRNGKeyArray) -> tuple[_Carry, Rollout]:
        key_action, key_env = jax.random.split(key)
        memory, output, value_before = look(carry)
        action = agent.policy.sample(key_action, output.policy)
        obs, env_state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
            jax.random.split(key_env, B), carry.world.env_state, agent.policy.to_env(action), env_params
        )
        done = terminated | truncated
        rollout = Rollout(
            obs=carry.world.obs,
            start=carry.world.start,
            action=action,
            log_prob=agent.policy.log_prob(output.policy, action),
            value=output.value,
            reward=jnp.asarray(reward, jnp.float32),
            terminated=terminated,
            truncated=truncated,
            final_value=value_before,
            episodes=ended_episodes(info, done),
        )
        final_obs = info["final_observation"] if can_truncate else carry.final_obs
        return _Carry(World(env_state, obs, done, memory), final_obs, truncated), rollout

    memory = jax.vmap(agent.core.prepare, axis_size=B)(world.memory)
    carry = _Carry(world._replace(memory=memory), world.obs, jnp.zeros(B, bool))
    carry, memories, rollout = scan_sequences(
        lambda carry, keys: jax.lax.scan(step, carry, keys),
        carry,
        jax.random.split(key, (cut.K, cut.L)).reshape(cut.T),
        cut,
        lambda carry: carry.world.memory,
    )
    _, output, value_before = look(carry)
    final_value = jnp.concatenate([rollout.final_value[1:], value_before[None]])
    return carry.world, memories, rollout._replace(final_value=final_value), output.value


def observe(
    agent: Agent,
    memory: Any,
    obs: Any,
    start: Bool[Array, " B"],
    final_obs: Any,
    truncated: Bool[Array, " B"],
    vmapped: bool,
) -> tuple[Any, Output, Array]:
    """One step of B memories, and the values [B] of the final observations before a reset.

    Args:
        agent: The agent.
        memory: Before either observation.
        obs: The observation that the memory consumes.
        start: Whether it is the first of a new memory.
        final_obs: The next observation without a reset. It leaves no trace in the memory.
        truncated: Where its value is needed. Elsewhere the value may be any number.
        vmapped: Whether callers vmap this function. If not, it takes one step of B memories, and
            sometimes a second one. Under vmap both sides of a condition are computed, so it takes
            one step of 2 B memories.
    """
    step = jax.vmap(agent.step)
    if vmapped:
        both = jax.tree.map(
            lambda *parts: jnp.concatenate(parts), (memory, obs, start), (memory, final_obs, start & False)
        )
        new, output = step(*both)
        B = len(start)
        first, second = (jax.tree.map(lambda x, half=half: x[half], output) for half in (slice(B), slice(B, None)))
        return jax.tree.map(lambda x: x[:B], new), first, second.value
    value = jax.lax.cond(
        truncated.any(),
        lambda: step(memory, final_obs, jnp.zeros_like(start))[1].value,
        lambda: jnp.zeros(len(start)),
    )
    return *step(memory, obs, start), value


def ended_episodes(info: dict[str, Any], done: Bool[Array, " B"]) -> dict[str, Array]:
    """The number of environments whose episode ended, and the sums of every `info["episode_<name>"]` over them."""
    episodes: dict[str, Array] = {}
    for name, total in info.items():
        if name.startswith("episode_"):
            ended = done.reshape(len(done), *[1] * (total.ndim - 1))
            episodes[name.removeprefix("episode_")] = jnp.where(ended, total, 0).sum(0).astype(jnp.float32)
    return episodes | {"count": done.sum()}  # the learner's count wins over an environment's `episode_count`
