"""The example of a core in another package, installed as its users would, beside one with broken cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin_core"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder on the path with the example, and a package of three cores: one of a family, two broken."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin_core"
    source.mkdir()
    for path in ("pyproject.toml", "src/rlformers_leaky/__init__.py"):  # a copy: building leaves files behind
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text((EXAMPLE / path).read_text())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*pip, source], check=True, capture_output=True, text=True)
    other = folder / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    points = ("family/leaky = rlformers_leaky", "broken = no_such_module", "wrong = wrong_core")
    (other / "entry_points.txt").write_text("\n".join(("[rlformers.cores]", *points)))
    source = (EXAMPLE / "src/rlformers_leaky/__init__.py").read_text()
    (folder / "wrong_core.py").write_text(f"{source}\n\ndef make(*arguments):\n    raise RuntimeError('no GPU')\n")
    return folder


def run(site, *words, cwd=None):
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "rlformers", *map(str, words)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)


def test_listed(site):
    listing = run(site, "list", "cores")
    assert listing.returncode == 0, listing.stderr
    rows = {line.split()[0]: line for line in listing.stdout.splitlines() if line}
    assert [*rows["leaky"].split()[1:3], rows["leaky"].split()[5]] == ["64", "8,320", "all"]
    assert "core: 'broken' cannot be loaded from 'no_such_module'" in rows["broken"]
    assert "core: 'wrong' cannot be made: RuntimeError: no GPU" in rows["wrong"]
    assert rows["gru"].endswith("gated recurrent unit (Cho et al. 2014)")


def test_trains(site, tmp_path):
    small = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "total_steps=128", "wandb.mode=disabled"]
    done = run(site, "train", "core=family/leaky", "core.memory=5", f"run_dir={tmp_path / 'run'}", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "training family/leaky on " in done.stdout
    assert "memory: 5" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["core=leaky", "core.memory=0"], "core.memory: need at least 1, got 0.0"),
        (["core=broken"], "core: 'broken' cannot be loaded from 'no_such_module': ModuleNotFoundError: No module"),
    ],
)
def test_errors_are_one_line(site, words, message):
    failed = run(site, "train", *words)
    assert failed.returncode == 2
    assert message in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_an_error_inside_of_a_plugin_keeps_its_traceback(site):
    failed = run(site, "train", "core=wrong")
    assert failed.returncode == 1
    *traceback, line = failed.stderr.splitlines()
    assert line == "rlformers: core: 'wrong' cannot be made: RuntimeError: no GPU"
    assert any("wrong_core.py" in text for text in traceback)


def test_the_options_of_plugins_are_listed(site):
    options = run(site, "list", "keys", "core=leaky")
    assert options.returncode == 0 and "core.memory " in options.stdout, options.stderr
    broken = run(site, "list", "keys", "core=broken")
    assert broken.returncode == 2 and "cannot be loaded from 'no_such_module'" in broken.stderr
