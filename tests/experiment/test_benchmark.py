"""`rlformers benchmark`: a line and an entry per core, and nothing else left behind."""

import json
from functools import partial

import pytest

from rlformers.command.main import main
from rlformers.experiment.training import benchmark

SMALL = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=1", "ppo.update_epochs=1", "model.width=8"]


def test_speed_is_told_for_each_combination(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "device_name", lambda: "Abacus")
    monkeypatch.setattr(benchmark, "measure", partial(benchmark.measure, repetitions=2, least=0.01))
    assert main(["benchmark", *SMALL, "core=mlp,gru", "seeds=2", "--json", "speed.json"]) == 0
    about, headings, *lines, file = capsys.readouterr().out.splitlines()
    assert about.startswith("Abacus; jax ") and "popgym/RepeatPreviousEasy" in about and file == "speed.json"
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found["about"]["device"] == "Abacus" and found["about"]["versions"]["jax"]
    assert [row["core"] for row in found["rows"]] == ["mlp", "gru"]
    assert [row["state_size"] for row in found["rows"]] == [0, 8]  # of a GRU its width
    for row, line in zip(found["rows"], lines, strict=True):
        assert row["steps_per_second"] * row["update_seconds"] == pytest.approx(2 * 4 * 16)
        assert 0 < row["update_seconds"] < row["compile_seconds"]
        assert min(row["steps_per_second"], row["cpu_seconds_per_million_steps"]) > 0
        assert line.split()[:2] == [row["name"], f"{row['steps_per_second']:,.0f}"] and len(line) == len(headings)
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


@pytest.mark.parametrize(
    "words,message",
    [
        (["core=gru,s6"], "core: 's6' is none of"),
        (["ppo.lr=fast"], "ppo.lr: need a float"),
        (["ppo.num_envs=6"], "ppo.num_envs: 6 environments"),
        (["--json"], "benchmark: --json needs a FILE"),
        (["--json", "nowhere/speed.json"], "benchmark: --json nowhere/speed.json: there is no directory nowhere"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
