"""The example of a core in another package, installed as its users would, beside a broken one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin_core"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder on the path with the example and a package whose entry point leads nowhere."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin_core"
    source.mkdir()
    for path in ("pyproject.toml", "src/rlformers_leaky/__init__.py"):  # a copy: building leaves files behind
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text((EXAMPLE / path).read_text())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*pip, source], check=True, capture_output=True, text=True)
    broken = folder / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[rlformers.cores]\nbroken = no_such_module\n")
    return folder


def run(site, *words, cwd=None):
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "rlformers", *map(str, words)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)


def test_listed(site):
    listing = run(site, "list", "cores")
    assert listing.returncode == 0, listing.stderr
    for name in ("leaky", "broken", "gru"):
        assert f"\n{name} " in listing.stdout


def test_trains(site, tmp_path):
    small = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "total_steps=128", "wandb.mode=disabled"]
    done = run(site, "train", "core=leaky", "core.memory=5", f"run_dir={tmp_path / 'run'}", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "training leaky on " in done.stdout
    assert "memory: 5" in (tmp_path / "run" / "config.yaml").read_text()


def test_errors_are_one_line(site):
    for words, message in (
        (["core=leaky", "core.memory=0"], "core.memory: need at least 1, got 0.0"),
        (["core=broken"], "core: 'broken' cannot be loaded from 'no_such_module'"),
    ):
        failed = run(site, "train", *words)
        assert failed.returncode == 2
        assert message in failed.stderr
        assert len(failed.stderr.strip().splitlines()) == 1


def test_train_help_survives_the_broken_one(site):
    listing = run(site, "train", "--help")
    assert listing.returncode == 0, listing.stderr
    assert "core=leaky" in listing.stdout
    assert "cannot be loaded from 'no_such_module'" in listing.stdout
