"""What each environment costs on this machine, and its share of a training loop.

    python benchmarks/envs.py [PREFIX ...] [--json FILE]

Without a prefix it takes all environments that need no other package. For each, with the learner's
wrappers, automatic resets and episode statistics, it prints the steps per second of user CPU time
under uniformly random actions at 64 and 1024 copies, and the seconds of CPU time to compile 64
copies. `share` is the environment's part of a PPO loop with a GRU of width 64 (64 copies, 128
steps, the defaults of `rlformers train`): its time per step at 64 copies divided by that time plus
the rest of the loop. The rest comes from popgym/RepeatPreviousEasy in the same run. `bytes` is what
the learner stores of an observation.
"""

import argparse
import functools
import json
import platform
import time
from pathlib import Path

import jax
from timing import cpu_seconds

from rlformers.config.compose import compose
from rlformers.envs.registry import BUILT_IN
from rlformers.experiment.program.build import build

COPIES = (64, 1024)
STEPS = 128
REFERENCE = "popgym/RepeatPreviousEasy"
DOWNLOADS = ("gymnax/MNISTBandit-bsuite",)


def main() -> None:
    """Measure and print a line per environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prefixes", nargs="*", metavar="PREFIX", default=[""], help="popgym/Repeat, meta/, ...")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    arguments = parser.parse_args()
    names = [
        name
        for name, entry in BUILT_IN.items()
        if name.startswith(tuple(arguments.prefixes))
        and (not entry.extra or arguments.prefixes != [""])
        and name not in DOWNLOADS
    ]
    rest = loop_seconds() - env_seconds(REFERENCE, COPIES[0])[0]
    print(f"the loop without its environment: {rest * 1e6:.1f} microseconds of user CPU per step")
    columns = [f"steps/s B={copies}" for copies in COPIES] + ["share %", "compile s", "bytes"]
    print(f"{'env':40}" + "".join(f"{column:>16}" for column in columns))
    table = {}
    for name in names:
        (few, compile_seconds), (many, _) = (env_seconds(name, copies) for copies in COPIES)
        numbers = (1 / few, 1 / many, 100 * few / (few + rest), compile_seconds, stored_bytes(name))
        table[name] = dict(zip(columns, numbers, strict=True))
        print(f"{name:40}" + "".join(f"{number:16,.1f}" for number in table[name].values()), flush=True)
    if arguments.json:
        device = f"{jax.devices()[0].device_kind}, {platform.machine()}"
        about = {"device": device, "jax": jax.__version__, "loop_without_env_us": rest * 1e6, "time": "user CPU"}
        arguments.json.write_text(json.dumps({"about": about, "envs": table}, indent=1) + "\n")


def stored_bytes(name: str) -> int:
    """Bytes of an observation in a rollout."""
    env, params, *_ = build(compose([f"env={name}"]))
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(obs))


def loop_seconds() -> float:
    """User CPU time of a training loop per environment step."""
    config = compose([f"env={REFERENCE}", "core=gru"])
    learner = build(config).learner
    state = jax.jit(learner.init)(jax.random.key(0))
    user, _ = cpu_seconds(jax.jit(learner.update).lower(state).compile(), state)
    return user / config.batch_size


@functools.cache
def env_seconds(name: str, copies: int) -> tuple[float, float]:
    """User CPU time per environment step, and CPU time of compilation, in seconds."""
    env, params, *_ = build(compose([f"env={name}"]))
    space = env.action_space(params)

    def act(key, carry):
        """STEPS steps of all copies. It returns what the learner stores, so that XLA removes none of it."""

        def step(carry, key):
            _, states = carry
            actions = jax.vmap(space.sample)(jax.random.split(key, copies))
            obs, states, *outcome = jax.vmap(env.step, (0, 0, 0, None))(
                jax.random.split(key, copies), states, actions, params
            )
            return (obs, states), (obs, outcome)

        return jax.lax.scan(step, carry, jax.random.split(key, STEPS))

    carry = jax.jit(jax.vmap(env.reset, (0, None)))(jax.random.split(jax.random.key(0), copies), params)
    begin = time.process_time()
    program = jax.jit(act).lower(jax.random.key(1), carry).compile()
    compile_seconds = time.process_time() - begin
    user, _ = cpu_seconds(program, jax.random.key(1), carry)
    return user / STEPS / copies, compile_seconds


if __name__ == "__main__":
    main()
