"""What V(final_observation) costs: CPU time per environment step of acting in an environment that truncates.

    python benchmarks/final_value.py [KEY=VALUE ...]

It takes the keys of `rlformers train`. These forms take turns and, except for `none`, compute the same values:

* none: the environment claims that it never truncates, so there is nothing to compute;
* always: two steps of B memories for every step of the environments;
* condition: the second step only after a truncation (`observe`, alone);
* together: one step of 2 B memories (`observe`, vmapped).
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rlformers.agents import acting
from rlformers.agents.sequences import Cut
from rlformers.config.compose import compose
from rlformers.experiment.program.build import build

ROUNDS = 15
DEFAULT = ("env=gymnax/MemoryChain-bsuite", "core=mamba", "model.num_layers=2", "model.width=128")


def always(agent: Any, memory: Any, obs: Any, start: Any, final_obs: Any, truncated: Any, vmapped: bool) -> tuple:
    """`observe` without a condition."""
    step = jax.vmap(agent.step)
    value = step(memory, final_obs, jnp.zeros_like(start))[1].value
    return *step(memory, obs, start), value


def main() -> None:
    """Measure and print."""
    config = compose([*DEFAULT, *sys.argv[1:]])
    built = build(config)
    state = jax.jit(built.learner.init)(jax.random.key(0))
    cut = Cut(config.ppo.num_steps, config.ppo.num_steps, 0)
    world = acting.World(state.env_state, state.obs, state.start, state.memory)
    truncating = built.env
    if getattr(truncating, "never_truncates", False):
        sys.exit(f"env: {config.env} never truncates")

    class Claims:
        never_truncates = True

        def __getattr__(self, name: str) -> Any:
            return getattr(truncating, name)

    def program(env: Any, observe: Callable, vmapped: bool) -> Callable:
        kept, acting.observe = acting.observe, observe
        try:
            run = jax.jit(
                lambda agent, world: acting.act(
                    agent, world, env, built.env_params, lambda x: x, cut, vmapped, jax.random.key(1)
                )
            )
            return run.lower(state.agent, world).compile()
        finally:
            acting.observe = kept

    programs = {
        "none": program(Claims(), acting.observe, False),
        "always": program(truncating, always, False),
        "condition": program(truncating, acting.observe, False),
        "together": program(truncating, acting.observe, True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    rollout = None
    for round_number in range(ROUNDS + 1):
        for name, run in programs.items():
            started = time.process_time()
            result = jax.block_until_ready(run(state.agent, world))
            if round_number:
                seconds[name].append(time.process_time() - started)
            rollout = result[2]
    assert rollout is not None
    share = float(rollout.truncated.any(1).mean())
    where = f"{config.env} {config.core.name} x {config.model.num_layers}"
    print(f"{where}: {100 * share:.0f} % of steps truncate an episode somewhere")
    for name, times in seconds.items():
        print(f"{name:10}{min(times) * 1e6 / config.batch_size:8.2f} us of CPU per environment step")


if __name__ == "__main__":
    main()
