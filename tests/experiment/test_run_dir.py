"""Run directories: where they are, what is in them, and that they are never overwritten."""

import pytest

from rlformers.compose import compose, load
from rlformers.experiment.run_dir import create_run_dir


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
