"""Evaluation: as many episodes as asked for, none preferred, the agent as it was trained, and honest files."""

import json
import shutil
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rlformers.command.main import main
from rlformers.config import EvaluateConfig
from rlformers.config.compose import compose
from rlformers.envs import registry
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.spaces import Box, Discrete
from rlformers.experiment.checkpoints.store import good_checkpoints, read
from rlformers.experiment.evaluation import evaluate as evaluate_module
from rlformers.experiment.evaluation.episode_statistics import summarise
from rlformers.experiment.evaluation.evaluate import evaluate, parse_options
from rlformers.experiment.evaluation.one_agent import quotas
from rlformers.experiment.program.build import build
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.train import train


class State(NamedTuple):
    length: Any
    time: Any
    product: Any


@struct.dataclass
class Params:
    longest: Any = 6
    scale: Any = 3.0


class Plain(Environment):
    """Episodes of 1 or `longest` steps, even odds, which observations do not tell; action 1 at step t earns t.

    What happens in an episode follows from its length and the actions, so a loop without JAX can predict it.
    """

    never_truncates = True

    def __init__(self, num_actions: int = 2, size: int = 2, split: str = "all"):
        self._num_actions, self.size = num_actions, size

    def _observe(self, state, params):
        return jnp.full(self.size, params.scale * state.time, jnp.float32)

    def reset_env(self, key, params):
        zero = jnp.zeros((), jnp.int32)
        state = State(jnp.where(jax.random.bernoulli(key), params.longest, 1).astype(jnp.int32), zero, zero)
        return self._observe(state, params), state

    def step_env(self, key, state, action, params):
        state = State(state.length, state.time + 1, state.product * 2 + action)
        reward = (action * state.time).astype(jnp.float32)
        return self._observe(state, params), state, reward, state.time >= state.length, {}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    @property
    def default_params(self):
        return Params()

    def action_space(self, params=None):
        return Discrete(self._num_actions)

    def observation_space(self, params):
        return Box(-jnp.inf, jnp.inf, (self.size,), jnp.float32)


class Steps(Wrapper):
    """The same, which reports its episodes as `Trial` does."""

    reports = ("episode_task", "episode_attempt_return", "episode_attempt_count")

    def __init__(self, num_actions: int = 2, size: int = 2, split: str = "all"):
        super().__init__(Plain(num_actions, size, split))

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, _ = self.env.step_env(key, state, action, params)
        info = {
            "episode_task": state.length,
            "episode_attempt_return": jnp.stack([state.product, -state.product]).astype(jnp.float32),
            "episode_attempt_count": jnp.stack([1.0, jnp.where(state.length > 1, 1.0, 0.0)]),
        }
        return obs, state, reward, terminated, info


OVERRIDES = ["env=test/Steps", "seeds=2", "seed=3", "ppo.num_envs=4", "ppo.num_steps=8", "ppo.num_minibatches=1"]
OVERRIDES += ["model.width=8", "total_steps=96", "ppo.lr=0.1", "ppo.normalize_observations=true", "wandb.mode=disabled"]
OVERRIDES += ["checkpoint.every=0"]  # the last state only


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two seeds."""
    registry.register_env("test/Steps", Steps)
    config = compose([*OVERRIDES, f"run_dir={tmp_path_factory.mktemp('evaluate') / 'run'}"])
    path = create_run_dir(config)
    train(config, path)
    yield SimpleNamespace(path=path, config=config)
    del registry._entries["test/Steps"]


@pytest.mark.parametrize("episodes,num_envs", [(1, 8), (7, 8), (8, 8), (1000, 7)])
def test_quotas_add_up_and_differ_by_one_at_most(episodes, num_envs):
    quota = quotas(episodes, num_envs)
    assert quota.sum() == episodes and len(quota) <= num_envs
    assert quota.min() >= 1 and quota.max() - quota.min() <= 1


def expected(run, seed):
    """Return and code of the actions of a greedy episode of each length, by a loop over `agent.step`."""
    built = build(run.config)
    seeds = jax.vmap(jax.random.key)(jnp.array([3, 4]))
    template = jax.eval_shape(jax.vmap(built.learner.init), seeds)
    state = read(next(good_checkpoints(run.path / "checkpoints")), template)
    agent, moments = jax.tree.map(lambda x: x[seed], (state.agent, state.normalizers.observation))
    std = np.sqrt(moments.m2 / moments.num + 1e-8)
    found = {}
    for length in (1, 6):
        memory, total, code = agent.core.initial_state(), 0, 0
        for t in range(length):
            obs = jnp.clip((jnp.full(2, 3.0 * t) - moments.mean) / std, -10, 10)
            memory, output = agent.step(memory, obs, jnp.array(t == 0))
            action = int(jnp.argmax(output.policy))
            total, code = total + action * (t + 1), code * 2 + action
        found[length] = (total, code)
    return found


def test_greedy_episodes_are_those_of_a_plain_loop_and_the_file_holds_them(run, capsys):
    words = ["episodes=40", "num_envs=6", "greedy=true"]
    assert main(["evaluate", str(run.path), *words, "seed=7", "name=mine", "env_kwargs.split=heldout"]) == 0
    out, error = capsys.readouterr()
    assert "warning: env_kwargs.split: trained with split=all" in error and error.count("\n") == 1
    path = run.path / "evaluations" / "mine.json"
    assert str(path) in out and "40 episodes of each seed, greedy" in out
    result = json.loads(path.read_text())
    assert (result["env"], result["seeds"], result["seed"], result["greedy"]) == ("test/Steps", [3, 4], 7, True)
    assert result["checkpoint"] == {"update": 3, "step": 96}

    episodes = {name: np.array(values) for name, values in result["episodes"].items()}
    assert episodes["return"].shape == episodes["length"].shape == (2, 40)
    assert episodes["attempt_return"].shape == (2, 40, 2)
    np.testing.assert_array_equal(episodes["length"], episodes["task"])
    assert set(np.unique(episodes["length"])) == {1, 6}
    codes = set()
    for seed in range(2):
        should = expected(run, seed)
        for length, total, attempts in zip(
            episodes["length"][seed], episodes["return"][seed], episodes["attempt_return"][seed], strict=True
        ):
            assert (total, attempts[0]) == should[length]
            codes.add(attempts[0])
    assert len(codes) > 1, "the agents do something"

    returns = result["results"]["return"]
    per_seed = episodes["return"].mean(1)
    np.testing.assert_allclose([seed["mean"] for seed in returns["per_seed"]], per_seed)
    np.testing.assert_allclose(returns["mean"], per_seed.mean())
    assert returns["ci95"] is None and returns["range"] == pytest.approx(sorted(per_seed))  # two seeds
    assert "task" not in result["results"]

    other = evaluate(run.path, words)
    assert other["episodes"] != result["episodes"] and other["warning"] is None
    assert other["path"].name == "test-Steps_episodes=40_greedy=true_num_envs=6_step=96.json"


def test_long_episodes_are_as_frequent_as_they_are(run):
    result = evaluate(run.path, ["episodes=1000", "num_envs=50", "env_params.longest=30"])
    # Even odds within 4 standard deviations. The first 1000 to finish would have a share of about 0.1.
    for lengths in result["episodes"]["length"]:
        assert 0.43 < np.mean(np.array(lengths) == 30) < 0.57
    returns = np.array(result["episodes"]["return"])
    long = np.array(result["episodes"]["length"]) == 30
    assert len(np.unique(returns[long])) > 1, "actions are drawn"


def test_attempts_that_never_began_count_for_nothing():
    returns = np.array([[[1.0, 5.0], [2.0, 0.0], [3.0, 7.0]], [[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]]])
    counts = np.array([[[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    first, second = summarise({"attempt_return": returns, "attempt_count": counts})["attempt_return"]["entries"]
    assert [seed["mean"] for seed in first["per_seed"]] == [2.0, 4.0] and first["mean"] == 3.0
    assert [seed["mean"] for seed in second["per_seed"]] == [6.0, None] and second["mean"] == 6.0
    assert second["ci95"] is None and first["per_seed"][1]["ci95"] is None


def test_intervals_are_over_tasks():
    """25 tasks, 40 trials of each: what is known about the mean over tasks is what 25 numbers tell."""
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(25), 40)
    returns = (rng.normal(size=25)[tasks] + rng.normal(scale=0.1, size=1000))[None]
    means = np.array([returns[0, tasks == task].mean() for task in range(25)])

    def width(**values):
        low, high = summarise(values)["return"]["per_seed"][0]["ci95"]
        return high - low

    expected = 2 * 2.064 * means.std(ddof=1) / np.sqrt(25)
    assert width(**{"return": returns, "task": tasks[None, :, None]}) == pytest.approx(expected, rel=0.1)
    assert width(**{"return": returns}) == pytest.approx(2 * 1.96 * returns.std() / np.sqrt(1000), rel=0.1)
    assert summarise({"return": returns, "task": np.zeros((1, 1000))})["return"]["per_seed"][0]["ci95"] is None


def test_another_environment_comes_with_its_own_arguments(run):
    _, config = parse_options(run.path, ["env_params.longest=9", "wrap.noise=0.5"])
    assert (config.env, config.env_params, config.wrap.noise) == ("test/Steps", {"longest": 9}, 0.5)
    saved = compose(["env=memory/TMaze", "env_params.length=4", "env_kwargs.active=true"])
    other = run.path.with_name("other")
    other.mkdir()
    from rlformers.experiment.run_files.run_dir import write_config

    write_config(other, saved)
    options, config = parse_options(other, ["env=test/Steps", "episodes=3", "checkpoint=12"])
    assert (config.env, config.env_params, config.env_kwargs) == ("test/Steps", {}, {})
    assert options == EvaluateConfig(episodes=3, checkpoint="12")
    _, config = parse_options(other, ["env=memory/TMaze", "env_params.length=40"])
    assert (config.env_params, config.env_kwargs) == ({"length": 40}, {"active": True})


@pytest.mark.parametrize(
    "words,message",
    [
        (["episode=5"], "episode: unknown key; did you mean 'episodes'?"),
        (["episodes=0"], "episodes: need at least 1, got 0"),
        (["episodes=many"], "episodes: need an int, got 'many'"),
        (["checkpoint=newest"], "checkpoint: need last, best or the number of an update, got 'newest'"),
        (["checkpoint=77"], "checkpoint: '77' is not one of last, best, 3"),
        (["name=../up"], "name: need a file name"),
        (["ppo.lr=1"], "ppo.lr: unknown key"),
        (["env=test/Stops"], "did you mean 'test/Steps'?"),
        (["env_params.longes=3"], "env_params.longes: this environment has longest, scale"),
        (["env_kwargs.size=3"], "env: test/Steps has other observations than the agent was trained on: "),
        (["env_kwargs.num_actions=3"], "env: test/Steps has other actions than the agent was trained on: "),
        (["core=s5"], "core: cannot be changed"),
    ],
)
def test_bad_words_are_one_line(words, message, run, capsys):
    before = sorted(run.path.rglob("*"))
    assert main(["evaluate", str(run.path), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(run.path.rglob("*")) == before


def test_an_edited_configuration_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("\nseed: 3\n", "\nseed: 5\n"))
    assert main(["evaluate", str(copy)]) == 2
    assert f"config.yaml was edited: seed=5 was 3 when {copy}/checkpoints/3 was made" in capsys.readouterr().err


def test_nothing_is_overwritten_and_a_result_is_shown_even_if_it_cannot_be_kept(run, monkeypatch, capsys):
    words = ["evaluate", str(run.path), "episodes=2", "greedy=true", "name=kept"]
    monkeypatch.setattr(evaluate_module, "write_json", lambda path, value: (_ for _ in ()).throw(OSError(28, "full")))
    assert main(words) == 2
    captured = capsys.readouterr()
    assert "2 episodes of each seed" in captured.out and "kept.json: full" in captured.err
    (run.path / "evaluations" / "kept.json").write_text("{}")
    assert main(words) == 2
    assert "kept.json exists and is not overwritten" in capsys.readouterr().err


def test_what_cannot_be_evaluated_says_so(tmp_path, capsys):
    assert main(["evaluate"]) == main(["evaluate", "episodes=3"]) == 2
    assert "usage: rlformers evaluate RUN_DIR" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path)]) == 2
    assert f"{tmp_path}/config.yaml: No such file" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("core: {name: gru}\n")
    assert main(["evaluate", str(tmp_path)]) == 2
    assert f"checkpoint: there is none in {tmp_path}" in capsys.readouterr().err
