"""The metrics `memory/*`: size and age of the agents' memories at the end of a rollout.

They depend only on the rollout, so they need no state, and a resumed run has the same ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def memory_metrics(memory: Any, starts: Bool[Array, "T B"]) -> dict[str, Float[Array, ""]]:
    """Size and age of B memories. A metric is not finite if a memory is not, which can be right (`finite.py`).

    Args:
        memory: The memories after the last of T tokens: arrays with leading axis B. Norms leave out
            arrays that are not floating point, such as counters and flags. A complex number counts
            with its modulus.
        starts: Which tokens began a new memory.

    Returns:
        `memory/state_norm`, the L2 norm of a memory, mean over the environments;
        `memory/state_max`, the largest modulus in any memory; `memory/age`, how many tokens of this
        rollout a memory holds, mean over the environments (T, the maximum, if the memory is older
        than the rollout); `memory/starts`, new memories in this rollout per environment.
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
