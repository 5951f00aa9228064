"""Writes `envs/random_returns.json`: returns of uniformly random actions, the zero of normalised returns.

    python -m tools.random_returns [ID ...]

measures some ids again, or all built-in ones, in their default configurations. Environments that
are not installed keep their line.
"""

import json
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.registry import BUILT_IN, make_env
from rlformers.envs.scores import stored_random_returns

EPISODES = 1000
# No built-in episode is longer.
_MOST_STEPS = 5000


def random_returns(env: Any, params: Any, key: PRNGKeyArray, num_episodes: int) -> Float32[Array, " N"]:
    """Undiscounted returns of N episodes of uniformly random actions; boxes between their bounds."""
    actions = env.action_space(params)

    def step(carry: tuple) -> tuple:
        key, state, done, total, steps = carry
        key, key_action, key_step = jax.random.split(key, 3)
        action = jax.vmap(partial(spaces.sample, actions))(jax.random.split(key_action, num_episodes))
        keys = jax.random.split(key_step, num_episodes)
        _, state, reward, terminated, truncated, _ = jax.vmap(env.step, (0, 0, 0, None))(keys, state, action, params)
        return key, state, done | terminated | truncated, total + jnp.where(done, 0.0, reward), steps + 1

    key, key_reset = jax.random.split(key)
    _, state = jax.vmap(env.reset, (0, None))(jax.random.split(key_reset, num_episodes), params)
    start = (key, state, jnp.zeros(num_episodes, bool), jnp.zeros(num_episodes), 0)
    *_, total, _ = jax.lax.while_loop(lambda carry: ~carry[2].all() & (carry[4] < _MOST_STEPS), step, start)
    return total.astype(jnp.float32)


def measure(env_id: str) -> dict[str, float]:
    """Mean return and its standard error, over `EPISODES` episodes.

    Raises:
        ValueError: The environment is not installed, or unknown.
    """
    env, params = make_env(env_id, raw=True)
    returns = np.asarray(jax.jit(random_returns, static_argnums=(0, 3))(env, params, jax.random.key(0), EPISODES))
    return {"mean": round(float(returns.mean()), 4), "sem": round(float(returns.std() / EPISODES**0.5), 4)}


def main(ids: list[str]) -> None:
    """Write the file."""
    stored = stored_random_returns()
    for env_id in ids or BUILT_IN:
        if BUILT_IN[env_id].extra or "MNIST" in env_id:
            continue
        try:
            stored[env_id] = measure(env_id)
        except ValueError as error:
            print(error)
        print(env_id, stored.get(env_id), flush=True)
    lines = (f"  {json.dumps(env_id)}: {json.dumps(stored[env_id])}" for env_id in BUILT_IN if env_id in stored)
    Path(str(files("rlformers.envs"))).joinpath("random_returns.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
