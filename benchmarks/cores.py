"""What each core costs on this machine: time per token, compilation, memory.

    python benchmarks/cores.py [CORE ...] [--json FILE]

It prints the time per token of a segment of T = 128, 1024, 4096 (forward and backward, one
sequence) and the time per token of `step` at batch 1 and 64. Times are microseconds of CPU time
with the kernel's part, the best of several repetitions. It also prints the seconds to compile the
segment of 128, and the temporary memory that XLA plans for its forward and backward pass. `growth`
is the time per token at 4096 divided by the time at 128: 1 if the core is linear in T. `kernel` is
the kernel's part of the time at 4096: glibc returns buffers above 32 MB to the system after every
call, and the system zeroes each of their pages again.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import jax
import jax.numpy as jnp
from timing import cpu_seconds

from rlformers.cores.registry import built_in, make_core

WIDTH = 64
LENGTHS = (128, 1024, 4096)
BATCHES = (1, 64)
STEPS = 128  # steps of the loop that times `step`


def main() -> None:
    """Measure and print a line per core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cores", nargs="*", metavar="CORE", default=built_in())
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    arguments = parser.parse_args()
    columns = [f"T={T}" for T in LENGTHS] + ["growth", "kernel"] + [f"step B={B}" for B in BATCHES]
    columns += ["compile s", "temp KiB"]
    print(f"{'core':18}" + "".join(f"{column:>11}" for column in columns))
    table = {}
    for name in arguments.cores:
        table[name] = dict(zip(columns, measure(name), strict=True))
        print(f"{name:18}" + "".join(f"{number:11.2f}" for number in table[name].values()), flush=True)
    if arguments.json:
        device = f"{jax.devices()[0].device_kind}, {platform.machine()}"
        about = {"device": device, "jax": jax.__version__, "width": WIDTH, "unit": "microseconds of CPU per token"}
        arguments.json.write_text(json.dumps({"about": about, "cores": table}, indent=1) + "\n")


def measure(name: str) -> list[float]:
    """The columns of one core."""
    core = make_core(name, WIDTH, key=jax.random.key(0))
    empty = core.initial_state()

    def loss(core, xs, starts):
        return jnp.sin(core.scan(empty, xs, starts)[1]).sum()

    def act(core, xs, starts):
        """STEPS steps of B environments."""
        states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (xs.shape[1], *leaf.shape)), empty)
        return jax.lax.scan(lambda states, token: jax.vmap(core.step)(states, *token), states, (xs, starts))

    segments, compile_seconds, temporary = [], 0.0, 0.0
    for T in LENGTHS:
        xs, starts = jax.random.normal(jax.random.key(1), (T, WIDTH)), jnp.zeros(T, bool)
        begin = time.perf_counter()
        program = jax.jit(jax.grad(loss, (0, 1))).lower(core, xs, starts).compile()
        if not compile_seconds:
            compile_seconds = time.perf_counter() - begin
            temporary = program.memory_analysis().temp_size_in_bytes / 1024
        user, kernel = cpu_seconds(program, core, xs, starts)
        segments.append((user + kernel) / T * 1e6)
    steps = []
    for B in BATCHES:
        xs, starts = jax.random.normal(jax.random.key(1), (STEPS, B, WIDTH)), jnp.zeros((STEPS, B), bool)
        taken = cpu_seconds(jax.jit(act).lower(core, xs, starts).compile(), core, xs, starts)
        steps.append(sum(taken) / STEPS / B * 1e6)
    return [*segments, segments[-1] / segments[0], kernel / LENGTHS[-1] * 1e6, *steps, compile_seconds, temporary]


if __name__ == "__main__":
    main()
