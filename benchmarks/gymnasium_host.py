"""Steps per second of CartPole-v1 of Gymnasium: the host's loop, training with a GRU, and Gymnasium's SyncVectorEnv.

    python benchmarks/gymnasium_host.py [--before TREE] [--rounds 7] [--copies 8 64]

Each has a process of its own. They take turns, so that other work on the machine meets all of them alike; the figures
are medians over the rounds, per second of CPU time and of wall-clock time. `--before` adds the same of another checkout
of this repository.

* loop: a jitted scan of 128 steps with random actions;
* train: updates of the default agent with core=gru, 128 steps each;
* sync: SyncVectorEnv alone, which resets itself in the same step, with random actions.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STEPS = 128
KINDS = ("sync", "loop", "train")


def sync(num_envs: int) -> Callable[[], None]:
    import gymnasium
    import numpy as np

    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make("CartPole-v1")] * num_envs, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
    )
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, (STEPS, num_envs))

    def run() -> None:
        for action in actions:
            envs.step(action)

    return run


def loop(num_envs: int) -> Callable[[], None]:
    import jax

    from rlformers.envs.registry import make_env

    env, params = make_env("gymnasium/CartPole-v1")

    def step(state, key):
        keys = jax.random.split(key, num_envs)
        action = jax.random.randint(key, (num_envs,), 0, 2)
        _, state, reward, *_ = jax.vmap(env.step, (0, 0, 0, None))(keys, state, action, params)
        return state, reward

    scan = jax.jit(lambda state, key: jax.lax.scan(step, state, jax.random.split(key, STEPS)))
    _, state = jax.jit(jax.vmap(env.reset, (0, None)))(jax.random.split(jax.random.key(0), num_envs), params)
    return _again(scan, state)


def train(num_envs: int) -> Callable[[], None]:
    import jax

    from rlformers.config.compose import compose
    from rlformers.experiment.program.build import build

    config = compose(
        [
            "env=gymnasium/CartPole-v1",
            "core=gru",
            f"ppo.num_envs={num_envs}",
            f"ppo.num_steps={STEPS}",
            "ppo.update_epochs=4",
        ]
    )
    built = build(config)
    update = jax.jit(lambda state, _: built.learner.update(state))
    return _again(update, jax.jit(built.learner.init)(jax.random.key(0)))


def _again(program: Callable, state: object) -> Callable[[], None]:
    """Run a program from where it stopped."""
    import jax

    now, keys = [state], iter(range(10**9))

    def run() -> None:
        now[0], _ = jax.block_until_ready(program(now[0], jax.random.key(next(keys))))

    return run


def serve(kind: str, num_envs: int) -> None:
    """Measure whenever a line arrives: CPU and wall-clock seconds per step of one copy."""
    run = {"sync": sync, "loop": loop, "train": train}[kind](num_envs)
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        repetitions = int(line)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(repetitions):
            run()
        steps = repetitions * STEPS * num_envs
        print((time.process_time() - cpu) / steps, (time.perf_counter() - wall) / steps, flush=True)


def start(tree: Path, kind: str, num_envs: int) -> subprocess.Popen:
    """The process of one measurement, ready."""
    command = [sys.executable, __file__, "--serve", kind, str(num_envs)]
    environment = os.environ | {"PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while (line := process.stdout.readline()) != "ready\n":
        if not line:
            sys.exit(f"{kind} of {tree} ended before it was ready")
    return process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--copies", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve[0], int(arguments.serve[1]))
        return
    here = Path(__file__).parents[1]
    trees = {"": here} | ({" before": arguments.before} if arguments.before else {})
    for num_envs in arguments.copies:
        processes = {"sync": start(here, "sync", num_envs)}
        for kind in KINDS[1:]:
            processes |= {kind + name: start(tree, kind, num_envs) for name, tree in trees.items()}
        taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in processes}
        repetitions = max(1, 128 // num_envs)
        for _ in range(arguments.rounds):
            for name, process in processes.items():
                print(repetitions, file=process.stdin, flush=True)
                taken[name].append(tuple(map(float, process.stdout.readline().split())))
        for name, process in processes.items():
            process.stdin.close()
            process.wait()
            cpu, wall = (1 / statistics.median(column) for column in zip(*taken[name], strict=True))
            print(f"{num_envs:3} copies  {name:12}  {cpu:8,.0f} steps per CPU second  {wall:8,.0f} per second")


if __name__ == "__main__":
    main()
