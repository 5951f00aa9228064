"""What the flags of `agents/finite.py` cost: compares an update that returns them with one where XLA removes them.

    python benchmarks/nan_guard.py [KEY=VALUE ...]

It takes the keys of `rlformers train`. The two programs take turns, and their least CPU times are
compared.
"""

import sys
import time

import jax

from rlformers.agents.ppo import TrainState
from rlformers.config.compose import compose
from rlformers.experiment.program.build import build

ROUNDS = 30


def main() -> None:
    """Measure and print."""
    learner = build(compose(sys.argv[1:])).learner

    def unguarded(state: TrainState) -> tuple:
        state, metrics = learner.update(state)
        return state, {name: value for name, value in metrics.items() if name != "finite"}

    state = jax.jit(learner.init)(jax.random.key(0))
    programs = {"with flags": learner.update, "without": unguarded}
    compiled = {name: jax.jit(update).lower(state).compile() for name, update in programs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for update in compiled.values():
        jax.block_until_ready(update(state))
    for _ in range(ROUNDS):
        for name, update in compiled.items():
            started = time.process_time()
            jax.block_until_ready(update(state))
            seconds[name].append(time.process_time() - started)
    least = {name: min(times) for name, times in seconds.items()}
    for name, value in least.items():
        print(f"{name:12}{value * 1e3:10.2f} ms of CPU per update")
    print(
        f"the flags take {100 * (least['with flags'] / least['without'] - 1):.1f} % on {jax.devices()[0].device_kind}"
    )


if __name__ == "__main__":
    main()
