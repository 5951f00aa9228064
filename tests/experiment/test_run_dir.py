"""Run directories: their places and contents, and that nothing overwrites them."""

import os

import pytest

from rlformers.config.compose import compose, load
from rlformers.experiment.run_files import run_dir as module
from rlformers.experiment.run_files.run_dir import create_run_dir, locked
from rlformers.experiment.sweeps.record import Job, create, find


def test_the_default_is_by_environment_core_and_time_and_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = compose(["core=s5", "env=memory/TMaze"])
    first, second, third = (create_run_dir(config) for _ in range(3))
    assert first.parent.as_posix() == "runs/memory/TMaze/s5" and len({first, second, third}) == 3
    assert load(first / "config.yaml") == config


@pytest.mark.parametrize("kind", ["file", "full directory"])
def test_what_exists_is_kept(kind, tmp_path):
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "metrics.jsonl").write_text("mine")
    with pytest.raises(ValueError, match="run_dir: .* exists"):
        create_run_dir(compose([f"run_dir={path}"]))
    kept = path if kind == "file" else path / "metrics.jsonl"
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("path", ["/proc/nowhere/run", "file/run"])
def test_what_cannot_be_written_is_one_line(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="run_dir: ") as caught:
        create_run_dir(compose([f"run_dir={path}"]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [[], [".config.yaml.unfinished", ".lock"]])
def test_a_directory_without_a_run_is_one_for_a_new_run_or_sweep(left, tmp_path):
    for name in ("run", "sweep"):
        (tmp_path / name).mkdir()
        for file in left:
            (tmp_path / name / file).write_text("ha")
    config = compose([f"run_dir={tmp_path / 'run'}"])
    assert create_run_dir(config) == tmp_path / "run" and load(tmp_path / "run" / "config.yaml") == config
    with pytest.raises(ValueError, match=r"ppo.lr=0.5 was 0.001 in "):
        create_run_dir(compose([f"run_dir={tmp_path / 'run'}", "ppo.lr=0.5"]))
    jobs, base = [Job("core=gru", compose([]))], tmp_path / "sweep"
    assert find(jobs, base) is None
    sweep, _ = create(jobs, base, [])
    assert len(sweep.runs) == 1
    (base / "sweep.json").rename(base / ".sweep.json.unfinished")  # as if it had died a moment earlier
    assert find(jobs, base) is None


def test_a_full_disk_leaves_a_directory_that_can_be_used_later(tmp_path, monkeypatch):
    config = compose([f"run_dir={tmp_path / 'run'}"])

    def full(descriptor):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as disk:
        disk.setattr(module.os, "fsync", full)
        with pytest.raises(ValueError, match="^run_dir: cannot write .*/run: No space left on device$"):
            create_run_dir(config)
        with pytest.raises(OSError, match="/sweep.json: No space left on device$"):
            create([Job("core=gru", config)], tmp_path / "sweep", [])
    assert create_run_dir(config) == tmp_path / "run"
    assert find([Job("core=gru", config)], tmp_path / "sweep") is None


def test_of_two_processes_that_begin_in_one_directory_one_does(tmp_path):
    config = compose([f"run_dir={tmp_path}"])
    with locked(tmp_path), pytest.raises(ValueError, match=f"{tmp_path} is in use by process {os.getpid()} on "):
        create_run_dir(config)
    assert not (tmp_path / "config.yaml").exists()
    assert create_run_dir(config) == tmp_path
