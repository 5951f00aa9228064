"""Compare the cores with the golden vectors of a folder.

    python tests/oracles/check_vectors.py DIR [--x64]

Prints the largest error of every array and stops with exit code 1 at the first file out of tolerance.
"""

import argparse
import sys
from pathlib import Path

import jax


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--x64", action="store_true", help="in float64, to 1e-10")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", arguments.x64)
    jax.config.update("jax_default_matmul_precision", "highest")
    from vectors import check

    paths = sorted(arguments.folder.glob("*.npz"))
    if not paths:
        parser.error(f"no .npz files in {arguments.folder}")
    unknown, checked = [], 0
    for path in paths:
        try:
            results = check(path)
        except (KeyError, ValueError, TypeError) as error:
            print(f"{path.name}: FAILED, {type(error).__name__}: {error}")
            return 1
        if not results:
            unknown.append(path.stem)
            continue
        checked += 1
        print(path.name)
        for name, error, ratio in results:
            print(f"  {name:42s} {error:.1e}  {'ok' if ratio <= 1 else 'OUT OF TOLERANCE'}")
        if any(ratio > 1 for _, _, ratio in results):
            return 1
    print(f"{checked} files within tolerance" + (f"; not checked: {', '.join(unknown)}" if unknown else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
