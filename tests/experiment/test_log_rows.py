"""A row covers all updates since the row before, and everything that an environment reports about its episodes."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.envs import registry as envs
from rlformers.envs.environment import Environment
from rlformers.envs.registry import register_env
from rlformers.envs.spaces import Box, Discrete
from rlformers.experiment.program.build import check
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.log_sums import LARGEST, LogSums
from rlformers.experiment.training.train import train

SMALL = ["core=mlp", "model.width=8", "seeds=2", "wandb.mode=disabled", "ppo.num_envs=2", "ppo.num_steps=8"]
SMALL += ["ppo.num_minibatches=1", "ppo.update_epochs=1", "total_steps=160", "ppo.lr=0.01"]


class Time(NamedTuple):
    time: Array


@struct.dataclass
class Params:
    name: Any = 0


class Reports(Environment):
    """Episodes of five steps that report values of their own."""

    never_truncates = True

    def __init__(self, names=("success", "parts")):
        self.names = names

    def reset_env(self, key, params):
        return jnp.ones(2), Time(jnp.zeros((), jnp.int32))

    def step_env(self, key, state, action, params):
        state = Time(state.time + 1)
        values = {"parts": state.time * jnp.arange(1.0, 4.0), "attempt_return": jnp.ones(2)}
        values["attempt_count"] = jnp.ones(3)
        info = {f"episode_{name}": values.get(name, 0.1 * state.time) for name in self.names}
        return jnp.full(2, state.time / 5.0), state, jnp.where(action == 1, 1.0, 0.0), state.time >= 5, info

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    @property
    def default_params(self):
        return Params()

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (2,), jnp.float32)


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_env("test/Reports", Reports)
    yield
    del envs._entries["test/Reports"]


def rows(folder: Path, *words: str) -> list[dict]:
    config = compose([*SMALL, *words, f"run_dir={folder}"])
    train(config, create_run_dir(config))
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_row_is_over_the_updates_since_the_row_before(tmp_path):
    every = rows(tmp_path / "1", "log_every=1", "env=test/Reports")
    fourth = rows(tmp_path / "4", "log_every=4", "env=test/Reports")
    assert [row["step"] for row in fourth] == [64, 64, 128, 128, 160, 160]
    for row in fourth:
        span = 32 if row["step"] == 160 else 64
        parts = [one for one in every if one["seed"] == row["seed"] and 0 <= row["step"] - one["step"] < span]
        assert len(parts) == span // 16
        learner = [key for key in row if key.startswith("ppo/")]
        assert len(learner) >= 9
        for key in learner:
            values = [part[key] for part in parts]
            assert row[key] == (max(values) if key in LARGEST else pytest.approx(np.mean(values), rel=1e-12)), key
        for key in ("memory/age", "memory/starts"):
            assert row[key] == parts[-1][key]
        assert row["episode/count"] == sum(part["episode/count"] for part in parts) > 0
        # Five steps: 0.1 x 5, and 5 x 1, 2, 3.
        assert row["episode/success"] == pytest.approx(0.5) and row["episode/length"] == 5
        assert [row[f"episode/parts_{k}"] for k in (1, 2, 3)] == [5.0, 10.0, 15.0]


def test_sums_go_on_exactly_from_a_checkpoint():
    rng = np.random.default_rng(0)
    whole, broken = LogSums(), LogSums()
    for _ in range(7):
        metrics = {name: rng.normal(size=2).astype(np.float32) for name in ("ppo/entropy", *LARGEST, "memory/age")}
        metrics["episode/return"] = np.ones(2)
        whole.add(metrics)
        broken = LogSums(json.loads(json.dumps(broken.to_json())))
        broken.add(metrics)
    expected = whole.pop()
    assert broken.pop() == expected and set(expected[0]) == {"ppo/entropy", *LARGEST, "memory/age"}
    whole.add(metrics)
    assert [row["ppo/entropy"] for row in whole.pop()] == metrics["ppo/entropy"].tolist()


@pytest.mark.parametrize(
    "name", ["count", "return", "length", "task", "attempt_1", "attempt_mean", "attempt_return", "attempt_count"]
)
def test_reserved_names_are_refused_before_anything_is_written(name, tmp_path, capsys):
    words = ["env=test/Reports", f"env_kwargs.names=[success,{name}]", f"run_dir={tmp_path / 'run'}"]
    assert main(["train", *SMALL, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rlformers: env: Reports reports info['episode_{name}'], a name of ")
    assert not (tmp_path / "run").exists()


def test_names_that_would_be_one_are_refused():
    with pytest.raises(ValueError, match="would both be episode/parts_2; rename one"):
        check(compose([*SMALL, "env=test/Reports", "env_kwargs.names=[parts,parts_2]"]))
    with pytest.raises(ValueError, match="reports info\\['episode_attempt_count'\\]"):
        check(compose([*SMALL, "env=test/Reports", "env_kwargs.names=[attempt_return,attempt_count]"]))
