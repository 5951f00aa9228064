"""The automatic reset of environments that live outside of the program.

JAX computes both branches of a choice, so an automatic reset computes a reset in every step of every copy and mostly
throws it away. To arithmetic that is a cost; an environment on the host would really be reset, and asked twice a step.
Hence whoever resets by choice, `step` here and `meta.trial.Trial`, does two things:

* it traces the step inside `about_to_reset`, from where the innermost environment takes the key: the host, which sees
  first that an episode has ended, begins the next one at once and sends its first observation along (`pop_begun`);
* it traces the reset inside `replacing`, from where the innermost environment learns which copies are meant. It asks
  the host again only where an episode was ended by something around the environment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, PRNGKeyArray

BEGUN = "host/begun"  # in the info of a step inside `about_to_reset`


class Begun(NamedTuple):
    """The next episode, where the host has begun it."""

    here: Bool[Array, ""]
    observation: Any
    clock: Int32[Array, ""]


class Replacement(NamedTuple):
    """A reset whose result is used only where `wanted`, and there replaces `state`."""

    wanted: Bool[Array, ""]
    state: Any  # of the innermost environment
    begun: Begun | None


_coming: ContextVar[PRNGKeyArray | None] = ContextVar("coming", default=None)
_replacement: ContextVar[Replacement | None] = ContextVar("replacement", default=None)


def coming_reset() -> PRNGKeyArray | None:
    """The key of the reset that follows the step being traced if it ends the episode; None if none does."""
    return _coming.get()


def replacement() -> Replacement | None:
    """What the reset being traced is for; None where it is not part of a choice."""
    return _replacement.get()


@contextmanager
def about_to_reset(key: PRNGKeyArray) -> Iterator[None]:
    """Trace a step after which a copy whose episode has ended is reset, with this key, inside `replacing`."""
    token = _coming.set(key)
    try:
        yield
    finally:
        _coming.reset(token)


def pop_begun(info: dict[str, Any]) -> tuple[dict[str, Any], Begun | None]:
    """The info of a step that was traced inside `about_to_reset`, and what the host has begun."""
    return {name: value for name, value in info.items() if name != BEGUN}, info.get(BEGUN)


@contextmanager
def replacing(env: Any, wanted: Bool[Array, ""], state: Any, begun: Begun | None) -> Iterator[None]:
    """Trace a reset of `env` that replaces `state` where `wanted`, by what is `begun` where it is."""
    while hasattr(env, "inner_state"):
        state, env = env.inner_state(state), env.env
    token = _replacement.set(Replacement(wanted, state, begun))
    try:
        yield
    finally:
        _replacement.reset(token)


@partial(jax.jit, static_argnames=("env",))
def step(
    env: Any, key: PRNGKeyArray, state: Any, action: Any, params: Any
) -> tuple[Any, Any, Array, Array, Array, dict[str, Any]]:
    """What `Environment.step` of gymnax does, with one call to the host for step and reset."""
    key_step, key_reset = jax.random.split(key)
    with about_to_reset(key_reset):
        final, last, reward, terminated, info = env.step_env(key_step, state, action, params)
    info, begun = pop_begun(info)
    truncated = env.is_truncated(last, params)
    done = terminated | truncated
    with replacing(env, done, last, begun):
        first = env.reset_env(key_reset, params)
    obs, state = jax.tree.map(lambda new, old: jnp.where(done, new, old), first, (final, last))
    info = {**info, "terminated": terminated, "truncated": truncated, "final_observation": final}
    return obs, state, reward, terminated, truncated, info
