"""Machines without file locks, fcntl, a home directory or a writable cache."""

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from rlformers.config.compose import compose, load
from rlformers.experiment.program.xla_cache import enable_compilation_cache
from rlformers.experiment.run_files import file_lock
from rlformers.experiment.run_files.file_lock import fsync, is_locked, lock
from rlformers.experiment.run_files.run_dir import create_run_dir, given_path, locked


@pytest.fixture
def unsaid(monkeypatch):
    monkeypatch.setattr(file_lock, "_said", set())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_once(number, tmp_path, monkeypatch, capsys, unsaid):
    def lacking(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(file_lock.fcntl, "flock", lacking)
    with locked(tmp_path), locked(tmp_path):  # nothing stops the second one
        assert not is_locked(tmp_path / ".lock")
    line = f"the file system of {tmp_path} has no file locks ({os.strerror(number)}): nothing keeps a second process "
    assert capsys.readouterr().out.startswith(line + "from the same run directory\n")
    with locked(tmp_path):
        pass
    assert capsys.readouterr().out == ""


def test_an_operating_system_without_fcntl(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as windows:
        windows.setitem(sys.modules, "fcntl", None)
        module = importlib.reload(file_lock)
        with (tmp_path / "lock").open("a+") as file:
            assert not module.lock(file) and not module.is_locked(tmp_path / "lock")
        assert capsys.readouterr().out.startswith("this operating system has no file locks: ")
    importlib.reload(file_lock)


def test_locks_where_there_are_some(tmp_path, capsys):
    path = tmp_path / "lock"
    assert not is_locked(path)
    with path.open("a+") as one, path.open("a+") as other:
        assert lock(one) and is_locked(path)
        with pytest.raises(BlockingIOError):
            lock(other)
    assert not is_locked(path) and capsys.readouterr().out == ""


def test_fsync_may_be_missing_but_not_fail(monkeypatch):
    def fails(number):
        def call(_):
            raise OSError(number, os.strerror(number))

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails(errno.ENOSYS))
        assert fsync(0) is None
        patch.setattr(os, "fsync", fails(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            fsync(0)


@pytest.mark.parametrize("home", ["none", "a file", "unset", "empty"])
def test_compiled_programs_are_kept_where_they_can_be(home, tmp_path, monkeypatch):
    lines, set_to = [], []
    monkeypatch.setattr(jax.config, "update", lambda *pair: set_to.append(pair))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if home == "none":
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    elif home == "a file":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    elif home == "empty":
        monkeypatch.setenv("XDG_CACHE_HOME", "")
    enable_compilation_cache(lines.append)
    if home in ("unset", "empty"):
        place = tmp_path / ".cache" / "rlformers" / "xla"
        assert set_to == [("jax_compilation_cache_dir", str(place))] and place.is_dir() and lines == []
        assert list(place.iterdir()) == []
    else:
        why = "no home directory" if home == "none" else f"{tmp_path}/file/rlformers: Not a directory"
        assert set_to == [] and lines[0].startswith(f"compiled programs are not kept ({why}"[:60])
        assert len(lines) == 1 and "JAX_COMPILATION_CACHE_DIR=DIR" in lines[0]


def test_a_tilde_is_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = compose(['run_dir="~/runs/one"'])
    assert config.run_dir == f"{tmp_path}/runs/one" == str(given_path("~/runs/one"))
    assert create_run_dir(config) == tmp_path / "runs" / "one"
    assert load("~/runs/one/config.yaml") == config == load(tmp_path / "runs/one/config.yaml")


CONTAINER = """
import errno, fcntl, os, pwd, sys

def nobody(*_):
    raise KeyError("getpwuid(): uid not found")

def lacking(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

pwd.getpwuid = nobody
fcntl.flock = lacking
from rlformers.command.main import main
words = sys.argv[1:]
code = main(["train", *words]) or main(["train", *words])
from pathlib import Path
from rlformers.experiment.tracking.upload import track
print(track(Path(words[-1].partition("=")[2].strip('"')), []))
sys.exit(code)
"""
SMALL = ["core=mlp", "ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=1", "seeds=2"]
SMALL += ["model.width=8", "total_steps=64", "log_every=1", "wandb.mode=offline", "wandb.tags=[a,'',b]"]


def test_a_container_without_a_user_locks_or_cache(tmp_path):
    """And with `=` in the name of the directory."""
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME", "USER")}
    words = [*SMALL, f"wandb.group={'g' * 150}", "tensorboard=true", f'run_dir="{tmp_path}/lr=0.1,k=2"']
    command = [sys.executable, "-c", CONTAINER, *words]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    out = result.stdout
    assert out.count("has no file locks") == 1 and "compiled programs are not kept (no home directory)" in out
    assert "continuing without" not in out and "a group has at most 128 characters; it is cut to ggg" in out
    run_dir = tmp_path / "lr=0.1,k=2"
    assert f"{run_dir} is finished" in out and "Tracked(mode='offline', rows=8, added=0)" in out
    assert json.loads((run_dir / "summary.json").read_text())["completed"]
    assert len(list((run_dir / "wandb").glob("offline-run-*"))) >= 2
    assert json.loads((run_dir / "wandb" / "ids.json").read_text())["group"] == "g" * 128
    assert len(list((run_dir / "tensorboard").glob("seed_*/events.*"))) == 2
