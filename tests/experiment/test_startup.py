"""The start of a run prints its lines at once, and a signal ends it at once while XLA compiles."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from rlformers.command.main import main
from rlformers.experiment.run_files.run_dir import locked
from rlformers.experiment.training import progress_line
from rlformers.experiment.training.progress_line import Progress, clock, hours
from rlformers.experiment.training.startup import interruptibly
from rlformers.experiment.training.stop_request import Interrupted, StopRequest

SMALL = ["core=mlp", "ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=1"]
SMALL += ["model.width=8", "total_steps=64", "log_every=1", "wandb.mode=disabled", "seeds=2"]

# XLA compiles in C++, where Python handles no signals: as this sleep, which no signal ends in a
# thread.
SLOW = """
import ctypes, sys, time
import rlformers.experiment.program.compiled_update as module

def slow(*_):
    sys.stdout.flush()
    ctypes.CDLL(None).usleep(60_000_000)

where = sys.argv.pop(1)
if where == "compiling":
    module.one_by_one = slow
else:
    module._side_by_side = lambda *_: slow
from rlformers.command.main import main
sys.exit(main())
"""
SIGNALS = [signal.SIGTERM, signal.SIGHUP]
SIGNALS += [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGUSR1)]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("where", ["compiling", pytest.param("making the first update", marks=pytest.mark.slow)])
def test_a_signal_ends_a_run_that_compiles_at_once(number, where, tmp_path, capsys):
    run_dir = tmp_path / "run"
    command = [sys.executable, "-c", SLOW, where, "train", *SMALL, f"run_dir={run_dir}"]
    # `nohup` has SIGHUP ignored, which children inherit and the library respects.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    line = "; compiling\n" if where == "compiling" else "compiled in "
    while line not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(1)  # until it is there
    process.send_signal(number)
    begun = time.monotonic()
    _, error = process.communicate(timeout=50)
    assert process.returncode == 75 and time.monotonic() - begun < 30
    assert f"{number.name}: stopping; there is nothing to save yet" in error and "saving;" not in error
    assert f"rlformers: stopped while {where}, with nothing to save; run the same command again\n" in error
    with locked(run_dir):  # it is free
        pass
    assert main(["train", *SMALL, f"run_dir={run_dir}"]) == 0


def test_a_function_has_its_result_and_its_errors():
    def fails():
        raise LookupError(threading.current_thread().name)

    with StopRequest() as stop:
        assert interruptibly(lambda: threading.current_thread().name, stop, "naming") == "naming"
        with pytest.raises(LookupError, match="failing"):
            interruptibly(fails, stop, "failing")


def test_an_abandoned_function_is_left_behind():
    release = threading.Event()
    with StopRequest() as stop:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Interrupted, match="stopped while waiting, with nothing to save"):
            interruptibly(lambda: release.wait(60), stop, "waiting")
    release.set()


def test_signals_that_others_use_are_left_to_them():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    own = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        theirs = signal.getsignal(signal.SIGUSR1)
        with StopRequest() as stop:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN and signal.getsignal(signal.SIGUSR1) is theirs
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.received
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGUSR1, own)


def test_what_is_said_at_the_start(tmp_path, capsys):
    assert main(["train", *SMALL, f"run_dir={tmp_path / 'run'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(f"run directory {tmp_path / 'run'}")
    assert re.fullmatch(r".+; [\d,]+ parameters; compiling", lines[at + 1])
    assert re.fullmatch(r"compiled in \d+\.\d s", lines[at + 2])
    assert re.search(r"^ 25%  16/64 steps x 2 seeds .* 0:00 passed, 0:00 left, until \d\d:\d\d$", lines[at + 3])


def test_progress_is_a_line_every_tenth_and_every_minute(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(progress_line.time, "perf_counter", lambda: now[0])
    progress = Progress(1000, 1)
    said = []
    for step in range(1, 201):
        now[0] += 7
        progress.show(step, 1.0, None)
        said.append(capsys.readouterr().out)
    progress.close()
    at = [step for step, line in enumerate(said, 1) if line]
    assert at[:4] == [1, 10, 19, 28] and {100, 200} <= set(at)
    assert all("\r" not in line and line.count("\n") <= 1 for line in said)
    assert "0:12 passed, 1:45 left, until " in said[99]


def test_durations_and_moments():
    assert [hours(seconds) for seconds in (0.0, 29.0, 31.0, 3599.0, 3600.0, 36059.0)] == [
        "0:00",
        "0:00",
        "0:01",
        "1:00",
        "1:00",
        "10:01",
    ]
    today = time.mktime((*time.localtime()[:3], 12, 5, 0, 0, 0, -1))
    assert clock(today) == "12:05"
    assert clock(today + 86400 * 2) == time.strftime("%Y-%m-%d 12:05", time.localtime(today + 86400 * 2))
