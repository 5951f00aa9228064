"""One seed of several meets a NaN: it ends alone, is listed, and can be trained again."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array

from rlformers.command.main import main
from rlformers.config.compose import compose, load
from rlformers.envs import registry as envs
from rlformers.envs.environment import Environment
from rlformers.envs.registry import register_env
from rlformers.envs.spaces import Box, Discrete
from rlformers.experiment.checkpoints.store import good_checkpoints, read
from rlformers.experiment.program.build import build
from rlformers.experiment.reports import runs as reports
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.run_record import Member
from rlformers.experiment.training.stop_request import Failed, SomeFailed
from rlformers.experiment.training.train import train, train_together

SMALL = ["env=test/Fragile", "core=gru", "model.width=8", "seeds=4", "wandb.mode=disabled", "checkpoint.every=0"]
SMALL += ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=1", "ppo.lr=0.01"]
SMALL += ["total_steps=192", "log_every=2", "checkpoint.keep_every=48", "eval.every=96", "eval.episodes=4"]
SMALL += ["eval.env_params.risk=0"]
MENDED = [False]


class State(NamedTuple):
    time: Array
    luck: Array


@struct.dataclass
class Params:
    risk: Any = 0.015  # probability of a NaN reward, per episode


class Fragile(Environment):
    """Episodes of four steps. A few end with a NaN reward until the code is mended."""

    never_truncates = True

    def reset_env(self, key, params):
        return jnp.ones(2), State(jnp.zeros((), jnp.int32), jax.random.uniform(key))

    def step_env(self, key, state, action, params):
        state = State(state.time + 1, state.luck)
        reward = jnp.where(action == 1, 1.0, 0.0) + 0.1 * jax.random.uniform(key)
        # The mended program differs only by a constant that does not show in the rewards.
        reward += jnp.where((state.luck < params.risk) & (state.time == 4), 1e-30 if MENDED[0] else jnp.nan, 0.0)
        return jnp.full(2, state.time / 4.0), state, reward, state.time >= 4, {}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    @property
    def default_params(self):
        return Params()

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (2,), jnp.float32)


def run(folder: Path, *words: str, mended: bool = False) -> dict:
    """Train; the summary, whether or not seeds failed."""
    MENDED[0] = mended
    config = compose([*SMALL, *words, f"run_dir={folder}"])
    try:
        return train(config, create_run_dir(config))
    except SomeFailed as error:
        return error.summary
    finally:
        MENDED[0] = False


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of which seeds failed, and the same without the fault."""
    register_env("test/Fragile", Fragile)
    folder = tmp_path_factory.mktemp("fragile")
    yield run(folder / "failed"), run(folder / "mended", mended=True), folder
    del envs._entries["test/Fragile"]


def rows(run_dir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "perf/steps_per_second"} for row in lines]


def state(run_dir: Path, update: int = 12):
    config = load(run_dir / "config.yaml")
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.seeds))
    template = jax.eval_shape(jax.vmap(build(config).learner.init), keys)
    return read(next(c for c in good_checkpoints(run_dir / "checkpoints") if c.update == update), template)


def leaves(tree, seed: int) -> list[np.ndarray]:
    data = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in jax.tree.leaves(tree)
    ]
    return [np.asarray(x[seed]) for x in data]


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


def test_the_others_go_on_and_the_failed_ones_are_listed(runs):
    summary, mended, folder = runs
    failed = {one["seed"]: one for one in summary["failed"]}
    sound = [seed for seed in range(4) if seed not in failed]
    assert 1 <= len(failed) <= 3 and max(one["update"] for one in failed.values()) > 2
    for one in failed.values():
        assert one["what"] == "reward is not finite" and one["step"] == 16 * one["update"]
    assert summary["completed"] and summary["total_steps"] == 192 and summary["failure"] is None
    final = [mended["final_return"]["per_seed"][seed] if seed in sound else None for seed in range(4)]
    assert summary["final_return"]["per_seed"] == final and summary["final_return"]["n"] == len(sound)
    assert summary["final_return"]["mean"] == pytest.approx(np.mean([x for x in final if x is not None]))
    assert [x is None for x in summary["evaluation"]["return"]["per_seed"]] == [seed in failed for seed in range(4)]
    # Rows: of sound seeds the same as without the fault, of failed ones those before it.
    expected = [row for row in rows(folder / "mended") if row["step"] < failed.get(row["seed"], {"step": 1e9})["step"]]
    assert rows(folder / "failed") == expected
    # Their states are the last good ones.
    saved, whole = state(folder / "failed"), state(folder / "mended")
    for seed in range(4):
        assert saved.num_updates[seed] == (failed[seed]["update"] - 1 if seed in failed else 12)
        assert all(np.isfinite(x).all() for x in leaves(saved.agent, seed))
        if seed in sound:
            assert all(np.array_equal(*pair) for pair in zip(leaves(saved, seed), leaves(whole, seed), strict=True))


def test_the_same_command_does_not_start_them_again(runs, capsys):
    summary, _, folder = runs
    before = files(folder / "failed")
    assert main(["train", *SMALL, f"run_dir={folder / 'failed'}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    first = summary["failed"][0]
    where = f"update {first['update']}, up to step {first['step']}, of seed {first['seed']}"
    assert f"{len(summary['failed'])} of 4 seeds failed: reward is not finite in {where}" in line
    assert f"resume={folder / 'failed'} retry=failed trains " in line
    assert files(folder / "failed") == before


class Died(Exception):
    pass


def test_a_run_with_failed_seeds_is_resumed_exactly(runs, tmp_path, monkeypatch):
    summary, _, folder = runs
    first = summary["failed"][0]["update"]
    after = Member.after

    def dies(self, update, *rest):
        if update == first + 3:
            raise Died
        after(self, update, *rest)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(Member, "after", dies)
        run(tmp_path / "run", "checkpoint.keep_every=16", "chunk_seconds=0.001")
    again = run(tmp_path / "run", "checkpoint.keep_every=16")
    assert again["failed"] == summary["failed"] and again["final_return"] == summary["final_return"]
    assert rows(tmp_path / "run") == rows(folder / "failed")


def test_retry_trains_them_into_their_places(runs, tmp_path, capsys):
    summary, mended, folder = runs
    run_dir = shutil.copytree(folder / "failed", tmp_path / "run")
    before = (run_dir / "metrics.jsonl").read_bytes()
    command = ["train", *SMALL, "retry=failed", f"run_dir={run_dir}"]
    # The fault is still there.
    assert main(command) == 1
    assert (run_dir / "metrics.jsonl").read_bytes() == before
    assert json.loads((run_dir / "summary.json").read_text()) == summary
    MENDED[0] = True
    try:
        assert main(command) == 0
    finally:
        MENDED[0] = False
    again = json.loads((run_dir / "summary.json").read_text())
    assert again["failed"] == []
    for key in ("final_return", "final_attempts", "evaluation"):
        assert again[key] == mended[key]
    assert rows(run_dir) == rows(folder / "mended")
    assert (run_dir / "metrics.jsonl.1.old").read_bytes() == before
    one, other = state(run_dir), state(folder / "mended")
    for seed in range(4):
        assert all(np.array_equal(*pair) for pair in zip(leaves(one, seed), leaves(other, seed), strict=True))
    assert "retry: null" in (run_dir / "config.yaml").read_text()
    kept = files(run_dir)
    assert main(command) == 0 and files(run_dir) == kept
    # It can be made longer, as one that never failed.
    longer = ["eval.every=96", "total_steps=224"]
    run(run_dir, *longer, mended=True)
    whole = shutil.copytree(folder / "mended", tmp_path / "whole")
    run(whole, *longer, mended=True)
    assert rows(run_dir) == rows(whole)
    finals = [json.loads((path / "summary.json").read_text())["final_return"] for path in (run_dir, whole)]
    assert finals[0] == finals[1]


def test_all_seeds_failed_is_a_failed_run(runs, tmp_path, capsys):
    _, mended, folder = runs
    words = [*SMALL, "env_params.risk=0.3", f"run_dir={tmp_path / 'run'}"]
    assert main(["train", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    before = files(tmp_path / "run")
    assert main(["train", *words]) == 1
    captured = capsys.readouterr()
    assert captured.err == line + "\n" and "compiling" not in captured.out
    assert files(tmp_path / "run") == before
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert not summary["completed"] and {one["seed"] for one in summary["failed"]} == set(range(4))
    assert summary["final_return"]["n"] == 0
    MENDED[0] = True
    try:
        assert main(["train", *words, "retry=failed"]) == 0
    finally:
        MENDED[0] = False
    again = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert again["failed"] == [] and again["failure"] is None
    assert [row["episode/return"] for row in rows(tmp_path / "run")] == [
        row["episode/return"] for row in rows(folder / "mended")
    ]


def test_who_looks_at_a_failed_seed_is_told(runs, capsys):
    summary, _, folder = runs
    first = summary["failed"][0]
    what = f"reward is not finite in update {first['update']}"
    note = f"seed {first['seed']} failed ({what}): using the agent before the failure"
    assert main(["evaluate", str(folder / "failed"), "episodes=2", "name=told", "env_params.risk=0"]) == 0
    assert note in capsys.readouterr().err
    assert main(["play", str(folder / "failed"), f"agent={first['seed']}", "max_steps=3", "env_params.risk=0"]) == 0
    assert note in capsys.readouterr().err
    found = reports.read(reports.Found(folder / "failed"))
    assert found.finished and set(found.curves) == set(range(4)) - {one["seed"] for one in summary["failed"]}
    assert f"seed {first['seed']} failed (reward is not finite in update {first['update']})" in found.status
    assert reports.read(reports.Found(folder / "mended")).status == "finished"


def test_a_sweep_counts_it_as_failed_and_does_not_start_it_again(runs, tmp_path, capsys):
    words = ["train", "--multirun", *SMALL, "seeds=3", "ppo.lr=0.01,0.02", f"run_dir={tmp_path / 'sweep'}"]
    words += ["total_steps=64", "eval.every=0"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "2 of 2 runs finished" in out and out.count("FAILED (seed 2 failed (reward is not finite in update 3)") == 2
    before = files(tmp_path / "sweep")
    assert main(words) == 1
    assert "training" not in capsys.readouterr().out and files(tmp_path / "sweep") == before


def test_a_program_of_several_runs(runs, tmp_path):
    _, mended, folder = runs
    configs = [compose([*SMALL, f"ppo.lr={lr}", f"run_dir={tmp_path / lr}"]) for lr in ("0.01", "1e30")]
    one, other = train_together(configs, [create_run_dir(config) for config in configs])
    assert one["failed"] == runs[0]["failed"] and one["completed"]
    assert isinstance(other, Failed) and " is not finite in update 2" in str(other)
    assert rows(tmp_path / "0.01") == rows(folder / "failed")
