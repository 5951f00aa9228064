"""Environments that live outside of the program, and the one thing they need from it: which resets are meant.

JAX computes both branches of a choice, so an automatic reset computes a reset in every step of every copy and mostly
throws it away. To arithmetic that is a cost; an environment on the host would really be reset. Hence whoever resets by
choice, `step` here and `meta.trial.Trial`, traces the reset inside `replacing`, from where the innermost environment
takes the flag (`replacement`) and passes it on to the host along with its state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray


class Replacement(NamedTuple):
    """A reset whose result is used only where `wanted`, and there replaces `state`."""

    wanted: Bool[Array, ""]
    state: Any  # of the innermost environment


_replacement: ContextVar[Replacement | None] = ContextVar("replacement", default=None)


def replacement() -> Replacement | None:
    """What the reset being traced is for; None where it is not part of a choice."""
    return _replacement.get()


def on_host(env: Any) -> bool:
    """Whether this environment, or the one that it wraps, lives outside of the program."""
    return bool(getattr(env, "on_host", False))


@contextmanager
def replacing(env: Any, wanted: Bool[Array, ""], state: Any) -> Iterator[None]:
    """Trace a reset of `env` that replaces `state` where `wanted`."""
    while hasattr(env, "inner_state"):
        state, env = env.inner_state(state), env.env
    token = _replacement.set(Replacement(wanted, state))
    try:
        yield
    finally:
        _replacement.reset(token)


@partial(jax.jit, static_argnames=("env",))
def step(
    env: Any, key: PRNGKeyArray, state: Any, action: Any, params: Any
) -> tuple[Any, Any, Array, Array, Array, dict[str, Any]]:
    """What `Environment.step` of gymnax does, inside `replacing`."""
    key_step, key_reset = jax.random.split(key)
    final, last, reward, terminated, info = env.step_env(key_step, state, action, params)
    truncated = env.is_truncated(last, params)
    done = terminated | truncated
    with replacing(env, done, last):
        first = env.reset_env(key_reset, params)
    obs, state = jax.tree.map(lambda new, old: jnp.where(done, new, old), first, (final, last))
    info = {**info, "terminated": terminated, "truncated": truncated, "final_observation": final}
    return obs, state, reward, terminated, truncated, info
