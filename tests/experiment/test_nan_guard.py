"""A NaN or infinity ends a seed, and the run if no seed is left. It is named and never saved; good states are kept."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jaxtyping import Array

from rlformers.agents.finite import checked, finite_learning, finite_state, first_failure
from rlformers.agents.ppo import TrainState
from rlformers.command.main import main
from rlformers.config.compose import compose, load
from rlformers.cores import registry as cores
from rlformers.cores.core import Core
from rlformers.cores.registry import built_in, make_core, register_core
from rlformers.envs import registry as envs
from rlformers.envs.environment import Environment
from rlformers.envs.registry import register_env
from rlformers.envs.spaces import Box, Discrete
from rlformers.experiment.checkpoints.store import good_checkpoints, read
from rlformers.experiment.program.build import build
from rlformers.experiment.training.nan_guard import Guard, debugged

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=2", "ppo.update_epochs=1", "model.width=8"]
SMALL += ["core=mlp", "total_steps=64", "log_every=1", "wandb.mode=disabled", "checkpoint.keep_every=16"]


class Life(NamedTuple):
    time: Array
    luck: Array


@struct.dataclass
class Params:
    observation: Any = 10**6  # first step that is not finite in unlucky copies
    reward: Any = 10**6
    share: Any = 1.0  # of the unlucky


class Breaks(Environment):
    """Never ends, and breaks at some point."""

    never_truncates = True

    def reset_env(self, key, params):
        state = Life(jnp.zeros((), jnp.int32), jax.random.uniform(key))
        return self._observe(state, params), state

    def _observe(self, state, params):
        broken = (state.time >= params.observation) & (state.luck < params.share)
        return jnp.where(broken, jnp.nan, jnp.ones(3))

    def step_env(self, key, state, action, params):
        state = Life(state.time + 1, state.luck)
        reward = jnp.where(state.time >= params.reward, jnp.inf, 1.0)
        return self._observe(state, params), state, reward, jnp.zeros((), bool), {}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    @property
    def default_params(self):
        return Params()

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params):
        return Box(-1, 1, (3,), jnp.float32)


class Root(Core[tuple[()]]):
    """y = x + sqrt(w²) at w = 0, where the root has no derivative."""

    w: Array

    def initial_state(self):
        return ()

    def step(self, state, x, start):
        return (), x + jnp.sqrt(jnp.square(self.w))


class Largest(Core[Array]):
    """y = x, with a memory that is the maximum over nothing."""

    def initial_state(self):
        return jnp.full(2, -jnp.inf)

    def step(self, state, x, start):
        return state, x


@pytest.fixture(scope="module", autouse=True)
def registered():
    register_env("test/Breaks", Breaks)
    for name, make in {"root": Root, "largest": lambda _: Largest()}.items():
        definition = SimpleNamespace(
            Config=Nothing, make=lambda config, width, num_layers, key, make=make: make(jnp.zeros(width))
        )
        register_core(name, definition)
    yield
    del envs._entries["test/Breaks"], cores._entries["root"], cores._entries["largest"]


@struct.dataclass
class Nothing:
    """No options."""


def failed(run_dir, *overrides, capsys):
    """Train, expecting failure; the line that it ends with."""
    assert main(["train", *SMALL, f"run_dir={run_dir}", *overrides]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("rlformers: ")


def rows(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "perf/steps_per_second"} for row in lines]


def test_an_observation_stops_the_run_before_it_is_saved(tmp_path, capsys):
    run_dir = tmp_path / "run"
    # Nothing has used the first NaN observation yet, which comes after update 3.
    asked = [
        "env=test/Breaks",
        "env_params.observation=24",
        "seed=4",
        "seeds=2",
        "core=largest",
    ]
    line = failed(run_dir, *asked, capsys=capsys)

    config = load(run_dir / "config.yaml")
    keys = jax.vmap(jax.random.key)(jnp.arange(4, 6))
    template = jax.jit(jax.vmap(build(config).learner.init))(keys)
    assert line == (
        "observation is not finite in update 3, up to step 48, of seed 4 (and of 5); "
        f"last good checkpoint {run_dir}/checkpoints/2; resume={run_dir} retry=failed debug=true finds the line; "
        "if training diverged, try a new run with a lower ppo.lr"
    )
    assert [row["step"] for row in rows(run_dir)] == [16] * 2 + [32] * 2
    # Memories are infinite all the time, which is allowed.
    for row in rows(run_dir):
        assert row["memory/state_norm"] is row["memory/state_max"] is None and row["memory/age"] == 8
    summary = json.loads((run_dir / "summary.json").read_text())
    assert not summary["completed"] and summary["total_steps"] == 32
    assert summary["failure"] == {
        "what": "observation is not finite",
        "update": 3,
        "step": 48,
        "seeds": [4, 5],
        "checkpoint": f"{run_dir}/checkpoints/2",
    }
    saved = list(good_checkpoints(run_dir / "checkpoints"))
    assert [checkpoint.update for checkpoint in saved] == [2, 1]
    state = read(saved[0], template)
    floats = [x for x in jax.tree.leaves(state._replace(memory=())) if jnp.issubdtype(x.dtype, jnp.inexact)]
    assert all(np.isfinite(x).all() for x in floats)

    before = rows(run_dir)
    assert failed(run_dir, *asked, capsys=capsys) == line
    assert rows(run_dir) == before


def test_the_first_minibatch_with_a_failure_counts():
    flags = jnp.ones((2, 2, 3), bool).at[0, 1, 2].set(False).at[1].set(False)
    assert first_failure(flags).tolist() == [True, True, False]
    assert first_failure(jnp.ones((2, 2, 3), bool)).all()


@pytest.mark.slow
def test_a_gradient_is_named_before_what_it_spoils(tmp_path, capsys):
    line = failed(tmp_path / "run", "core=root", capsys=capsys)
    assert line.startswith(
        "gradient of agent.core.w is not finite in update 1, up to step 16, of seed 0; there was no "
    )


def test_debug_names_seeds_and_lines():
    def update(state):
        root = jnp.sqrt(state.agent["w"])
        return state, {"finite": jnp.ones(6, bool), "loss": root}

    blank = TrainState(*[None] * len(TrainState._fields))
    state = blank._replace(agent={"w": jnp.array([1.0, -1.0, 0.0, -2.0])})
    guard = Guard(state)
    _, metrics = jax.jit(jax.vmap(debugged(update)))(state)
    here, number = os.path.abspath(__file__), _line('root = jnp.sqrt(state.agent["w"])')
    what = f"debug: nan generated by primitive: sqrt at {here}:{number} (update)"
    assert guard.check(metrics) == {1: what, 3: what}
    _, metrics = jax.jit(jax.vmap(debugged(update)))(state._replace(agent={"w": jnp.ones(4)}))
    assert guard.check(metrics) == {}
    assert metrics.keys() == {"loss"}


@pytest.mark.slow
def test_debug_in_a_run(tmp_path, capsys):
    line = failed(tmp_path / "run", "core=root", "debug=true", "seeds=2", capsys=capsys)
    here, number = os.path.abspath(__file__), _line("jnp.sqrt(jnp.square(self.w))")
    assert line.startswith(f"debug: division by zero at {here}:{number} (step) called from ")
    assert "rlformers/cores/core.py:" in line and "debug=true" not in line
    assert ") in update 1, up to step 16, of seed 0 (and of 1); there was no checkpoint yet; if training " in line


@pytest.mark.slow
def test_debug_raises_no_false_alarm_in_a_run(tmp_path):
    words = [*SMALL, "core=gru", "debug=true", "seeds=2", "ppo.normalize_observations=true"]
    assert main(["train", *words, f"run_dir={tmp_path / 'run'}"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", built_in())
def test_debug_raises_no_false_alarm_in_a_core(name):
    """What an update does with a core, without the rest, which takes minutes to compile with checks."""

    def act_and_learn(state):
        key = state.key
        core = make_core(name, 8, 1, key=key)
        xs, starts = jax.random.normal(key, (24, 8)), jax.random.bernoulli(key, 0.2, (24,)).at[0].set(True)
        memory, ys = jax.lax.scan(lambda memory, x: core.step(memory, *x), core.initial_state(), (xs, starts))

        def loss(core):
            return jnp.square(core.scan(core.prepare(memory), xs, starts)[1]).sum()

        return state._replace(agent=jax.grad(loss)(core)), {"finite": jnp.ones(6, bool), "ys": ys}

    blank = TrainState(*[None] * len(TrainState._fields))
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    _, metrics = jax.jit(jax.vmap(debugged(act_and_learn)))(blank._replace(key=keys))
    assert Guard(blank).check(metrics) == {}


def _line(code):
    return next(
        number for number, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.strip().endswith(code)
    )


@pytest.mark.slow
def test_a_reward_and_a_huge_learning_rate(tmp_path, capsys):
    line = failed(tmp_path / "reward", "env=test/Breaks", "env_params.reward=24", capsys=capsys)
    assert line.startswith("reward is not finite in update 3, up to step 48, of seed 0; last good checkpoint ")
    line = failed(tmp_path / "lr", "core=gru", "ppo.lr=1e30", "seeds=2", capsys=capsys)
    assert " is not finite in update 1, up to step 16, of seed 0 (and of 1); there was no checkpoint yet; " in line
    assert not (tmp_path / "lr" / "checkpoints").exists() and rows(tmp_path / "lr") == []
    for what in ("multirun", "-m"):
        run_dir = tmp_path / what
        words = ["core=gru", "ppo.lr=1e30,1e-3", f"run_dir={run_dir}"]
        assert main(["train", "--multirun", *SMALL, *words]) == 1
        out = capsys.readouterr().out
        assert "1 of 2 runs finished" in out and "is not finite in update 1" in out


def test_flags_have_the_names_of_their_leaves():
    learner = build(compose([*SMALL, "env=test/Breaks", "core=gru", "ppo.normalize_observations=true"])).learner
    shapes, metrics = jax.eval_shape(learner.update, jax.eval_shape(learner.init, jax.random.key(0)))
    names = checked(shapes)
    assert metrics["finite"].shape == (len(names),) and len(set(names)) == len(names)

    agent, normalizers = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), (shapes.agent, shapes.normalizers))
    losses = {name: np.zeros(()) for name in ("policy_loss", "value_loss", "entropy", "grad_norm")}
    of_state = jax.jit(lambda *parts: finite_state(shapes._replace(agent=parts[0], normalizers=parts[1])))
    of_learning = jax.jit(finite_learning)
    for broken, leaf in jax.tree_util.tree_leaves_with_path(agent):
        if leaf.size:
            spoilt = jax.tree_util.tree_map_with_path(
                lambda path, x, broken=broken: np.full_like(x, np.inf) if path == broken else x, agent
            )
            name = "agent" + jax.tree_util.keystr(broken)
            flags = np.asarray(of_state(spoilt, normalizers))
            assert [names[len(names) - len(flags) + i] for i in np.flatnonzero(~flags)] == [name]
            flags = np.asarray(of_learning(spoilt, losses))
            assert [names[names.index("policy_loss") + i] for i in np.flatnonzero(~flags)] == [f"gradient of {name}"]
    spoilt = normalizers._replace(reward=normalizers.reward._replace(m2=np.float32(np.inf)))
    flags = np.asarray(of_state(agent, spoilt))
    assert [names[len(names) - len(flags) + i] for i in np.flatnonzero(~flags)] == ["normalizers.reward.m2"]
