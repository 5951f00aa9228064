"""CPU time of compiled programs. Other work on the machine changes it less than wall-clock time."""

import os
from collections.abc import Callable
from typing import Any

import jax


def cpu_seconds(program: Callable, *arguments: Any, repetitions: int = 5, least: float = 0.2) -> tuple[float, float]:
    """User and system CPU time of one call, from the best repetition. Each has enough calls to measure."""
    jax.block_until_ready(program(*arguments))
    calls, taken = 1, []
    while len(taken) < repetitions:
        begin = os.times()
        for _ in range(calls):
            jax.block_until_ready(program(*arguments))
        end = os.times()
        user, system = end.user - begin.user, end.system - begin.system
        if user + system < least:
            calls = max(2 * calls, int(calls * least / max(user + system, 1e-2)))
        else:
            taken.append((user / calls, system / calls))
    return min(taken, key=sum)
