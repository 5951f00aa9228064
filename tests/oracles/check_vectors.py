"""Compare the cores with the golden vectors of a folder.

    python tests/oracles/check_vectors.py DIR [--x64]

Which function compares a file is told by how its name begins (`gru_torch.npz`, `gru_torch_1.npz`). Prints the largest
error of every array, and which arrays are not compared. Exit code 1: at the first file out of tolerance, where nothing
here knows one of the files, or where there are none.
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
    return check_folder(arguments.folder)


def check_folder(folder: Path) -> int:
    """Print what there is to say about its files, and return the exit code."""
    from vectors import CHECKS, check, known

    paths = sorted(folder.glob("*.npz"))
    files = [path for path in paths if known(path.stem)]
    for path in files:
        print(path.name)
        try:
            results, ignored, missing = check(path)
        except Exception as error:  # whatever a file can be: a wrong shape, no archive, an array too few
            print(f"  FAILED, {type(error).__name__}: {error}")
            return 1
        for name, error, ratio in results:
            print(f"  {name:42s} {error:.1e}  {'ok' if ratio <= 1 else 'OUT OF TOLERANCE'}")
        for name, reason in ignored.items():
            print(f"  not compared: {name} ({reason})")
        if missing:
            print(f"  not in the file: {', '.join(missing)}")
        if any(ratio > 1 for _, _, ratio in results):
            return 1
    print(f"{len(files)} files within tolerance")
    if unknown := [path.name for path in paths if path not in files]:
        print(f"NOT CHECKED: {', '.join(unknown)}; names begin with one of {', '.join(CHECKS)}")
    return 0 if files and not unknown else 1


if __name__ == "__main__":
    sys.exit(main())
