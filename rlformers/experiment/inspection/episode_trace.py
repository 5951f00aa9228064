"""Records episodes of one agent step by step: everything that it saw, computed and did."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from rlformers.agents.agent import Agent
from rlformers.agents.normalizers import normalize_observation
from rlformers.config import ExperimentConfig
from rlformers.envs.environment import Wrapper
from rlformers.envs.wrappers.trial import Trial
from rlformers.errors import UserError
from rlformers.experiment.evaluation.evaluate import Trained, evaluation_key
from rlformers.experiment.program.build import in_precision

CHUNK = 64  # steps per call of the compiled program


class Watched(NamedTuple):
    """Steps in order, as NumPy arrays except for random keys; leading axis T."""

    env_state: Any  # before the step
    obs: Any  # from the environment
    seen: Any  # the input of the agent: normalised if it was trained so
    start: Any  # bool: the observation is the first of a new memory
    policy: Any  # parameters of the action distribution [T, A]
    value: Any
    raw_action: Any  # sample of the distribution
    action: Any  # the input of the environment
    reward: Any
    terminated: Any
    truncated: Any
    norms: dict[str, Any]  # Euclidean norm of each part of the memory after the step, or the number itself [T]


def choose_agent(trained: Trained) -> tuple[int, Agent, Any]:
    """The training seed, agent and moments that the option `agent` names.

    Raises:
        UserError: There is no such training seed.
    """
    config: ExperimentConfig = trained.config
    seed = config.seed if trained.options.agent is None else trained.options.agent
    seeds = range(config.seed, config.seed + config.seeds)
    if seed not in seeds:
        raise UserError(f"agent: {seed} is not one of the training seeds {', '.join(map(str, seeds))}")
    agent, moments = jax.tree.map(lambda leaf: leaf[seeds.index(seed)], (trained.agents, trained.moments))
    return seed, agent, moments


def watch(trained: Trained) -> Watched:
    """Play until `episodes` have ended or `max_steps` have been made."""
    options, env, env_params = trained.options, trained.built.env, trained.built.env_params
    seed, agent, moments = choose_agent(trained)

    def start(key: PRNGKeyArray) -> tuple[Any, ...]:
        key_reset, key = jax.random.split(key)
        return *env.reset(key_reset, env_params), jnp.ones((), bool), agent.core.initial_state(), key

    def step(carry: tuple[Any, ...], _: None) -> tuple[tuple[Any, ...], Watched]:
        obs, env_state, start, memory, key = carry
        key_action, key_env, key = jax.random.split(key, 3)
        seen = obs if moments is None else normalize_observation(moments, agent.as_numbers(obs))
        memory, output = agent.step(memory, seen, start)
        raw = agent.policy.mode(output.policy) if options.greedy else agent.policy.sample(key_action, output.policy)
        action = agent.policy.to_env(raw)
        next_obs, next_state, reward, terminated, truncated, _ = env.step(key_env, env_state, action, env_params)
        step = Watched(
            env_state=env_state,
            obs=obs,
            seen=seen,
            start=start,
            policy=output.policy,
            value=output.value,
            raw_action=raw,
            action=action,
            reward=jnp.asarray(reward, jnp.float32),
            terminated=terminated,
            truncated=truncated,
            norms=norms(memory),
        )
        return (next_obs, next_state, terminated | truncated, memory, key), step

    def advance(carry: tuple[Any, ...]) -> tuple[tuple[Any, ...], Watched]:
        return jax.lax.scan(step, carry, length=min(CHUNK, options.max_steps))

    compiled: Callable[..., Any] = jax.jit(in_precision(trained.config, advance))
    carry = jax.jit(in_precision(trained.config, start))(evaluation_key(options.seed, seed))
    parts: list[Watched] = []
    num_ended = 0
    while num_ended < options.episodes and sum(len(part.start) for part in parts) < options.max_steps:
        carry, part = compiled(carry)
        parts.append(part)
        num_ended += int((part.terminated | part.truncated).sum())
    whole: Watched = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    ends = np.flatnonzero(whole.terminated | whole.truncated)
    T = min(options.max_steps, len(whole.start), *(ends[options.episodes - 1 : options.episodes] + 1))
    whole = jax.tree.map(lambda leaf: leaf[:T], whole)
    return jax.tree.map(_numpy, whole)


def _numpy(leaf: Array) -> Any:
    """Convert to NumPy, since JAX compiles a program for each slice. Random keys stay: NumPy does not know them."""
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)


def norms(memory: Any) -> dict[str, Array]:
    """The Euclidean norm of every array in a memory, and every number as it is, by name."""
    named = {
        jax.tree_util.keystr(path).lstrip("."): leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        for path, leaf in jax.tree_util.tree_leaves_with_path(memory)
        if leaf.size
    }
    return {
        name: jnp.sqrt(jnp.square(jnp.abs(leaf)).sum()) if leaf.ndim else leaf.astype(jnp.float32)
        for name, leaf in named.items()
    }


def episode_numbers(watched: Watched) -> np.ndarray:
    """The number of the episode of every step, from 0: [T]."""
    return np.cumsum(watched.start) - 1


def returns_so_far(watched: Watched) -> np.ndarray:
    """Undiscounted return of the episode up to and including every step: [T]."""
    total = np.cumsum(watched.reward.astype(float))
    first = np.flatnonzero(watched.start)
    before = (total - watched.reward)[first]
    return total - before[episode_numbers(watched)]


def attempts(trained: Trained, watched: Watched) -> np.ndarray | None:
    """The attempt of every step, from 1 in each trial: [T]; None if the environment has no trials."""
    env, state = trained.built.env, watched.env_state
    while isinstance(env, Wrapper):
        if isinstance(env, Trial):
            return np.asarray(state.attempts) + 1
        env, state = env.env, env.inner_state(state)
    return None
