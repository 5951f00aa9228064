"""Errors of a user's code while it runs: one line says where the traceback is, in training, sweeps and evaluations."""

import errno
import os
from pathlib import Path

import jax
import pytest
from users_code import Sound, raising_later

from rlformers import register_env
from rlformers.command.main import main
from rlformers.envs import registry as envs
from rlformers.errors import CodeError, FileError, UserError, foreign, named_line
from rlformers.experiment.run_files.error_file import described, note
from rlformers.experiment.run_files.run_dir import write_whole
from rlformers.experiment.tracking.jsonl import JsonlSink

SMALL = ["core=mlp", "ppo.num_envs=2", "ppo.num_steps=4", "ppo.num_minibatches=1", "ppo.update_epochs=1"]
SMALL += ["model.width=4", "total_steps=8", "wandb.mode=disabled"]


@pytest.fixture(autouse=True)
def environments(monkeypatch, tmp_path):
    """One that is sound, and one that fails when it runs."""
    monkeypatch.setattr(envs, "_entries", dict(envs._entries))
    monkeypatch.chdir(tmp_path)
    register_env("mine/Sound", Sound)
    register_env("mine/Fails", raising_later(ValueError("odd weather")))
    yield
    jax.effects_barrier()


def test_a_training_leaves_its_traceback_and_a_second_one_keeps_the_first(tmp_path, capsys):
    command = ["train", *SMALL, "env=mine/Fails", f"run_dir={tmp_path / 'run'}"]
    for times in (1, 2):
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line == f"rlformers: ValueError: odd weather; traceback in {tmp_path}/run/error.txt"
        text = (tmp_path / "run" / "error.txt").read_text()
        assert text.count("== ") == text.count(", train, process ") == times
        assert text.count("users_code.py") >= times


def test_a_sweep_names_the_file_of_each_run_and_goes_on(tmp_path, capsys):
    words = [word for word in SMALL if word != "core=mlp"]
    sweep = ["train", "-m", *words, "env=mine/Fails,mine/Sound", "core=mlp", "run_dir=sweep"]
    assert main(sweep) == 1
    out = capsys.readouterr().out
    assert "1 of 2 runs finished" in out
    (row,) = (line for line in out.splitlines() if line.startswith("env=mine/Fails"))
    assert "FAILED (ValueError: odd weather; traceback in sweep/0/error.txt)" in row
    assert "users_code.py" in Path("sweep/0/error.txt").read_text() and not Path("sweep/1/error.txt").exists()


def test_an_evaluation_leaves_its_traceback_and_others_go_on(tmp_path, capsys):
    for name in ("a", "b"):
        assert main(["train", *SMALL, "env=mine/Sound", f"run_dir={name}"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "a", "nowhere", "b", "episodes=2"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "rlformers: nowhere: nowhere/config.yaml: No such file or directory\n"
    assert captured.out.count("2 episodes of each seed") == 2 and captured.out.endswith("2 of 3 runs evaluated\n")
    assert all(list(Path(name, "evaluations").glob("*.json")) for name in ("a", "b"))
    assert main(["evaluate", "a", "episodes=2", "env=mine/Fails"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "rlformers: ValueError: odd weather; traceback in a/error.txt"
    assert "evaluate, process" in Path("a/error.txt").read_text() and not Path("b/error.txt").exists()
    # A run whose evaluation failed has not failed.
    assert main(["list", "runs", "."]) == 0
    assert [row.split()[-2:] for row in capsys.readouterr().out.splitlines()[1:]] == [["finished", "4.000"]] * 2


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def chain(*kinds):
    """An error of the first kind that was caused by one of the second, and so on."""

    def raise_them():
        kind, *rest = kinds
        try:
            if rest:
                chain_of = caught(lambda: (_ for _ in ()).throw(chain(*rest)))
                raise chain_of
        except Exception as error:
            raise kind("outer") from error
        raise kind("inner")

    return caught(raise_them)


@pytest.mark.parametrize(
    "kinds,shown",
    [
        ((UserError,), None),
        ((UserError, ValueError), None),  # the cause of a complaint is not the code of a user
        ((FileError, OSError), None),
        ((ValueError,), ValueError),
        ((OSError,), OSError),
        ((CodeError, KeyError), KeyError),
        ((UserError, CodeError, TypeError), TypeError),  # "eval: ..." around it
    ],
)
def test_which_traceback_matters(kinds, shown):
    found = foreign(chain(*kinds))
    assert found is None if shown is None else type(found) is shown


def test_where_no_file_can_be_written_the_traceback_is_shown(tmp_path):
    error = chain(ValueError)
    note(error, [tmp_path], "train")  # no run
    line, traceback = described(error)
    assert line == "ValueError: inner" and "raise_them" in traceback and not list(tmp_path.iterdir())
    (tmp_path / "config.yaml").write_text("")
    note(error, [tmp_path], "train")
    assert described(error) == (f"ValueError: inner; traceback in {tmp_path}/error.txt", "")


def test_an_error_of_a_callback_is_named_by_its_last_line():
    error = RuntimeError("INTERNAL: callback\nTraceback (most recent call last):\n  File x\nValueError: odd weather\n")
    assert named_line(error) == "ValueError: odd weather"


def test_full_disks_are_complaints_that_name_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = JsonlSink(tmp_path / "metrics.jsonl")
    monkeypatch.setattr(os, "fsync", full)
    for function, name in ((lambda: write_whole(tmp_path / "x", "y"), "x"), (sink.sync, "metrics.jsonl")):
        error = caught(function)
        assert isinstance(error, FileError) and str(error) == f"{tmp_path / name}: No space left on device"
    sink.finish({})
    assert str(caught(lambda: JsonlSink(tmp_path))) == f"{tmp_path}: Is a directory"
