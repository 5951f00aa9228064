"""Sweeps over numbers in one program: each value gets the numbers of its own run, and can be stopped and resumed."""

import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.config.ppo import Numbers, PPOConfig
from rlformers.experiment.checkpoints.store import saved_updates
from rlformers.experiment.program.build import build
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.run_record import Member
from rlformers.experiment.training.train import train, train_together

SMALL = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "ppo.update_epochs=1", "model.width=8"]
SMALL += ["core=gru", "seeds=2", "total_steps=640", "log_every=1", "chunk_seconds=0.001", "wandb.mode=disabled"]
AXES = ["ppo.lr=[1e-3, 1e-2]", "ppo.gamma=0.9,0.95", "vmap_over=[ppo.lr,ppo.gamma]"]
VALUES = [(lr, gamma) for lr in (1e-3, 1e-2) for gamma in (0.9, 0.95)]


def rows(run_dir: Path) -> list[dict]:
    """The lines of a run without the one field that depends on the clock."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "perf/steps_per_second"} for line in lines]


def sweep(folder: Path, *words: str) -> int:
    return main(["train", "--multirun", *SMALL, *AXES, *words, f"run_dir={folder}"])


def stop_after(update: int, monkeypatch) -> None:
    """Send one SIGINT while an update is being logged; a second would mean to stop at once."""
    after, sent = Member.after, []

    def interrupted(self, number, *rest):
        if number == update and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))
        after(self, number, *rest)

    monkeypatch.setattr(Member, "after", interrupted)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep of four values in one program."""
    folder = tmp_path_factory.mktemp("sweep") / "whole"
    assert sweep(folder) == 0
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The same, stopped after a few updates."""
    folder = tmp_path_factory.mktemp("sweep") / "stopped"
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(3, monkeypatch)
        assert sweep(folder) == 75
    return folder


def moved(sweep_dir: Path, folder: Path) -> Path:
    """A copy of a sweep."""
    return shutil.copytree(sweep_dir, folder / "copy")


def test_each_value_has_the_numbers_of_its_own_run(whole, tmp_path):
    for number, (lr, gamma) in enumerate(VALUES):
        summary = json.loads((whole / str(number) / "summary.json").read_text())
        assert summary["completed"] and summary["seeds"] == [0, 1]
        assert saved_updates(whole / str(number) / "checkpoints")[-1] == 10  # beside the best one
        config = (whole / str(number) / "config.yaml").read_text()
        assert f"lr: {lr}\n" in config and f"gamma: {gamma}\n" in config
    assert main(["train", *SMALL, "ppo.lr=1e-2", "ppo.gamma=0.9", f"run_dir={tmp_path / 'own'}"]) == 0
    own, member = rows(tmp_path / "own"), rows(whole / "2")
    assert [(row["seed"], row["step"]) for row in own] == [(row["seed"], row["step"]) for row in member]
    assert own == member  # to the last digit, in all updates
    assert rows(whole / "0")[0]["ppo/value_loss"] != member[0]["ppo/value_loss"]


def test_a_stopped_program_goes_on_exactly(stopped, whole, tmp_path, capsys):
    folder = moved(stopped, tmp_path)
    assert [saved_updates(folder / str(i) / "checkpoints") for i in range(4)] == [[3]] * 4
    assert sweep(folder) == 0
    out = capsys.readouterr().out
    assert "4 runs in one program" in out and "continuing after 192 steps" in out and "4 of 4 runs finished" in out
    for number in range(4):
        assert rows(folder / str(number)) == rows(whole / str(number))


@pytest.mark.parametrize("cores", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_agents_are_computed_side_by_side(cores, whole, tmp_path, monkeypatch):
    """Three at a time or one after the other: the results are the same."""
    monkeypatch.setattr("rlformers.experiment.program.compiled_update.num_cores", lambda: cores)
    at_work, most, block = [], [], jax.block_until_ready

    def watched(results):
        at_work.append(None)
        most.append(len(at_work))
        results = block(results)
        time.sleep(0.01)
        at_work.pop()
        return results

    monkeypatch.setattr(jax, "block_until_ready", watched)
    assert sweep(tmp_path / "again") == 0
    assert max(most) == cores
    for number in range(4):
        assert rows(tmp_path / "again" / str(number)) == rows(whole / str(number))


def test_an_accelerator_takes_all_agents_at_once(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("rlformers.experiment.program.compiled_update.one_by_one", lambda *_: False)
    assert sweep(tmp_path / "vmapped") == 0
    for number in range(4):
        for row, own in zip(rows(tmp_path / "vmapped" / str(number)), rows(whole / str(number)), strict=True):
            assert row.keys() == own.keys()
            for key, value in row.items():  # None where no episode ended
                assert value == (None if own[key] is None else pytest.approx(own[key], abs=1e-5, rel=1e-5)), key


def test_every_number_can_be_traced():
    built = build(compose(SMALL))
    state = jax.eval_shape(built.learner.init, jax.random.key(0))
    numbers = jax.tree.map(lambda _: jax.ShapeDtypeStruct((), jnp.float32), Numbers.of(PPOConfig(), 1))
    after, metrics = jax.eval_shape(lambda state, numbers: built.learner_with(numbers).update(state), state, numbers)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics["ppo/lr"].shape == ()


def test_programs_differ_in_numbers_only(tmp_path):
    words = ("ppo.lr=0.1", "ppo.burn_in=1")
    one, other = (compose([*SMALL, word, f"run_dir={tmp_path / str(i)}"]) for i, word in enumerate(words))
    with pytest.raises(ValueError, match="ppo.burn_in: need one value for all runs of a program"):
        train_together([one, other], [create_run_dir(one), create_run_dir(other)])


@pytest.mark.slow
def test_all_numbers_at_once(tmp_path):
    base = compose([*SMALL, "core=s5", "total_steps=64"])
    numbers = dict(lr=2e-2, gamma=0.8, gae_lambda=0.7, clip_eps=0.1, ent_coef=0.02, vf_coef=0.9)
    numbers |= dict(max_grad_norm=0.1, target_kl=0.01, reward_scale=0.5, core_lr_scale=0.3)
    numbers |= dict(warmup=0.5, clip_eps_high=0.4, adam_b1=0.8, adam_b2=0.9, adam_eps=1e-3, weight_decay=0.1)
    assert set(numbers) | {"num_updates"} == set(Numbers._fields)
    other = dataclasses.replace(base, ppo=dataclasses.replace(base.ppo, **numbers))
    configs = [dataclasses.replace(c, run_dir=str(tmp_path / name)) for c, name in ((base, "a"), (other, "b"))]
    train_together(configs, [create_run_dir(config) for config in configs])
    for config, name in zip(configs, "ab", strict=True):
        alone = dataclasses.replace(config, run_dir=str(tmp_path / f"{name}-alone"))
        train(alone, create_run_dir(alone))
        assert rows(tmp_path / name) == rows(tmp_path / f"{name}-alone")


@pytest.mark.slow
def test_one_run_of_a_program_can_go_on_alone(stopped, whole, tmp_path, capsys):
    folder = moved(stopped, tmp_path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(4, monkeypatch)
        assert main(["train", f"resume={folder / '1'}"]) == 75
    assert rows(folder / "1") == rows(whole / "1")[:8]
    # It is one checkpoint ahead, as after a kill during saving, and goes back to the others.
    assert sweep(folder) == 0
    assert "back to update 3" in capsys.readouterr().out
    assert [rows(folder / str(i)) for i in range(4)] == [rows(whole / str(i)) for i in range(4)]


@pytest.mark.slow
def test_runs_after_different_updates_go_on_one_by_one(stopped, whole, tmp_path, capsys):
    folder = moved(stopped, tmp_path)
    shutil.rmtree(folder / "1" / "checkpoints")
    (folder / "1" / "metrics.jsonl").unlink()
    assert sweep(folder) == 0
    out = capsys.readouterr().out
    assert "vmap_over: 4 runs have no checkpoint of the same update; they train one after the other\n" in out
    assert "in one program" not in out and "4 of 4 runs finished" in out
    for number in range(4):
        assert rows(folder / str(number)) == rows(whole / str(number))


@pytest.mark.slow
def test_a_value_that_diverges_fails_alone(tmp_path, capsys):
    words = [*SMALL, "ppo.lr=1e-3,1e30", "vmap_over=ppo.lr", f"run_dir={tmp_path / 'sweep'}"]
    assert main(["train", "--multirun", *words]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 runs finished" in out and "ppo.lr=1e+30  FAILED (Failed: " in out and "is not finite" in out
    assert len(rows(tmp_path / "sweep" / "0")) == 20
    assert not (tmp_path / "sweep" / "1" / "checkpoints").exists()
    # Tried again, alone.
    assert main(["train", "--multirun", *words]) == 1
    assert "in one program" not in capsys.readouterr().out
