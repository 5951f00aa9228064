"""What the memories of agents look like at the end of a rollout: the metrics `memory/*`.

They follow from the rollout alone, so they need no state of their own, and a resumed run has the same ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def memory_metrics(memory: Any, starts: Bool[Array, "T B"]) -> dict[str, Float[Array, ""]]:
    """Size and age of B memories; not finite where a memory is not, which may be meant (`finite.py`).

    Args:
        memory: After the last of T tokens: arrays with leading axis B. Those that are not floating point, such as
            counters and flags, have no part in a norm; a complex number counts with its modulus.
        starts: Which tokens began a new memory.

    Returns:
        `memory/state_norm`, the L2 norm of everything in a memory, mean over the environments; `memory/state_max`, the
        largest modulus in any of them; `memory/age`, how many tokens of this rollout a memory holds, mean over the
        environments: T, the most there can be, if it has been going on since before; `memory/starts`, new memories in
        this rollout, per environment.
    """
    T, B = starts.shape
    moduli = [jnp.abs(x.reshape(B, -1)) for x in jax.tree.leaves(memory) if jnp.issubdtype(x.dtype, jnp.inexact)]
    moduli = [x.astype(jnp.float32) for x in moduli if x.size]
    squares = sum((jnp.square(x).sum(1) for x in moduli), jnp.zeros(B))
    last_start = jnp.where(starts, jnp.arange(T)[:, None], 0).max(0)
    return {
        "memory/state_norm": jnp.sqrt(squares).mean(),
        "memory/state_max": jnp.stack([jnp.zeros(()), *(x.max() for x in moduli)]).max(),
        "memory/age": (T - last_start).mean(),
        "memory/starts": starts.sum() / B,
    }
