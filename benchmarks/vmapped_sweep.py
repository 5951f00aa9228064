"""What a sweep over the learning rate costs in one program, compared with one value, and whether results agree.

    python benchmarks/vmapped_sweep.py [--values N] [--rounds N] [--json FILE] [KEY=VALUE ...]

Both run as commands in separate processes, with start and compilation, and take turns. They take
the keys of `rlformers train`. `error` is the largest difference, over values and metrics, between
the first update of the sweep and the first update of the value's own run. The exit code is 1 if it
is above 1e-5. It is 0 on a CPU. On an accelerator, sums in two programs differ in the last digit,
and the optimiser's 32 steps of an update enlarge the difference, to about 1e-4 at a learning rate
of 1e-2.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from numpy import geomspace

TRAIN = [sys.executable, "-m", "rlformers", "train"]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--values", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    arguments = parser.parse_args()
    words = [*arguments.words, "wandb.mode=disabled"]
    values = [float(f"{value:.3g}") for value in geomspace(1e-4, 3e-3, arguments.values)]
    seconds: dict[str, list[float]] = {"one value": [], "sweep": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(arguments.rounds):
            one, sweep = folder / f"one{number}", folder / f"sweep{number}"
            axis = f"ppo.lr={','.join(map(str, values))}"
            seconds["one value"].append(run(folder, *words, f"ppo.lr={values[-1]}", f"run_dir={one}"))
            command = ["--multirun", *words, "vmap_over=ppo.lr", axis, f"run_dir={sweep}"]
            seconds["sweep"].append(run(folder, *command))
        error = 0.0
        for number, value in enumerate(values):
            own = folder / f"own{number}"
            run(folder, *words, f"ppo.lr={value}", f"run_dir={own}")
            error = max(error, difference(first_row(sweep / str(number)), first_row(own)))
    least = {name: min(times) for name, times in seconds.items()}
    ratio = least["sweep"] / least["one value"]
    for name, times in seconds.items():
        print(f"{name:10} {least[name]:7.1f} s (best of {', '.join(f'{time:.1f}' for time in times)})")
    print(f"{len(values)} values in one program take {ratio:.2f} times as long as one; error {error:.1e}")
    if arguments.json:
        about = {"cores": os.cpu_count(), "machine": platform.machine(), "words": arguments.words}
        numbers = {"values": values, "seconds": seconds, "ratio": ratio, "error": error}
        arguments.json.write_text(json.dumps({"about": about} | numbers, indent=1) + "\n")
    return int(error > 1e-5)


def run(folder: Path, *words: str) -> float:
    """Wall-clock seconds of a command with an empty compilation cache."""
    cache = tempfile.mkdtemp(dir=folder)
    begin = time.perf_counter()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
    subprocess.run([*TRAIN, *words], check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def first_row(run_dir: Path) -> dict[str, Any]:
    """The first line of a run's metrics."""
    with (run_dir / "metrics.jsonl").open() as lines:
        return json.loads(next(lines))


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of two rows, relative for numbers above 1; the speed does not count."""
    assert one.keys() == other.keys(), (one.keys(), other.keys())
    pairs = [(one[key], other[key]) for key in one if key != "perf/steps_per_second"]
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs if a is not None)


if __name__ == "__main__":
    sys.exit(main())
