"""Evaluation while training: on time, of the right agents, and without a trace in the training."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array

from rlformers.command.main import main
from rlformers.config.compose import compose, load
from rlformers.envs import registry
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.spaces import Box, Discrete
from rlformers.experiment.checkpoints.store import best_of, good_checkpoints, read
from rlformers.experiment.evaluation import during_training
from rlformers.experiment.evaluation.all_seeds import EpisodesDoNotEnd, Player
from rlformers.experiment.evaluation.during_training import PeriodicEvaluation, make_player, means
from rlformers.experiment.program.build import build
from rlformers.experiment.reports.runs import Found
from rlformers.experiment.reports.runs import read as read_run
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.train import train


class State(NamedTuple):
    time: Array
    total: Array


@struct.dataclass
class Params:
    length: Any = 5


class Plain(Environment):
    """Episodes of `length` steps."""

    never_truncates = True

    def reset_env(self, key, params):
        return jnp.zeros(2), State(jnp.zeros((), jnp.int32), jnp.zeros(()))

    def step_env(self, key, state, action, params):
        reward = jnp.where(action == 1, 1.0, 0.0) + 0.1 * jax.random.uniform(key)
        state = State(state.time + 1, state.total + reward)
        return jnp.full(2, state.time / 5.0), state, reward, state.time >= params.length, {}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    @property
    def default_params(self):
        return Params()

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (2,), jnp.float32)


class Trial(Wrapper):
    """Episodes count as two attempts, of which nobody completes the second."""

    reports = ("episode_task", "episode_attempt_return", "episode_attempt_count")

    def __init__(self):
        super().__init__(Plain())

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, _ = self.env.step_env(key, state, action, params)
        info = {
            "episode_attempt_return": jnp.stack([2 * state.total, 0.0]),
            "episode_attempt_count": jnp.array([1.0, 0.0]),
            "episode_task": state.time,
        }
        return obs, state, reward, terminated, info


SMALL = ["env=test/Trial", "core=mlp", "model.width=8", "seeds=2", "seed=3", "ppo.lr=0.03", "wandb.mode=disabled"]
SMALL += ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=1", "log_every=2"]
SMALL += ["ppo.normalize_observations=true", "total_steps=240", "checkpoint.every=0", "checkpoint.keep=1"]
# 15 updates of 16 steps, log points at 2, 4, ..., 14 and 15.
EVALUATED = ["eval.every=70", "eval.episodes=7", "eval.num_envs=3", "eval.env_params.length=3"]
WHEN = [2 * 16, 6 * 16, 10 * 16, 14 * 16, 15 * 16]  # the first, those that reach 70, 140 and 210, the last


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with evaluations and one without."""
    registry.register_env("test/Trial", Trial)
    folder = tmp_path_factory.mktemp("periodic")
    for name, words in {"with": EVALUATED, "without": []}.items():
        config = compose([*SMALL, *words, f"run_dir={folder / name}"])
        train(config, create_run_dir(config))
    yield SimpleNamespace(with_evaluation=folder / "with", without=folder / "without")
    del registry._entries["test/Trial"]


def rows(run_dir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "perf/steps_per_second"} for row in lines]


def training_only(row: dict) -> dict:
    return {key: value for key, value in row.items() if not key.startswith("eval/")}


def restored(run_dir: Path):
    config = load(run_dir / "config.yaml")
    built = build(config.evaluated)
    template = jax.eval_shape(jax.vmap(built.learner.init), jax.vmap(jax.random.key)(jnp.array([3, 4])))
    checkpoint = next(good_checkpoints(run_dir / "checkpoints"))
    return config, built, read(checkpoint, template)


def test_training_does_not_notice(runs):
    found = rows(runs.with_evaluation)
    assert [training_only(row) for row in found] == rows(runs.without)
    for one, other in zip(*(jax.tree.leaves(restored(path)[2].agent) for path in vars(runs).values()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_evaluations_are_on_time_and_of_the_agents_after_the_update(runs):
    found = rows(runs.with_evaluation)
    evaluated = [row for row in found if "eval/return" in row]
    assert [(row["seed"], row["step"]) for row in evaluated] == [(seed, step) for step in WHEN for seed in (3, 4)]
    for row in evaluated:
        names = {name for name in row if name.startswith("eval/")}
        assert names == {"eval/return", "eval/length", "eval/attempt_1", "eval/attempt_2"}
        assert row["eval/length"] == 3 and row["episode/length"] == 5  # the former's environment is another one
        assert row["eval/attempt_1"] == pytest.approx(2 * row["eval/return"]) and row["eval/attempt_2"] is None
    assert len({row["eval/return"] for row in evaluated}) == 10, "seeds and updates have random numbers of their own"

    config, built, state = restored(runs.with_evaluation)
    player = Player(config.evaluated, built, 7, 3, greedy=False)
    key = jax.random.fold_in(jax.random.key(0), 0x5EED)
    keys = jnp.stack([jax.random.fold_in(jax.random.fold_in(key, seed), 15) for seed in (3, 4)])
    last = means(player(state.agent, state.normalizers.observation, keys))
    assert [row["return"] for row in last] == [row["eval/return"] for row in evaluated[-2:]]

    summary = json.loads((runs.with_evaluation / "summary.json").read_text())["evaluation"]
    assert summary["step"] == 240 and summary["return"]["per_seed"] == [row["return"] for row in last]
    assert summary["return"]["mean"] == pytest.approx(np.mean([row["return"] for row in last]))
    nothing = {"ci95": None, "range": None}
    assert summary["attempt_2"] == {"per_seed": [None, None], "n": 0, "mean": None, "iqm": None} | nothing
    assert json.loads((runs.without / "summary.json").read_text())["evaluation"] is None


def test_the_best_checkpoint_is_the_best_evaluated_state(runs):
    evaluated = [row for row in rows(runs.with_evaluation) if "eval/return" in row]
    means_over_seeds = [
        (a["eval/return"] + b["eval/return"]) / 2 for a, b in zip(evaluated[::2], evaluated[1::2], strict=True)
    ]
    best = WHEN[int(np.argmax(means_over_seeds))]
    scores = {c.update * 16: c.meta["score"] for c in good_checkpoints(runs.with_evaluation / "checkpoints")}
    assert set(scores) == {best, 240} and scores[best] == pytest.approx(max(means_over_seeds))
    metas = {c.update: c.meta for c in good_checkpoints(runs.with_evaluation / "checkpoints")}
    assert best_of(metas) == best // 16


class Died(Exception):
    pass


def test_a_run_that_died_in_between_equals_one_that_did_not(runs, tmp_path, monkeypatch):
    config = compose([*SMALL, *EVALUATED, f"run_dir={tmp_path / 'run'}", "checkpoint.keep_every=48"])
    run_dir = create_run_dir(config)
    due = PeriodicEvaluation.due

    def dies(self, update):
        if update == 12:  # a log point behind the third evaluation
            raise Died
        return due(self, update)

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(PeriodicEvaluation, "due", dies)
        train(config, run_dir)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert not summary["completed"] and summary["evaluation"]["step"] == 160
    summary = train(config, run_dir)
    assert rows(run_dir) == rows(runs.with_evaluation)
    assert summary["evaluation"] == json.loads((runs.with_evaluation / "summary.json").read_text())["evaluation"]


def test_changes_are_refused_by_name(runs, tmp_path, capsys):
    run_dir = shutil.copytree(runs.with_evaluation, tmp_path / "run")
    assert main(["train", f"resume={run_dir}", "eval.every=10", "eval.env_params.length=4"]) == 2
    error = capsys.readouterr().err
    assert "resume: eval.every=10.0 was 70.0, eval.env_params.length=4 was 3 in " in error


@pytest.mark.parametrize(
    "every,log_every,total", [(70, 2, 240), (16, 1, 160), (1, 3, 160), (1000, 1, 160), (33, 4, 900)]
)
def test_the_next_evaluation(every, log_every, total):
    words = [f"eval.every={every}", f"log_every={log_every}", f"total_steps={total}"]
    config = compose(["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", *words])
    evaluation = object.__new__(PeriodicEvaluation)
    evaluation._config = config
    last = config.num_updates
    if every < 16 * log_every:  # then they do not wait for log points
        log_every = 1
    logged = sorted({*range(log_every, last + 1, log_every), last})
    due, before = [], 0
    for update in logged:
        if before == 0 or update * 16 // every > before * 16 // every or update == last:
            due.append(update)
        before = update
    assert [evaluation.next_update(done) for done in range(last)] == [
        min(update for update in due if update > done) for done in range(last)
    ]


def test_between_log_points_evaluations_have_rows_of_their_own(runs, tmp_path):
    """Every 20 steps, where a log point is every 64: after updates 1, 2, 3, 4, 5, 7, 8, 9, 10, ..."""
    words = ["eval.every=20", "eval.episodes=2", "log_every=4", "checkpoint.keep_every=48"]
    config = compose([*SMALL, *words, f"run_dir={tmp_path / 'run'}"])
    train(config, create_run_dir(config))
    due = sorted({1, *(-(-20 * k // 16) for k in range(1, 13)), 15})
    found = rows(tmp_path / "run")
    assert [(row["step"], row["seed"]) for row in found] == [(16 * u, seed) for u in due for seed in (3, 4)]
    assert set(due) >= {4, 8, 12, 15}
    for row in found:
        logged = row["step"] in (64, 128, 192, 240)
        assert row["eval/return"] is not None and ("ppo/lr" in row) == logged == ("episode/count" in row)
        assert logged or {key.split("/")[0] for key in row} == {"seed", "step", "eval"}
    # Rows between leave sums as they are.
    plain = compose([*SMALL, "log_every=4", f"run_dir={tmp_path / 'plain'}"])
    train(plain, create_run_dir(plain))
    assert [training_only(row) for row in found if "ppo/lr" in row] == rows(tmp_path / "plain")
    runs = read_run(Found(tmp_path / "run"))
    assert all(len(curve) == 4 for curve in runs.curves.values())
    assert all(len(curve) == len(due) for curve in runs.evaluated.values())


def test_without_an_end_there_is_no_value(runs, monkeypatch, capsys):
    def never(*_):
        raise EpisodesDoNotEnd("env: no episode of test/Trial ended within 100,000 steps")

    evaluation = PeriodicEvaluation(compose([*SMALL, *EVALUATED]), [3, 4])
    monkeypatch.setattr(evaluation, "_play", never)
    _, _, state = restored(runs.with_evaluation)
    assert evaluation.after(2, state) == [{"eval/return": None, "eval/length": None}] * 2
    assert (
        "eval: env: no episode of test/Trial ended within 100,000 steps; the evaluation after 32"
        in capsys.readouterr().out
    )
    assert evaluation.score(2) is None and during_training.means({"return": np.array([[np.nan]])}) == [{"return": None}]


def test_keys_are_checked():
    for word, message in {
        "eval.every=0.5": "eval.every: need a whole number of environment steps, got 0.5",
        "eval.episodes=0": "eval.episodes: need at least 1, got 0",
        "eval.num_envs=-1": "eval.num_envs: need 0 or more, got -1",
        "eval.env_params=3": "eval.env_params: need eval.env_params.NAME=..., got '3'",
        "eval.evry=3": "eval.evry: unknown key; did you mean 'eval.every'?",
    }.items():
        with pytest.raises(ValueError) as caught:
            compose([word])
        assert str(caught.value) == message
    assert compose(["+eval.env_kwargs.split=heldout"]).eval.env_kwargs == {"split": "heldout"}


def test_an_evaluation_that_cannot_be_is_refused_before_anything_runs(tmp_path, capsys):
    words = ["eval.every=1000", f"run_dir={tmp_path / 'run'}"]
    assert main(["train", "env=memory/TMaze", *words, "eval.env_params.lngth=3"]) == 2
    assert capsys.readouterr().err.startswith("rlformers: eval: env_params")
    assert main(["train", "env=memory/Copy", *words, "eval.env_kwargs.num_symbols=9"]) == 2
    assert "eval: env: memory/Copy has other observations than the agent was trained on" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["all", "train"])
def test_held_out_tasks_that_are_trained_on_are_told(split, capsys):
    config = compose(
        ["env=meta/DarkRoom", f"env_kwargs.split={split}", "eval.every=100", "eval.env_kwargs.split=heldout"]
    )
    make_player(config)
    assert ("warning: eval.env_kwargs.split: trained with split=all" in capsys.readouterr().err) == (split == "all")
