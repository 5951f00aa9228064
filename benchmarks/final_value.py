"""What V(final_observation) costs, in acting and in a whole update of an environment that truncates.

    python benchmarks/final_value.py [KEY=VALUE ...]

It takes the keys of `rlformers train`. These forms take turns and, except for `none`, compute the
same values:

* none: the environment claims that it never truncates, so there is nothing to compute;
* always: two steps of B memories for every step of the environments;
* condition: the second step only after a truncation (`observe`, alone);
* together: one step of 2 B memories (`observe`, vmapped).

Printed is the CPU time per environment step, the best of all rounds, and by how much the value loss
differs from that of `always`.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from rlformers.agents import acting
from rlformers.agents.ppo import TrainState, ppo
from rlformers.agents.sequences import Cut
from rlformers.config.compose import compose
from rlformers.experiment.program.build import Built, build

ROUNDS = 15
DEFAULT = ("env=gymnax/MemoryChain-bsuite", "core=mamba", "model.num_layers=2", "model.width=128")


class NeverTruncates:
    """An environment with the claim that it never truncates."""

    never_truncates = True

    def __init__(self, env: Any):
        self._env = env

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


def always(agent: Any, memory: Any, obs: Any, start: Any, final_obs: Any, truncated: Any, vmapped: bool) -> tuple:
    """`observe` without a condition."""
    step = jax.vmap(agent.step)
    value = step(memory, final_obs, jnp.zeros_like(start))[1].value
    return *step(memory, obs, start), value


@contextmanager
def observing(observe: Callable) -> Iterator[None]:
    """Trace `act` with another `observe`."""
    kept, acting.observe = acting.observe, observe
    try:
        yield
    finally:
        acting.observe = kept


def programs(config: Any, built: Built, state: TrainState) -> dict[str, tuple[Callable, Callable]]:
    """By form: acting and a whole update, compiled functions of the state."""
    cut = Cut(config.ppo.num_steps, config.ppo.num_steps, 0)

    def compiled(env: Any, observe: Callable, vmapped: bool) -> tuple[Callable, Callable]:
        def act(state: TrainState) -> Any:
            world = acting.World(state.env_state, state.obs, state.start, state.memory)
            key = jax.random.key(1)
            return acting.act(state.agent, world, env, built.env_params, lambda x: x, cut, vmapped, key)[2]

        learner = ppo(config.ppo, env, built.env_params, built.make_agent, config.num_updates, vmapped=vmapped)
        with observing(observe):
            acts, updates = (jax.jit(f).lower(state).compile() for f in (act, lambda s: learner.update(s)[1]))
        return acts, updates

    return {
        "none": compiled(NeverTruncates(built.env), acting.observe, False),
        "always": compiled(built.env, always, False),
        "condition": compiled(built.env, acting.observe, False),
        "together": compiled(built.env, acting.observe, True),
    }


def main() -> None:
    """Measure and print."""
    config = compose([*DEFAULT, *sys.argv[1:]])
    built = build(config)
    if getattr(built.env, "never_truncates", False):
        sys.exit(f"env: {config.env} never truncates")
    state = jax.jit(built.learner.init)(jax.random.key(0))
    forms = programs(config, built, state)
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in forms}
    loss, share = {}, 0.0
    for _ in range(ROUNDS):
        for name, (act, update) in forms.items():
            for run, times in zip((act, update), seconds[name], strict=True):
                started = time.process_time()
                result = jax.block_until_ready(run(state))
                times.append(time.process_time() - started)
                if run is act:
                    share = float(result.truncated.any(1).mean()) if name == "condition" else share
                else:
                    loss[name] = float(result["ppo/value_loss"])
    where = f"{config.env} {config.core.name} x {config.model.num_layers}"
    print(f"{where}: {100 * share:.0f} % of steps truncate an episode somewhere")
    for name, (acts, updates) in seconds.items():
        acting_us, update_us = (min(times) * 1e6 / config.batch_size for times in (acts, updates))
        difference = f"{loss[name] / loss['always'] - 1:+.1e}" if name != "none" else ""
        print(f"{name:10}{acting_us:8.2f} us acting{update_us:8.2f} us update  value loss {difference}")


if __name__ == "__main__":
    main()
