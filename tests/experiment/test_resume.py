"""A run that was killed, stopped, damaged or extended continues as if nothing had happened, or says why it cannot."""

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.config.compose import change, load
from rlformers.errors import FileError
from rlformers.experiment.checkpoints.resume import latest
from rlformers.experiment.checkpoints.store import CheckpointError, best_of, good_checkpoints, read, saved_updates
from rlformers.experiment.program.build import build
from rlformers.experiment.run_files.run_dir import locked
from rlformers.experiment.training.stop_request import StopRequest
from rlformers.experiment.training.train import train

HERE = Path(__file__).parent
UPDATES = 600
SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=2", "model.width=8"]
SMALL += ["ppo.normalize_observations=true", f"total_steps={16 * UPDATES}", "log_every=1", "wandb.mode=disabled"]
SMALL += ["checkpoint.every=0.001", "chunk_seconds=0.02", f"checkpoint.keep_every={8 * UPDATES}"]


def live(seed: int, plan: dict[Path, list[int]], *overrides: str) -> dict[Path, list[int]]:
    """Exit codes of the lives of some runs; see lives.py."""
    command = [sys.executable, str(HERE / "lives.py"), str(seed), json.dumps({str(k): v for k, v in plan.items()})]
    result = subprocess.run([*command, "train", *SMALL, *overrides], stdout=subprocess.PIPE, check=True)
    return {Path(run_dir): codes for run_dir, codes in json.loads(result.stdout).items()}


def metrics(run_dir: Path) -> list[dict]:
    """The lines of a run without the one field that depends on the clock."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "perf/steps_per_second"} for row in rows]


def restored(run_dir: Path, update: int):
    """The state in a checkpoint of a run, and its learner's update."""
    config = load(run_dir / "config.yaml")
    learner = build(config).learner
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.seeds))
    template = jax.eval_shape(jax.vmap(learner.init), keys)
    checkpoint = next(c for c in good_checkpoints(run_dir / "checkpoints") if c.update == update)
    return read(checkpoint, template), template, learner.update


def digest(tree) -> str:
    """SHA-256 of a whole state."""
    sha = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        sha.update(f"{jax.tree_util.keystr(path)} {leaf.dtype}{leaf.shape} ".encode() + np.asarray(leaf).tobytes())
    return sha.hexdigest()


def best(run_dir: Path) -> tuple[int, float]:
    """The best checkpoint and its score."""
    metas = {c.update: c.meta for c in good_checkpoints(run_dir / "checkpoints")}
    return best_of(metas), metas[best_of(metas)]["score"]


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    updates = load(one / "config.yaml").num_updates
    assert digest(restored(one, updates)[0]) == digest(restored(other, updates)[0])
    summaries = [json.loads((path / "summary.json").read_text()) for path in (one, other)]
    assert summaries[0]["completed"] and summaries[0]["final_return"] == summaries[1]["final_return"]
    # Of a life that ended before its first checkpoint, the rows are set aside.
    names = [{path.name for path in run_dir.iterdir() if path.suffix != ".old"} for run_dir in (one, other)]
    assert names[0] == names[1]
    assert best(one) == best(other)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An undisturbed run, one that was killed six times and stopped once, and the latter's exit codes."""
    folder = tmp_path_factory.mktemp("lives")
    plan = {folder / "whole": [], folder / "killed": [signal.SIGKILL] * 6 + [signal.SIGTERM]}
    codes = live(0, plan)
    assert codes[folder / "whole"] == [0]
    return folder / "whole", folder / "killed", codes[folder / "killed"]


@pytest.fixture
def copied(runs, tmp_path):
    return shutil.copytree(runs[0], tmp_path / "run")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


def damage(run_dir: Path, update: int) -> Path:
    file = run_dir / "checkpoints" / str(update) / "state" / "_METADATA"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def test_a_killed_run_equals_one_that_was_not(runs):
    whole, killed, codes = runs
    assert codes == [-signal.SIGKILL] * 6 + [75, 0]
    assert_same_run(whole, killed)


CORES = {
    "gtrxl": ["core=gtrxl", "core.heads=2", "core.memory=8"],
    "mamba": ["core=mamba"],
    "evaluation": ["core=gru", "seeds=2", "eval.every=500", "eval.episodes=3", "ppo.lr=0.01"],
    "vmapped seeds": ["core=gru", "seeds=3", "seed=5", "env=popgym/PositionOnlyPendulumEasy"],
}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", CORES.values(), ids=CORES)
def test_thirty_kills(overrides, tmp_path):
    signals = [random.Random(1).choice([signal.SIGKILL] * 5 + [signal.SIGTERM, signal.SIGINT]) for _ in range(30)]
    codes = live(1, {tmp_path / "whole": [], tmp_path / "killed": signals}, *overrides, "total_steps=32000")
    assert all(code in (-signal.SIGKILL, 75) for code in codes[tmp_path / "killed"][:-1])
    assert codes[tmp_path / "killed"][-1] == 0
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_finished_run_says_so(copied, capsys):
    before = files(copied)
    assert main(["train", f"resume={copied}"]) == 0
    assert f"{copied} is finished" in capsys.readouterr().out
    assert files(copied) == before


@contextlib.contextmanager
def longest_file(size: int):
    """As on a disk that is full, no file of this process can be longer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_damage_and_a_full_disk_cost_time_only(copied, runs, capsys):
    last, before, *_ = reversed(saved_updates(copied / "checkpoints"))
    file = damage(copied, last)
    needed = next(c for c in good_checkpoints(runs[0] / "checkpoints") if c.update == before).meta["metrics_bytes"]
    os.truncate(copied / "metrics.jsonl", needed - 100)
    config = load(copied / "config.yaml")
    with longest_file(needed - 50), pytest.raises(FileError, match=f"{copied}/metrics.jsonl: File too large"):
        train(config, copied)
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if line.startswith("checkpoint: ")][:2] == [
        f"checkpoint: {file} does not match SHA256SUMS; looking for an older one",
        f"checkpoint: {copied}/checkpoints/{before} needs {needed} bytes of {copied}/metrics.jsonl, "
        f"which has {needed - 100}; looking for an older one",
    ]
    train(config, copied)
    assert_same_run(copied, runs[0])


def test_without_a_good_checkpoint_nothing_is_touched(copied, capsys):
    for update in saved_updates(copied / "checkpoints"):
        damage(copied, update)
    before = files(copied)
    assert main(["train", f"resume={copied}"]) == 1
    assert f"resume: no checkpoint in {copied}/checkpoints can be used" in capsys.readouterr().err
    assert files(copied) == before


def test_changes_are_refused_by_name(copied, capsys):
    before = files(copied)
    config = load(copied / "config.yaml")
    for word, message in {
        "ppo.lr=0.5": "resume: ppo.lr=0.5 was 0.001 in ",
        "env_params.k=3": "resume: env_params.k=3 was None in ",
        f"total_steps={8 * UPDATES}": f"resume: total_steps={8 * UPDATES}.0 was {16 * UPDATES}.0 in ",
    }.items():
        with pytest.raises(ValueError) as caught:
            latest(copied, change(config, [word]))
        assert message in str(caught.value) and "\n" not in str(caught.value)
    assert main(["train", f"resume={copied}", "ppo.gamma=0.9", "seed=1"]) == 2
    assert "resume: ppo.gamma=0.9 was 0.99, seed=1 was 0 in " in capsys.readouterr().err
    assert main(["train", f"resume={copied}", "core=s5"]) == main(["train", f"resume={copied}", "ppo.lrr=1"]) == 2
    assert files(copied) == before
    # The way of running may change.
    assert latest(copied, change(config, ["chunk_seconds=1", "checkpoint.keep=9", "wandb.mode=offline"])) is not None
    # Edited by hand: the checkpoints know better.
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(text.replace("gamma: 0.99", "gamma: 0.9"))
    with pytest.raises(ValueError, match="ppo.gamma=0.9 was 0.99 in .*; only total_steps can change, and only grow"):
        train(load(copied / "config.yaml"), copied)


def test_an_older_schema_is_refused(copied):
    folder = copied / "checkpoints" / str(UPDATES)
    meta = (folder / "meta.json").read_text()
    old = meta.replace('"schema": 1', '"schema": 0')
    assert old != meta
    (folder / "meta.json").write_text(old)
    sums = (folder / "SHA256SUMS").read_text()
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (meta, old)]
    (folder / "SHA256SUMS").write_text(sums.replace(*hashes))
    before = files(copied)
    with pytest.raises(CheckpointError, match="has schema 0; this version reads 1$"):
        train(load(copied / "config.yaml"), copied)
    assert files(copied) == before


def test_one_process_at_a_time(copied, capsys):
    before = files(copied)
    with locked(copied):
        assert main(["train", f"resume={copied}"]) == 2
    assert f"run_dir: {copied} is in use by process {os.getpid()} on " in capsys.readouterr().err
    assert files(copied) == before


@pytest.fixture
def read_only(copied):
    """A run in a directory that nobody can write, root included."""
    mounts = [["mount", "--bind", str(copied), str(copied)], ["mount", "-o", "remount,ro,bind", str(copied)]]
    if os.geteuid() != 0:
        copied.chmod(0o500)
        yield copied
        copied.chmod(0o700)
        return
    if any(subprocess.run(mount, capture_output=True).returncode for mount in mounts):
        subprocess.run(["umount", str(copied)], capture_output=True)
        pytest.skip("root can write everywhere here, and must not mount")
    yield copied
    subprocess.run(["umount", str(copied)], check=True)


def test_a_read_only_directory_is_named(read_only):
    with pytest.raises(ValueError, match=f"run_dir: cannot write {read_only}: "):
        train(load(read_only / "config.yaml"), read_only)


@pytest.mark.slow
def test_a_finished_run_can_be_extended(copied, runs):
    assert main(["train", f"resume={copied}", f"total_steps={16 * (UPDATES + 20)}"]) == 0
    assert load(copied / "config.yaml").num_updates == UPDATES + 20
    rows = metrics(copied)
    assert rows[:UPDATES] == metrics(runs[0])
    assert [row["step"] for row in rows] == [16 * (i + 1) for i in range(UPDATES + 20)]
    # The schedule follows the new end: at the old one it is not 0.
    assert rows[UPDATES]["ppo/lr"] == pytest.approx(1e-3 * 20 / (UPDATES + 20), rel=1e-5)


def test_the_first_signal_waits_and_the_second_does_not():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.received
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)  # until it is delivered
    assert signal.getsignal(signal.SIGTERM) is before
