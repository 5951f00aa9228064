"""`init_from`: a run begins with the parameters of the agents of another one."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.config.compose import compose, load
from rlformers.experiment.checkpoints.other_run import begin_with, check_source, source
from rlformers.experiment.checkpoints.store import good_checkpoints, read
from rlformers.experiment.program.build import build

SMALL = ["env=memory/Copy", "core=gru", "model.width=8", "ppo.num_envs=2", "ppo.num_steps=8", "wandb.mode=disabled"]
SMALL += ["ppo.num_minibatches=1", "total_steps=64", "ppo.normalize_observations=true", "ppo.lr=0.01"]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("other") / "run"
    assert main(["train", *SMALL, "seeds=2", "seed=5", f"run_dir={run_dir}"]) == 0
    return run_dir


def state_of(run_dir):
    """The last state of a run, leaves [S, ...]."""
    config = load(run_dir / "config.yaml")
    keys = jax.vmap(jax.random.key)(np.arange(config.seed, config.seed + config.seeds))
    template = jax.eval_shape(jax.vmap(build(config).learner.init), keys)
    return read(next(good_checkpoints(run_dir / "checkpoints")), template)


def begun(*words):
    """The first state of a new run, as its seeds make it, and with what is taken."""
    config = compose([*SMALL, *words])
    keys = jax.vmap(jax.random.key)(np.arange(config.seed, config.seed + config.seeds))
    own = jax.vmap(build(config).learner.init)(keys)
    return own, begin_with(config, own)[0]


def equal(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(numbers(x), numbers(y)) for x, y in pairs)


def numbers(leaf):
    return jax.random.key_data(leaf) if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def rows(run_dir):
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if not key.startswith("perf/")} for row in lines]


def test_each_seed_begins_with_that_of_the_other_run(other, capsys):
    own, new = begun("seeds=2", f"init_from={other}")
    theirs = state_of(other)
    assert equal(new.agent, theirs.agent) and not equal(new.agent, own.agent)
    assert equal(new.normalizers.observation, theirs.normalizers.observation)
    assert not equal(new.normalizers.observation, own.normalizers.observation)
    for name in ("opt_state", "env_state", "obs", "num_updates"):
        assert equal(getattr(new, name), getattr(own, name)), name
    assert equal(new.normalizers.reward, own.normalizers.reward)
    assert f"the agents of {other} after 64 steps, training seeds [5, 6]" in capsys.readouterr().out


@pytest.mark.parametrize("words,taken", [pytest.param([], 5, marks=pytest.mark.slow), (["init_seed=6"], 6)])
def test_of_another_number_all_begin_with_one(other, words, taken):
    _, new = begun("seeds=3", f"init_from={other}", *words)
    theirs = jax.tree.map(lambda x: x[taken - 5], state_of(other).agent)
    for i in range(3):
        assert equal(jax.tree.map(lambda x, i=i: x[i], new.agent), theirs)


def test_heads_can_begin_anew_for_other_actions(other):
    words = ["seeds=2", f"init_from={other}", "model.head_layers=2", "model.critic=hl_gauss"]
    with pytest.raises(ValueError, match=r"^init_from: the agents of .* do not fit: \.agent\.actor.*init_heads=false"):
        begun(*words)
    own, new = begun(*words, "init_heads=false")
    theirs = state_of(other).agent
    assert equal((new.agent.encoder, new.agent.core), (theirs.encoder, theirs.core))
    assert equal((new.agent.actor, new.agent.critic), (own.agent.actor, own.agent.critic))


def test_what_does_not_fit_is_one_line_before_anything_is_written(other, tmp_path, capsys):
    run = tmp_path / "run"
    for words, message in [
        (
            ["model.width=16"],
            f"init_from: the agents of {other} do not fit: .agent.encoder.layers[0].weight is float32[",
        ),
        (["init_seed=7"], f"init_seed: 7 is none of the training seeds [5, 6] of {other}"),
        (["init_checkpoint=77"], "init_checkpoint: '77' is not one of last, best, "),
        (["ppo.normalize_observations=false"], f"init_from: {other} was trained with ppo.normalize_observations=true"),
        ([f"init_from={tmp_path / 'nowhere'}"], "init_from: "),
    ]:
        capsys.readouterr()
        assert main(["train", *SMALL, f"run_dir={run}", f"init_from={other}", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"rlformers: {message}"), line
        assert not run.exists()


def test_a_run_is_resumed_without_the_other(other, tmp_path):
    copy, run, whole = tmp_path / "other", tmp_path / "run", tmp_path / "whole"
    shutil.copytree(other, copy)
    words = ["train", *SMALL, "seeds=2", f"init_from={copy}", "total_steps=128"]
    assert main([*words, f"run_dir={whole}"]) == 0
    assert main([*words, f"run_dir={run}", "checkpoint.keep_every=48"]) == 0
    assert load(run / "config.yaml").init_from == str(copy)
    assert rows(run) == rows(whole) and equal(state_of(run).agent, state_of(whole).agent)
    for path in (run / "checkpoints").iterdir():
        if path.name != "3":
            shutil.rmtree(path)
    (run / "summary.json").unlink()
    shutil.rmtree(copy)
    assert main(["train", f"resume={run}"]) == 0  # from update 3
    assert rows(run) == rows(whole) and equal(state_of(run).agent, state_of(whole).agent)
    assert main([*words, f"run_dir={run}", "checkpoint.keep_every=48"]) == 0  # it is finished
    assert main([*words, f"run_dir={tmp_path / 'new'}"]) == 2  # a new one would need it


def test_a_seed_that_is_trained_again_takes_what_it_took(other):
    config = compose([*SMALL, "seeds=2", "seed=9", f"init_from={other}"])
    assert source(config).taken == [5, 6]
    assert source(compose([*SMALL, "seed=10", f"init_from={other}", "init_seed=6"])).taken == [6]


def test_the_path_is_taken_as_it_is_written(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert compose([*SMALL, "init_from=~/runs/lr=0.1"]).init_from == "/home/me/runs/lr=0.1"


def test_another_core_is_refused_by_name_also_where_every_shape_fits(other, monkeypatch):
    for words, told in [
        (["core=mlp"], "core.name is gru there, mlp here"),
        (["core=gru", "model.num_layers=2"], "model.num_layers is 1 there, 2 here"),
        (["core=gru", "model.width=16"], "model.width is 8 there, 16 here"),
    ]:
        with pytest.raises(ValueError, match=f"^init_from: the agents of .* do not fit: .*{told}"):
            begun(*words, f"init_from={other}", "init_heads=false")
    config = compose([*SMALL, f"init_from={other}"])
    state = jax.eval_shape(build(config).learner.init, jax.random.key(0))
    alias = dataclasses.replace(config, core=dataclasses.replace(config.core, name="same_shapes"))
    with pytest.raises(ValueError, match="do not fit: core.name is gru there, same_shapes here"):
        check_source(alias, state)


@pytest.mark.slow
def test_half_of_a_deep_core_is_refused(tmp_path):
    deep = tmp_path / "deep"
    assert main(["train", *SMALL, "model.num_layers=2", f"run_dir={deep}"]) == 0
    with pytest.raises(ValueError, match=r"is not expected.*model\.num_layers is 2 there, 1 here"):
        begun(f"init_from={deep}")


def test_what_has_no_parameters_may_differ_and_is_said(other, capsys):
    begun(f"init_from={other}", "model.activation=tanh")
    assert "init_from: model.activation is relu there, tanh here" in capsys.readouterr().out


def damage(checkpoint):
    for path in checkpoint.rglob("*"):
        if path.is_file() and path.name != "meta.json":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_checkpoint_is_named_and_never_taken(other, tmp_path, capsys):
    copy, run = tmp_path / "other", tmp_path / "run"
    shutil.copytree(other, copy)
    newest, older = sorted((int(path.name) for path in (copy / "checkpoints").iterdir()), reverse=True)[:2]
    damage(copy / "checkpoints" / str(newest))
    words = ["train", *SMALL, f"init_from={copy}", f"run_dir={run}"]
    assert main([*words, f"init_checkpoint={newest}"]) == 2
    out, err = capsys.readouterr()
    assert f"{copy / 'checkpoints' / str(newest)}" in out
    assert err.splitlines()[-1].startswith(f"rlformers: init_checkpoint: '{newest}' is not one of last, best, ")
    assert not run.exists()
    assert main(words) == 0
    assert f"{copy / 'checkpoints' / str(newest)}" in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["init_from"]["update"], summary["init_from"]["step"]) == (older, older * 16)
    for path in (copy / "checkpoints").iterdir():
        damage(path)
    assert main([*words[:-1], f"run_dir={tmp_path / 'new'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"rlformers: init_checkpoint: there is none in {copy / 'checkpoints'}"
    assert not (tmp_path / "new").exists()


def test_what_was_taken_is_recorded_and_outlives_a_resume(other, tmp_path, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.chdir(other.parent)
    assert main(["train", *SMALL, "seeds=2", f"init_from={other.name}", f"run_dir={run}"]) == 0
    assert load(run / "config.yaml").init_from == str(other)  # whatever directory it is resumed in
    record = json.loads((run / "summary.json").read_text())["init_from"]
    theirs = json.loads((other / "summary.json").read_text())
    assert record == {
        "run_dir": str(other),
        "update": 4,
        "step": 64,
        "seeds": [5, 6],
        "git_commit": theirs["git_commit"],
    }
    assert next(good_checkpoints(run / "checkpoints")).meta["taken"] == record
    assert main(["train", f"resume={run}", "total_steps=96"]) == 0
    assert json.loads((run / "summary.json").read_text())["init_from"] == record
    assert theirs["init_from"] is None
