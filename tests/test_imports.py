"""Instant commands stay instant: heavy packages are imported only where they are used."""

import subprocess
import sys

import pytest

HEAVY = {"jax", "gymnax", "distrax", "tensorflow_probability", "equinox", "hydra", "wandb", "orbax", "matplotlib"}
HELPS = [[], ["--help"], ["--version"], *([command, "--help"] for command in ("train", "evaluate", "report", "list"))]
LISTED = [["list", what] for what in ("cores", "envs", "experiments", "keys", "runs")]
LISTS = "\n".join(f"main({words})" for words in [*HELPS, *LISTED])


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import rlformers", HEAVY),
        (f"from rlformers.command.main import main\n{LISTS}", HEAVY),
        ("import rlformers.envs.registry as registry; registry.names()", HEAVY),
        # A policy imports its distributions when it is built: tensorflow-probability takes a
        # second.
        ("import rlformers.agents.ppo", HEAVY - {"jax", "equinox"}),
    ],
    ids=["the package", "help and lists", "names of environments", "agents"],
)
def test_is_imported_without(program, absent):
    code = f"import sys\n{program}\nprint('imported:', *sorted({absent!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].split() == ["imported:"]
