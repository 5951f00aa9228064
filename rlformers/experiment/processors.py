"""A processor as several devices of jax, one for each group of agents.

One program keeps little more than one core busy: its operations follow each other and most are small. Agents have
nothing to do with each other, so groups of them run side by side.
"""

import contextlib
import math
import os
from collections.abc import Iterable

import jax


def use_processors(agents: Iterable[int]) -> None:
    """Let the CPU count as several devices, if agents can be divided among its cores.

    Nothing changes if the environment says how many devices there are (`JAX_NUM_CPU_DEVICES`, `XLA_FLAGS`), or if jax
    has begun to compute, as it does where gymnax is imported: call it before.

    Args:
        agents: How many are trained together, in each program that is to come.
    """
    told = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in os.environ.get("XLA_FLAGS", "")
    number = _largest_divisor(math.gcd(*agents), num_cores())
    if number > 1 and not told:
        with contextlib.suppress(RuntimeError):  # too late; one device does as well
            jax.config.update("jax_num_cpu_devices", number)


def are_devices() -> bool:
    """Whether it was not the flags of XLA that made devices of the processor."""
    return jax.default_backend() == "cpu" and jax.config.values["jax_num_cpu_devices"] > 1


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, limit + 1) if number % divisor == 0)
