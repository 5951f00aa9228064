"""A user's own experiments: where they are found, what they can contain, and new runs from a saved configuration."""

import importlib.metadata
import json
import re
import sys
from pathlib import Path

import pytest

from rlformers.command.main import main
from rlformers.config.compose import asked_for, compose, load, to_yaml
from rlformers.config.experiments import CONFIGS, experiments
from rlformers.experiment.run_files.run_dir import create_run_dir


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLFORMERS_CONFIGS", raising=False)
    return tmp_path


def write(path, text="env: memory/TMaze\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def provide(name, monkeypatch, value):
    """An installed package `acme` with an entry point."""
    point = importlib.metadata.EntryPoint(name, value, "rlformers.experiments")
    monkeypatch.setattr(
        "rlformers.config.experiments.importlib.metadata.entry_points",
        lambda group: [point] if group == "rlformers.experiments" else [],
    )


def test_a_file_is_given_by_its_path(own, monkeypatch):
    write(own / "a=b" / "mine.yaml", "# What it is.\nseeds: 3\ncore: {name: s5, state_size: 12}\nppo: {lr: 3e-4}\n")
    for path in ("a=b/mine.yaml", "./a=b/mine", str(own / "a=b" / "mine.yaml")):
        config = compose([f"experiment={path}", "ppo.gamma=0.5"])
        assert (config.seeds, config.ppo.lr, config.ppo.gamma) == (3, 3e-4, 0.5)
        assert (config.core.name, config.core.options["state_size"]) == ("s5", 12)
    assert compose(["experiment=a=b/mine.yaml", "core=gru"]).core.name == "gru"
    monkeypatch.setenv("HOME", str(own))
    assert compose(["experiment=~/a=b/mine.yaml"]).seeds == 3
    write(own / "here.yml", "seeds: 4\n")
    assert compose(["experiment=here.yml"]).seeds == 4


def test_the_first_place_wins_and_a_line_says_so(own, monkeypatch, capsys):
    write(own / "configs/experiment/tmaze.yaml", "# Mine.\nseeds: 5\n")
    write(own / "more/experiment/tmaze.yaml", "seeds: 6\n")
    write(own / "more/experiment/deep/second.yaml", "# Deep.\nseeds: 7\n")
    write(own / "flat/third.yaml", "seeds: 8\n")
    monkeypatch.setenv("RLFORMERS_CONFIGS", f"{own}/more:{own}/flat")
    assert [compose([f"experiment={name}"]).seeds for name in ("tmaze", "deep/second", "third")] == [5, 7, 8]
    packaged = CONFIGS / "experiment" / "tmaze.yaml"
    assert capsys.readouterr().err == (
        f"experiment: 'tmaze' is configs/experiment/tmaze.yaml; not used, of the same name: "
        f"{own}/more/experiment/tmaze.yaml, {packaged}\n"
    )
    assert main(["list", "experiments"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^tmaze +configs/experiment/tmaze.yaml +Mine.$", listed, re.M)
    assert re.search(rf"^deep/second +{own}/more/experiment/deep/second.yaml +Deep.$", listed, re.M)
    assert re.search(r"^pendulum +rlformers +popgym/Position", listed, re.M)


@pytest.mark.parametrize("value", ["acme_runs", "acme_runs.inner:FOLDER"])
def test_installed_packages_bring_experiments(value, own, monkeypatch, capsys):
    write(own / "lib/acme_runs/__init__.py", "")
    write(own / "lib/acme_runs/inner.py", "from pathlib import Path\nFOLDER = Path(__file__).parent\n")
    write(own / "lib/acme_runs/theirs.yaml", "# Of acme.\nseeds: 9\n")
    monkeypatch.syspath_prepend(str(own / "lib"))
    provide("acme", monkeypatch, value)
    assert compose(["experiment=theirs"]).seeds == 9
    write(own / "configs/experiment/theirs.yaml", "seeds: 10\n")
    assert compose(["experiment=theirs"]).seeds == 10
    for name in ("acme_runs", "acme_runs.inner"):
        sys.modules.pop(name, None)


def test_a_broken_package_hides_nothing(own, monkeypatch, capsys):
    provide("acme", monkeypatch, "acme_is_gone:FOLDER")
    assert compose(["experiment=tmaze"]).env == "memory/TMaze"
    assert "experiments of acme_is_gone:FOLDER" in (error := capsys.readouterr().err) and error.count("\n") == 1


def test_a_checkout_of_this_repository_is_no_other_place(own, monkeypatch, capsys):
    (own / "configs").symlink_to(CONFIGS.resolve())
    assert {found.source for found in experiments().values()} == {"rlformers"}
    assert not capsys.readouterr().err


def test_an_unknown_name_says_what_there_is_and_where_was_looked(own, monkeypatch):
    monkeypatch.setenv("RLFORMERS_CONFIGS", "gone")
    for name, start in (
        ("tmazee", "'tmazee' is not one of "),
        ("./my.yaml", "there is no file './my.yaml'; need a file or one of "),
    ):
        with pytest.raises(ValueError) as caught:
            compose([f"experiment={name}"])
        message = str(caught.value)
        assert message.startswith(f"experiment: {start}memory_chain, ") and "\n" not in message
        assert f"(in configs/experiment (no such folder), gone (no such folder), {CONFIGS / 'experiment'})" in message
    write(own / "configs/train.yaml")  # of something else, which is none of ours
    assert "train" not in experiments()


def test_one_experiment_builds_on_another(own):
    write(own / "configs/experiment/tmaze.yaml", "base: tmaze\nseeds: 2\ncore: {state_size: 8, name: s5}\n")
    write(own / "longer.yaml", "base: ./configs/experiment/tmaze.yaml\nenv_params: {length: 50}\n")
    config = compose(["experiment=longer.yaml"])
    assert (config.env, config.env_params, config.seeds) == ("memory/TMaze", {"length": 50}, 2)
    assert config.core.options["state_size"] == 8
    # The old form of files for Hydra.
    old = "# @package _global_\ndefaults:\n  - tmaze\n  - override /core: lru\n  - _self_\nseeds: 3\n"
    write(own / "old.yaml", old)
    config = compose(["experiment=old.yaml"])
    assert (config.env, config.core.name, config.seeds) == ("memory/TMaze", "lru", 3)


@pytest.mark.parametrize(
    "text,message",
    [
        ("ppo: {lrr: 1}\n", "ppo.lrr: unknown key; did you mean 'ppo.lr'?"),
        ("learning_rate: 1\n", "learning_rate: unknown key; did you mean 'ppo.lr'?"),
        ("ppo: {lr: fast}\n", "ppo.lr: need a float, got 'fast'"),
        ("ppo: {lr: -1}\n", "ppo.lr: need a positive number, got -1.0"),
        ("seeds: 2.5\n", "seeds: need an int, got 2.5"),
        ("ppo: fast\n", "ppo: need keys with values, got 'fast'"),
        ("core: s6\n", "core: 's6' is none of mlp, gru, "),
        ("core: [s5]\n", "core: need a name, or a name with options, such as {name: gru}, got ['s5']"),
        ("core: {name: s5, state: 3}\n", "core.state: unknown key of this core, which has core.state_size, "),
        ("core: s5\ncore_options: {s5: {state: 3}}\n", "core.state: unknown key of this core"),
        ("core_options: 3\n", "core_options.NAME: need keys with values, got 3"),
        ("- 1\n", "need the keys of an experiment with their values, got [1]"),
        ("a: [\n", "not the config of an experiment (while parsing "),
        ("seeds: 1\nseeds: 2\n", "not the config of an experiment (while constructing a mapping"),
        ("base: gone\n", "experiment: 'gone' is not one of "),
        ("base: [a]\n", "base: need the name or the path of an experiment, got ['a']"),
        ("base: ./mine.yaml\n", "base: './mine.yaml' builds on itself"),
        (
            "defaults:\n  - override /sweeper: a\n",
            "defaults: {'override /sweeper': 'a'} is not supported; write `core: ",
        ),
        ("env: ${oc.env:HOME}\n", "Unsupported interpolation type oc.env"),
        ("env_kwargs: {_target_: os.system}\n", "env_kwargs._target_: '_target_' is not allowed"),
    ],
)
def test_errors_in_a_file_name_it_and_the_key(text, message, own):
    write(own / "mine.yaml", text)
    with pytest.raises(ValueError) as caught:
        compose(["experiment=./mine.yaml"])
    error = str(caught.value)
    assert message in error and "\n" not in error
    assert error.startswith(("mine.yaml: ", "./mine.yaml: "))


@pytest.fixture
def saved(own):
    """A run of somebody else, in a directory with an unusual name."""
    config = compose(
        ["core=s5", "core.state_size=12", "ppo.lr=0.1", "seeds=3", "run_dir=runs/a=b", "wandb.group=theirs"]
    )
    assert config.run_dir == "runs/a=b"
    return create_run_dir(config)


@pytest.mark.parametrize("name", ["runs/a=b", "runs/a=b/config.yaml"])
def test_a_new_run_begins_from_a_saved_configuration(name, saved, own):
    config, resumed = asked_for([f"config={name}", "ppo.gamma=0.5"])
    assert resumed is None and (config.run_dir, config.wandb.group) == (None, None)
    assert (config.seeds, config.ppo.lr, config.ppo.gamma, config.core.options["state_size"]) == (3, 0.1, 0.5, 12)
    assert create_run_dir(config) != saved
    assert compose([f"config={name}", "core=gru", "run_dir='c=d'"]).core.name == "gru"
    assert compose([f"config={name}", "core=s5"]).core.options["state_size"] == 12
    with pytest.raises(
        ValueError, match="^config: need a run directory or a config.yaml, got 'runs'; there is no file "
    ):
        compose(["config=runs"])
    with pytest.raises(ValueError, match="^config: runs/a=b is a whole experiment; leave out experiment=tmaze"):
        compose(["config=runs/a=b", "experiment=tmaze"])


def test_a_string_none_of_a_saved_configuration_stays_one(own):
    config = compose(["wandb.project='None'", "wandb.tags=[None]", "env_kwargs.mode='None'", "wrap.mask='none'"])
    assert (config.wandb.project, config.env_kwargs, config.wrap.mask) == ("None", {"mode": "None"}, "none")
    write(own / "config.yaml", to_yaml(config))
    assert load(own / "config.yaml") == config == compose(["config=config.yaml"])


def test_resume_takes_any_name_and_null(saved, own, monkeypatch):
    config, run_dir = asked_for(["resume=runs/a=b", "total_steps=2e6"])
    assert (run_dir, config.total_steps, config.run_dir) == (Path("runs/a=b"), 2e6, "runs/a=b")
    assert asked_for(["resume=None", "seeds=2"])[1] is None
    monkeypatch.setenv("HOME", str(own))
    assert asked_for(["resume=~/runs/a=b", "run_dir=~/runs/a=b"])[1] == own / "runs/a=b"
    for word, message in (("core=gru", "core: cannot be changed"), ("config=x", "config: cannot be changed")):
        with pytest.raises(ValueError, match=message):
            asked_for(["resume=runs/a=b", word])


def test_a_sweep_over_cores_and_values_begins_from_a_saved_configuration(saved, own, monkeypatch):
    trained = []
    monkeypatch.setattr("rlformers.experiment.program.build.check", lambda config: None)
    monkeypatch.setattr("rlformers.experiment.training.train.train", lambda config, *_: trained.append(config))
    main(["train", "--multirun", "config=runs/a=b", "core=s5,gru", "ppo.lr=0.2,0.3", "run_dir=c=d"])
    assert [(config.core.name, config.ppo.lr, config.seeds) for config in trained] == [
        (core, lr, 3) for core in ("s5", "gru") for lr in (0.2, 0.3)
    ]
    assert trained[0].core.options["state_size"] == 12 and trained[3].run_dir == "c=d/3"
    assert json.loads((own / "c=d" / "sweep.json").read_text())["command"][0] == "config=runs/a=b"
