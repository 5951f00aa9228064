"""Seeds in groups, one after the other: every grouping gives the same numbers, and a group fills the memory."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from rlformers.config.compose import compose
from rlformers.experiment.program import compiled_update
from rlformers.experiment.program.compiled_update import compile_update, memory_lacking
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.stop_request import Interrupted
from rlformers.experiment.training.train import train

SMALL = ["core=gru", "ppo.num_envs=4", "ppo.num_steps=8", "ppo.num_minibatches=2", "ppo.update_epochs=1", "seeds=3"]
SMALL += ["model.width=8", "total_steps=160", "log_every=1", "wandb.mode=disabled", "chunk_seconds=0.001"]


@pytest.fixture
def accelerator(monkeypatch):
    """As on one: agents are vmapped."""
    monkeypatch.setattr(compiled_update, "one_by_one", lambda *_: False)


def rows(folder: Path, *words: str) -> list[dict]:
    config = compose([*SMALL, *words, f"run_dir={folder}"])
    train(config, create_run_dir(config))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "perf/steps_per_second"} for line in lines]


def assert_close(found: list[dict], expected: list[dict]) -> None:
    assert [(row["seed"], row["step"], row.keys()) for row in found] == [
        (row["seed"], row["step"], row.keys()) for row in expected
    ]
    for row, own in zip(found, expected, strict=True):
        for key, value in row.items():
            assert value == (None if own[key] is None else pytest.approx(own[key], abs=1e-5, rel=1e-5)), key


def test_groups_have_the_numbers_of_all_at_once(tmp_path, accelerator, monkeypatch, capsys):
    together = rows(tmp_path / "together")
    assert_close(rows(tmp_path / "two", "seeds_at_a_time=2"), together)  # and one that is left
    # Stopped in groups of two, a run goes on in other groups.
    from rlformers.experiment.training.run_record import Member

    after, sent = Member.after, []

    def interrupted(self, number, *rest):
        if number == 3 and not sent:
            sent.append(os.kill(os.getpid(), 15))
        after(self, number, *rest)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Member, "after", interrupted)
        rows(tmp_path / "mixed", "seeds_at_a_time=2")
    capsys.readouterr()
    assert_close(rows(tmp_path / "mixed", "seeds_at_a_time=3"), together)
    assert "resume: now with groups of 3 seeds: last digits may differ" in capsys.readouterr().out


def test_groups_are_as_large_as_memory_allows(accelerator, monkeypatch):
    asked, lines = [], []

    def lacking(program, device, times):
        asked.append(round(5 / times))
        return "too large" if asked[-1] > 2 else None

    monkeypatch.setattr(compiled_update, "memory_lacking", lacking)
    compiled = compile_update([compose([*SMALL, "seeds=5"])], lines.append)
    assert asked == [5, 3, 2] and compiled.group_size == 2
    assert lines[-2:] == ["too large; trying groups of 3 seeds", "too large; trying groups of 2 seeds"]
    states, metrics = compiled.update(compiled.init(compiled.keys))
    assert [len(state.start) for state in states] == [2, 2, 1] == [len(each["finite"]) for each in metrics]
    asked.clear()
    assert compile_update([compose([*SMALL, "seeds=5", "seeds_at_a_time=4"])]).group_size == 4 and asked == []


def test_what_an_update_needs_is_compared_with_what_is_free():
    needs = SimpleNamespace(
        argument_size_in_bytes=4e9, temp_size_in_bytes=10e9, output_size_in_bytes=5e9, alias_size_in_bytes=4e9
    )
    program = SimpleNamespace(memory_analysis=lambda: needs)

    def device(**stats):
        return SimpleNamespace(memory_stats=lambda: stats or None, device_kind="a chip")

    # The states of two groups and the other needs of one: 2 x 4 + 10 + 5 - 4.
    assert memory_lacking(program, device(bytes_limit=20e9, bytes_in_use=1e9), 2.0) is None
    found = memory_lacking(program, device(bytes_limit=19.5e9, bytes_in_use=1e9), 2.0)
    assert found == "an update needs 19.0 GB, a chip has 18.5 GB"
    assert memory_lacking(program, device(), 9.0) is memory_lacking(program, device(peak=1), 9.0) is None
    nothing = SimpleNamespace(memory_analysis=lambda: None)
    assert memory_lacking(nothing, device(bytes_limit=1), 9.0) is None


@pytest.mark.parametrize("limit,workers", [(0, 3), (2, 2), (1, None)])
def test_on_a_processor_it_limits_how_many_are_at_work(limit, workers, monkeypatch):
    made = []
    monkeypatch.setattr(compiled_update, "num_cores", lambda: 8)
    monkeypatch.setattr(compiled_update, "ThreadPoolExecutor", lambda count, _: made.append(count))
    compile_update([compose([*SMALL, f"seeds_at_a_time={limit}"])])
    assert made == ([] if workers is None else [workers])


def test_without_jit(tmp_path):
    tiny = ["core=mlp", "seeds=2", "ppo.num_envs=2", "ppo.num_steps=2", "ppo.num_minibatches=1", "total_steps=8"]
    tiny += ["ppo.update_epochs=1"]
    compiled = rows(tmp_path / "compiled", *tiny)
    with jax.disable_jit():
        assert_close(rows(tmp_path / "plain", *tiny), compiled)
