"""`play` and `inspect` show every step as it was and describe the agent's memory correctly."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from rlformers import register_core
from rlformers.agents.agent import Agent, Output
from rlformers.agents.normalizers import normalize_observation
from rlformers.agents.policies import CategoricalPolicy
from rlformers.command.main import main
from rlformers.config import InspectConfig, PlayConfig
from rlformers.config.compose import compose
from rlformers.cores import framestack, registry, s5, transformer
from rlformers.cores.stack import Stack
from rlformers.experiment.checkpoints.store import CheckpointStore
from rlformers.experiment.evaluation.evaluate import Trained, load_trained, training_keys
from rlformers.experiment.inspection.episode_trace import attempts, choose_agent, returns_so_far, watch
from rlformers.experiment.inspection.influence import Influence, by_lag, influence, lag_that_holds
from rlformers.experiment.inspection.inspect_memory import draw, examine, inspect
from rlformers.experiment.inspection.play import play
from rlformers.experiment.inspection.step_text import rows
from rlformers.experiment.inspection.time_scales import time_scales
from rlformers.experiment.program.build import build
from rlformers.experiment.program.xla_cache import enable_compilation_cache
from rlformers.experiment.run_files.run_dir import create_run_dir

WORDS = ["env=meta/DarkRoom", "env_kwargs.episodes=2", "core=test/both", "model.width=8", "seeds=2", "seed=3"]
WORDS += ["ppo.num_envs=4", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.normalize_observations=true"]
WORDS += ["total_steps=64", "wandb.mode=disabled", "checkpoint.every=0"]


def make_both(config, width, num_layers, key):
    """A core with everything that `inspect` shows: a recurrence, then attention."""
    below = s5.S5(width, s5.Config(state_size=4), key=key)
    return Stack((below, transformer.Layer(width, 5, 1, transformer.Config(heads=2), key=key)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two seeds. Its training is noise on the parameters: a learner takes as long to compile as all else."""
    register_core("test/both", SimpleNamespace(Config=framestack.Config, make=make_both))
    config = compose([*WORDS, f"run_dir={tmp_path_factory.mktemp('inside') / 'run'}"])
    path = create_run_dir(config)
    enable_compilation_cache()
    state = jax.jit(jax.vmap(build(config).learner.init))(training_keys(config))
    leaves, structure = jax.tree.flatten(state.agent)
    rng = np.random.default_rng(0)
    agent = structure.unflatten([leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves])
    moments = jax.tree.map(lambda x: x + 3, state.normalizers.observation)
    store = CheckpointStore(path / "checkpoints", keep=1)
    store.save(2, state._replace(agent=agent, normalizers=state.normalizers._replace(observation=moments)), {})
    store.close()
    yield SimpleNamespace(path=path, config=config)
    del registry._entries["test/both"]


LIMITS = ["env_kwargs.steps=9", "episodes=2", "max_steps=12", "greedy=true"]  # a trial of 9 steps, and 3 of the next


@pytest.fixture(scope="module")
def watched(run):
    trained = load_trained(run.path, [*LIMITS, "agent=4"], PlayConfig)
    return trained, watch(trained)


def test_what_is_watched_is_what_the_agent_did(watched):
    """Played again from the observations by `agent.scan`, and the environment's states by its own step."""
    trained, seen = watched
    _, agent, moments = choose_agent(trained)
    assert np.array_equal(np.flatnonzero(seen.start), [0, 9])
    normalised = normalize_observation(moments, agent.as_numbers(seen.obs, 1))
    again = jax.jit(lambda agent, *segment: agent.scan(agent.core.initial_state(), *segment))
    _, output = again(agent, normalised, jnp.asarray(seen.start))
    np.testing.assert_allclose(output.policy, seen.policy, atol=1e-5)
    np.testing.assert_allclose(output.value, seen.value, atol=1e-5)
    assert np.array_equal(seen.action, seen.policy.argmax(-1))
    assert np.array_equal(np.flatnonzero(seen.terminated | seen.truncated), [8])
    assert np.array_equal(np.cumsum(seen.reward[9:]), returns_so_far(seen)[9:])
    assert attempts(trained, seen)[0] == attempts(trained, seen)[9] == 1
    assert seen.norms["layers[1].valid"].tolist() == [1, 2, 3, 4, 5, 5, 5, 5, 5, 1, 2, 3]
    (agents,) = {leaf.shape[0] for leaf in jax.tree.leaves(trained.agents)}
    assert agents == 2
    for mine, all_of_them in zip(jax.tree.leaves(agent), jax.tree.leaves(trained.agents), strict=True):
        assert np.array_equal(mine, all_of_them[1])  # training seed 4 is the second


def test_rows_are_json_and_complete(watched):
    steps = rows(*watched)
    assert json.loads(json.dumps(steps)) == steps and [row["step"] for row in steps] == list(range(1, 13))
    for row, probabilities in zip(steps, softmax(watched[1].policy, -1), strict=True):
        np.testing.assert_allclose(row["probabilities"][0], probabilities, rtol=1e-5)
    assert [row["attempt"] for row in steps][0] == 1 and steps[8]["terminated"]


def test_play_prints_every_step(run, capsys):
    assert main(["play", str(run.path), *LIMITS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "test/both on meta/DarkRoom, training seed 3, after 64 steps"
    assert len(lines) == 1 + 1 + 12 + 2 and "terminated" in lines[10]
    assert lines[-1].endswith("3 steps, cut off") and "9 steps, terminated" in lines[-2]


def test_gif_has_a_frame_per_step(run, tmp_path, capsys):
    gif = tmp_path / "episode.gif"
    command = ["play", str(run.path), "--gif", str(gif), *LIMITS, "fps=10"]
    assert main(command) == 0
    with Image.open(gif) as image:
        assert image.n_frames == 12
        pictures = []
        for frame in range(12):
            image.seek(frame)
            assert image.info["duration"] == 100
            pictures.append(np.asarray(image.convert("RGB")).copy())
    assert all((a != b).any() for a, b in zip(pictures[:-1], pictures[1:], strict=True))
    assert len(json.loads(gif.with_suffix(".json").read_text())["steps"]) == 12
    assert sorted(file.name for file in tmp_path.iterdir()) == ["episode.gif", "episode.json"]

    before = gif.read_bytes()
    assert main(command) == 2
    assert capsys.readouterr().err == f"rlformers: --gif: {gif} exists; overwrite=true replaces it\n"
    assert gif.read_bytes() == before


@pytest.fixture(scope="module")
def inspected(run, tmp_path_factory):
    """What `inspect` wrote about the second agent, and what it returned."""
    out = tmp_path_factory.mktemp("inspected") / "new" / "folder"
    lines = inspect(run.path, out, [*LIMITS, "agent=4"])
    return out, lines, dict(np.load(out / "arrays.npz"))


def test_inspection_is_written_and_nothing_is_overwritten(run, inspected, capsys):
    out, lines, arrays = inspected
    assert lines[0] == "test/both on meta/DarkRoom, training seed 4, after 64 steps"
    assert lines[1] == "12 steps, the memory starts at step 1, 10"
    assert any(line.startswith("recurrence of layer 1") for line in lines)
    assert any(line.startswith("attention of layer 1") for line in lines)
    kinds = ("influence", "horizon", "attention", "spectrum", "state")
    figures = {f"{kind}.{suffix}" for kind in kinds for suffix in ("png", "pdf")}
    assert {file.name for file in out.iterdir()} == figures | {"inspection.json", "arrays.npz"}
    for file in out.glob("*.png"):
        with Image.open(file) as image:
            colours = image.convert("RGB").getcolors(2**24)
            assert min(image.size) > 200 and len(colours) > 10
    numbers = json.loads((out / "inspection.json").read_text())
    assert numbers["num_steps"] == 12 and numbers["starts"] == [0, 9] and numbers["influence"]["of"] == "observation"
    assert arrays["influence_value"].shape == (12, 12) and arrays["attention_1"].shape == (2, 12, 12)
    profile = by_lag(arrays["influence_policy"], arrays["start"])
    np.testing.assert_allclose(numbers["influence"]["policy"]["mean_by_lag"], profile, rtol=1e-6)

    before = {file: file.read_bytes() for file in out.iterdir()}
    assert main(["inspect", str(run.path), "--out", str(out), *LIMITS]) == 2
    assert "exists; overwrite=true replaces it" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in out.iterdir()} == before


def test_inspection_is_of_this_agent(run, inspected):
    _, _, arrays = inspected
    same_memory = np.cumsum(arrays["start"])[:, None] == np.cumsum(arrays["start"])
    possible = same_memory & np.tri(12, dtype=bool)
    for name in ("value", "policy"):
        matrix = arrays[f"influence_{name}"]
        assert (matrix[~possible] == 0).all() and (matrix[possible] > 0).all()
    weights = arrays["attention_1"]
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert (weights[:, ~possible] == 0).all()

    trained = load_trained(run.path, [], InspectConfig)
    initial = jax.jit(jax.vmap(trained.built.learner.init))(training_keys(run.config)).agent
    for name, agents in (("eigenvalues_1", trained.agents), ("initial_eigenvalues_1", initial)):
        expected, _ = jax.vmap(lambda layer: layer.discretize())(agents.core.layers[0])
        np.testing.assert_allclose(arrays[name][0], expected[1], rtol=1e-5)
    assert not np.allclose(arrays["eigenvalues_1"], arrays["initial_eigenvalues_1"], rtol=1e-6)


@pytest.mark.parametrize(
    "words,message",
    [
        (["play"], "play: need a run directory; usage: rlformers play RUN_DIR [--gif FILE] [KEY=VALUE ...]"),
        (["inspect", "episodes=1"], "inspect: need a run directory; usage: rlformers inspect RUN_DIR [--out DIR]"),
        (["play", "{run}", "--gif"], "play: --gif needs a FILE"),
        (["play", "{run}", "--gif", "fps=3"], "play: --gif needs a FILE"),
        (["play", "{run}", "--gif", "a.png"], "--gif: need a file name that ends with .gif, got 'a.png'"),
        (["play", "{run}", "--gif", "nowhere/a.gif"], "--gif: there is no directory nowhere"),
        (["play", "{run}", "agent=7"], "agent: 7 is not one of the training seeds 3, 4"),
        (["play", "{run}", "fps=0"], "fps: need more than 0, at most 50, got 0.0"),
        (["play", "{run}", "max_steps=0"], "max_steps: need at least 1, got 0"),
        (["play", "{run}", "fsp=3"], "fsp: unknown key; did you mean 'fps'?"),
        (["inspect", "{run}", "episodes=0"], "episodes: need at least 1, got 0"),
        (["inspect", "{run}", "checkpoint=17"], "checkpoint: '17' is not one of last, best, 2"),
        (["inspect", "{run}", "env=popgym/RepeatPreviousEasy"], "has other observations than the agent was trained on"),
    ],
)
def test_bad_words_are_one_line(words, message, run, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = sorted(run.path.rglob("*"))
    assert main([word.format(run=run.path) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(run.path.rglob("*")) == before and not list(tmp_path.iterdir())


class ReadsAll:
    """An encoder whose tokens are the observations."""

    def __call__(self, obs, num_leading):
        return obs

    as_numbers = __call__


def test_influence_of_a_linear_memory_is_known():
    decay, starts = np.array([0.5, 0.9], np.float32), np.isin(np.arange(8), (0, 5))

    def scan(h, xs, starts):
        def step(h, token):
            h = jnp.where(token[1], 0, h) * decay + token[0]
            return h, h

        return jax.lax.scan(step, h, (xs, starts))

    agent = SimpleNamespace(
        encoder=ReadsAll(),
        core=SimpleNamespace(initial_state=lambda: jnp.zeros(2), scan=scan),
        output=lambda ys, mask: Output(ys, 3 * ys[:, 0], ys[:, :0]),
        policy=CategoricalPolicy((2,), scalar=True),
    )
    found = influence.__wrapped__(agent, jnp.ones((8, 2)), jnp.asarray(starts))
    t, s = np.arange(8)[:, None], np.arange(8)
    inside = (t >= s) & (np.cumsum(starts)[:, None] == np.cumsum(starts))
    lag = np.where(inside, t - s, 0)
    np.testing.assert_allclose(found.value, np.where(inside, 3 * 0.5**lag, 0), rtol=1e-6)
    np.testing.assert_allclose(found.policy, np.where(inside, np.hypot(0.5**lag, 0.9**lag), 0), rtol=1e-6)
    profile = by_lag(np.asarray(found.value), starts)
    np.testing.assert_allclose(profile, 3 * 0.5 ** np.arange(5), rtol=1e-6)
    assert (
        lag_that_holds(profile, 0.5) == 0
        and lag_that_holds(profile, 0.9) == 2
        and lag_that_holds(0 * profile, 0.5) is None
    )


@pytest.mark.parametrize("kind", ["vector", "image"])
def test_influence_ends_with_the_window(kind):
    """Only frames matter. Images are not real numbers, so the encoder's output stands for them."""
    T, frames = 12, 3
    shape, dtype = ((4,), jnp.float32) if kind == "vector" else ((4, 4, 1), jnp.uint8)
    obs = (10 * jax.random.uniform(jax.random.key(0), (T, *shape))).astype(dtype)
    starts = jnp.arange(T) == 7
    make = lambda key: framestack.make(framestack.Config(frames=frames), 16, 1, key)  # noqa: E731
    agent = Agent(obs[0], CategoricalPolicy((3,), scalar=True), make, 16, key=jax.random.key(1))
    mask = jnp.ones((T, 3), bool)
    found: Influence = jax.jit(influence)(agent, {"obs": obs, "action_mask": mask}, starts)
    t, s = np.arange(T)[:, None], np.arange(T)
    inside = (t >= s) & (t - s < frames) & ((t < 7) == (s < 7))
    for matrix in found:
        assert np.array_equal(np.asarray(matrix) > 0, inside)


def test_time_scales():
    found = time_scales(np.array([np.exp(-0.1), 1j * np.exp(-0.5), -1.0, 0.0]))
    np.testing.assert_allclose(found, [10, 2, np.inf, 0], atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("core", registry.built_in())
def test_every_core_can_be_looked_into(core, tmp_path):
    """Before training, which takes most of the time."""
    words = ["env=popgym/RepeatPreviousEasy", f"core={core}", "model.width=16", "ppo.num_envs=2"]
    config = compose([*words, "ppo.num_minibatches=1"])
    built = build(config)
    agents = jax.jit(jax.vmap(built.learner.init))(training_keys(config)).agent
    found = examine(Trained(InspectConfig(max_steps=16), config, built, None, agents, None))
    names = {file.stem for file in draw(found, core, tmp_path)}
    assert {"influence", "horizon"} <= names
    assert ("attention" in names) == (core in ("gtrxl", "transformer", "stack"))
    assert ("state" in names) == (core != "mlp")


@pytest.mark.slow
def test_continuous_actions_are_played_and_inspected(tmp_path):
    """By the commands, after a training."""
    run = str(tmp_path / "run")
    words = ["env=gymnax/Pendulum-v1", "core=mamba3", "model.width=16", "ppo.num_envs=2", "ppo.num_steps=8"]
    words += ["ppo.num_minibatches=1", "total_steps=16", "wandb.mode=disabled"]
    assert main(["train", *words, f"run_dir={run}"]) == 0
    assert main(["inspect", run, "max_steps=16"]) == 0
    assert len(play(run, tmp_path / "a.gif", ["max_steps=5"])) == 4
    (row, *_) = json.loads((tmp_path / "a.json").read_text())["steps"]
    assert len(row["mean"]) == len(row["std"]) == len(row["action"]) == 1
