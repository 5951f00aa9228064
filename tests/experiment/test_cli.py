"""The command line: bad input, a small run, what it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rlformers.command.keys_help import MOST_USED, train_keys
from rlformers.command.main import main
from rlformers.command.parser import make_parser, parse
from rlformers.config.compose import compose, load
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.tracking import read_rows
from rlformers.experiment.tracking.tensorboard import steps_of
from rlformers.experiment.tracking.wandb_held import history

SMALL = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "model.width=8"]
COMMANDS = list(make_parser()[1])


@pytest.mark.parametrize(
    "overrides,words",
    [
        (["core=gruu"], ["core", "gruu", "gru"]),
        (["env=popgym/RepeatPreviousEasi"], ["env", "RepeatPreviousEasy"]),
        (["ppo.lr=fast"], ["ppo.lr", "fast", "float"]),
        (["ppo.lrr=1"], ["ppo.lrr", "ppo.lr"]),
        (["ppo.num_envs=6", "ppo.num_minibatches=4"], ["ppo.num_envs", "num_minibatches"]),
        (["core=gtrxl", "core.heads=5"], ["core.heads", "5", "64"]),
        (["seeds=0"], ["seeds", "0"]),
        (["total_steps=10"], ["total_steps", "10", "8192"]),
        (["env=popgym/PositionOnlyPendulumEasy", "model.policy=categorical"], ["model.policy", "categorical"]),
        (["env=memory/TMaze", "env_params.lenth=3"], ["env_params.lenth", "length"]),
        (["env=memory/TMaze", "env_kwargs.raw=true"], ["env_kwargs.raw", "no such argument"]),
        (["env=brax/ant", "env_kwargs.env_id=fast"], ["env_kwargs.env_id"]),
        (["env=gymnax/CartPole-v1", "wrap.mask=[0,9]"], ["wrap.mask", "9", "0 to 3"]),
        (["env=memory/TMaze", "wrap.flicker=2"], ["wrap.flicker", "2", "probability"]),
        (["run_dir=/proc/nowhere/run"], ["run_dir", "/proc/nowhere/run"]),
        (["seeds=1,2"], ["seeds", "--multirun"]),
    ],
)
def test_bad_input_is_one_line(overrides, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *overrides]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two seeds with every view of its rows, and its command."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    words = ["wandb.mode=offline", "wandb.group=g", "tensorboard=true", f"run_dir={run_dir}"]
    command = ["train", *SMALL, "seeds=2", "total_steps=256", *words]
    assert main(command) == 0
    return run_dir, command


@pytest.mark.parametrize("words", [[], ["lists"], ["envs", "popgym", "more"], ["experiments", "tmaze"]])
def test_list_names_its_choices(words, capsys):
    assert main(["list", *words]) == 2
    error = capsys.readouterr().err
    assert error == f"rlformers: list: need one of cores, envs, experiments, keys, runs, got {' '.join(words)!r}\n"


def test_resume_says_where_and_run_dir_cannot_say_otherwise(tmp_path, capsys):
    run_dir = create_run_dir(compose([f"run_dir={tmp_path / 'run'}"]))
    for other in (tmp_path / "other", "null"):
        assert main(["train", f"resume={run_dir}", f"run_dir={other}"]) == 2
        error = capsys.readouterr().err
        assert (
            error.startswith(f"rlformers: run_dir: need the directory of resume={run_dir}, ") and error.count("\n") == 1
        )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_train_writes_a_run_directory_and_keeps_it(trained, capsys):
    run_dir, command = trained
    rows = read_rows(run_dir / "metrics.jsonl")
    assert [(row["seed"], row["step"]) for row in rows] == [(s, 64 * u) for u in (1, 2, 3, 4) for s in (0, 1)]
    assert max(row["ppo/first_ratio_error"] for row in rows) < 1e-4
    # What a GRU of width 8 can hold, and T = 16; episodes of 52 steps.
    assert all(0 < row["memory/state_norm"] < 8**0.5 and 0 < row["memory/state_max"] < 1 for row in rows)
    assert all(1 <= row["memory/age"] <= 16 and 0 <= row["memory/starts"] <= 1 for row in rows)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["completed"] and len(summary["final_return"]["per_seed"]) == 2
    assert summary["state_size"] == 8  # of a GRU: its width, for one environment of one seed
    before = (run_dir / "metrics.jsonl").read_bytes()
    assert main(command) == 0
    assert "run is finished" in capsys.readouterr().out
    assert main([*command, "ppo.lr=0.1"]) == 2
    assert "ppo.lr=0.1 was 0.001" in capsys.readouterr().err
    assert (run_dir / "metrics.jsonl").read_bytes() == before


def test_what_a_row_holds_is_documented(trained):
    text = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
    for key in read_rows(trained[0] / "metrics.jsonl")[0]:
        assert f"`{key}`" in text, key


def test_views_hold_the_rows_of_a_training(trained):
    run_dir, _ = trained
    rows = read_rows(run_dir / "metrics.jsonl")
    ids = json.loads((run_dir / "wandb" / "ids.json").read_text())["ids"]
    assert list(ids) == ["0", "1"]
    for seed, run_id in enumerate(ids.values()):
        (file,) = (run_dir / "wandb").glob(f"offline-run-*/run-{run_id}.wandb")
        assert [(row["env_steps"], row["ppo/entropy"]) for row, _ in history(file)] == [
            (row["step"], row["ppo/entropy"]) for row in rows if row["seed"] == seed
        ]
        assert steps_of(run_dir / "tensorboard" / f"seed_{seed}") == {64, 128, 192, 256}


@pytest.mark.slow
def test_multirun_trains_every_combination(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--multirun", *SMALL, "core=mlp,gru", "total_steps=64", "wandb.mode=disabled"]) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    summaries = {path.parents[1].name: json.loads(path.read_text()) for path in tmp_path.rglob("summary.json")}
    assert {core: summary["state_size"] for core, summary in summaries.items()} == {"mlp": 0, "gru": 8}


def test_help_of_training_fits_three_screens_and_points_to_the_rest(capsys):
    assert main(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 72 and max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for words in ("list keys [PREFIX]", "list cores [NAME]", "list envs", "list experiments", "resume=RUN_DIR"):
        assert words in text
    (lr,) = (line for line in lines if line.startswith("  ppo.lr "))
    assert lr.split()[:3] == ["ppo.lr", "float", "0.001"]
    (steps,) = (line for line in lines if line.startswith("  total_steps "))
    assert steps.split()[2] == "1e6" and "decisions" in steps


def test_every_key_of_the_help_exists():
    shown = {name for keys in MOST_USED.values() for name in keys if name.rpartition(".")[2] not in ("NAME", "OPTION")}
    assert shown <= set(train_keys()) and len(shown) > 20


def test_list_keys_says_what_every_key_means(capsys):
    assert main(["list", "keys"]) == 0
    everything = capsys.readouterr().out
    for words in ("ppo.gae_lambda  ", "linearly to 0 over total_steps", "wrap.truncation  ", "wandb.tags  "):
        assert words in everything
    assert main(["list", "keys", "ppo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20 and all(line.startswith("  ppo.") for line in lines)
    assert main(["list", "keys", "core=s5"]) == 0
    assert "core.state_size " in (options := capsys.readouterr().out) and "complex numbers in the state, P" in options
    assert main(["list", "cores", "s5"]) == 0
    assert options in capsys.readouterr().out
    assert main(["list", "keys", "core=s6"]) == main(["list", "keys", "pqo"]) == 2
    core, key = capsys.readouterr().err.splitlines()
    assert "core: 's6' is none of" in core and "no key begins with 'pqo'; keys begin with checkpoint" in key


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_heavy_work(command, capsys):
    assert main([command, "--help"]) == main([command, "whatever", "-h"]) == 0
    first, second = capsys.readouterr().out.split(f"usage: rlformers {command} ")[1:]
    assert first == second and first.count("\n") > 5


@pytest.mark.parametrize(
    "words,complaint",
    [
        ("train --lr 3e-4", "train: there is no option --lr; write ppo.lr=3e-4"),
        ("train --lr=3e-4", "train: there is no option --lr; write ppo.lr=3e-4"),
        ("train core=s5 --ppo.lr=3e-4 --new", "train: there is no option --ppo.lr; write ppo.lr=3e-4"),
        ("train --run-dir x", "train: there is no option --run-dir; write run_dir=x"),
        ("train -seed 3", "train: there is no option -seed; write seed=3"),
        ("train --env", "train: there is no option --env; write env=VALUE"),
        ("train --every 3", "train: there is no option --every; write eval.every=3 or checkpoint.every=3"),
        ("train core=gru --multi", "train: there is no option --multi; did you mean --multirun?"),  # no abbreviations
        ("train --mutlirun", "train: there is no option --mutlirun; did you mean --multirun?"),
        ("train --nwe", "train: there is no option --nwe; did you mean --new?"),
        (
            "train --new",
            "--new: works with --multirun only; a single run starts anew unless run_dir= names an existing run",
        ),
        ("evaluate x --episodes 3", "evaluate: there is no option --episodes; write episodes=3"),
        ("play x --fps=3", "play: there is no option --fps; write fps=3"),
        ("report x --force", "report: there is no option --force; options are --help, --out"),
        ("report x --out", "report: --out needs a DIR; usage: rlformers report RUN_DIR... --out DIR"),
        ("report x --out name=y", "report: --out needs a DIR; usage: rlformers report RUN_DIR... --out DIR"),
        ("report x", "report: --out DIR is missing; usage: rlformers report RUN_DIR... --out DIR"),
        ("check", "check: need one environment, got ''; usage: rlformers check ENV [KEY=VALUE ...]"),
        ("play x y", "play: takes one run directory, got x, y"),
        ("trian core=s5", "'trian core=s5': unknown command; did you mean 'train'? See rlformers --help"),
        ("--force", "'--force': unknown command; see rlformers --help"),
    ],
)
def test_what_is_wrong_with_options_is_named(words, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"rlformers: {complaint}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        "play RUN --gif a.gif fps=3 env_params.x=-1",
        "play --gif=a.gif RUN fps=3 env_params.x=-1",
        "play RUN fps=3 --gif a.gif env_params.x=-1",
        "play RUN fps=3 env_params.x=-1 --gif=a.gif",
    ],
)
def test_options_stand_anywhere_and_words_are_left_alone(words):
    options = parse(words.split())
    assert options.gif == "a.gif" and options.words == ["RUN", "fps=3", "env_params.x=-1"]


def test_words_of_training_are_left_alone():
    words = [
        "ppo.lr=-1",
        "+env_params.a=--b",
        "~env_params.c",
        "run_dir='a b'",
        "wandb.tags=[x, y]",
        "ppo.lr=1e-3,2e-3",
    ]
    for order in ([*words, "-m", "--new"], ["--multirun", *words, "--new"], [*words[:2], "--new", "-m", *words[2:]]):
        options = parse(["train", *order])
        assert options.words == words and options.multirun and options.new and not options.dry_run


def test_a_run_directory_may_have_an_equals_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "lr=1"
    run_dir.mkdir()
    (run_dir / "config.yaml").write_text("core: {name: gru}\n")
    for words in (["lr=1"], ["./lr=1", "episodes=3"], [str(run_dir)]):
        assert main(["evaluate", *words]) == 2
        assert capsys.readouterr().err.startswith("rlformers: checkpoint: there is none in ")


def test_a_dry_run_prints_the_configuration_after_all_checks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--dry-run", *SMALL, "core=s5", "core.state_size=8"]) == 0
    (tmp_path / "config.yaml").write_text(capsys.readouterr().out)
    assert load("config.yaml") == compose([*SMALL, "core=s5", "core.state_size=8"])
    assert main(["train", "--dry-run", *SMALL, "core=gtrxl", "core.heads=5"]) == 2
    assert "core.heads" in capsys.readouterr().err
    assert main(["train", "-m", "--dry-run", *SMALL, "core=mlp,gru"]) == 0
    names = [document["core"]["name"] for document in yaml.safe_load_all(capsys.readouterr().out)]
    assert names == ["mlp", "gru"] and [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_modules_of_the_current_directory_are_found(tmp_path):
    (tmp_path / "types.py").write_text("raise SystemExit('not the standard library')")
    (tmp_path / "my_envs.py").write_text("")
    program = "import sys; from rlformers.command.main import main; sys.argv = ['rlformers', '--version']; main()\n"
    # A console script has its own folder at the beginning of the path, not the current one.
    code = f"import sys; sys.path = [p for p in sys.path if p]\n{program}import my_envs; print(my_envs.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert found.stdout.splitlines()[1:] == [str(tmp_path / "my_envs.py")], found.stderr


@pytest.mark.parametrize(
    "line,completions",
    [
        ("rlformers tr", {"train", "track"}),
        ("rlformers train core=gru --mul", {"--multirun "}),
        ("rlformers train core=gru --multirun ppo.num_e", {"ppo.num_envs="}),
        ("rlformers train core=gt", {"gtrxl "}),
        ("rlformers train env=memory/TM", {"memory/TMaze "}),
        ("rlformers train experiment=tm", {"tmaze "}),
        ("rlformers list e", {"envs", "experiments"}),
        ("rlformers list cores gt", {"gtrxl "}),
        ("rlformers play x --gif a.gif fp", {"fps="}),
    ],
)
def test_a_shell_is_told_how_words_go_on(line, completions, tmp_path):
    pytest.importorskip("argcomplete")
    out = tmp_path / "out"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    asked |= {"_ARGCOMPLETE_COMP_WORDBREAKS": " =:", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(out)}
    subprocess.run([sys.executable, "-m", "rlformers"], env=os.environ | asked, check=True, capture_output=True)
    assert set(out.read_text().split("\n")) == completions


def test_tensorboard_needs_its_extra(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "tensorboard=true"]) == 2
    assert capsys.readouterr().err == (
        "rlformers: tensorboard: true needs another package: pip install 'rlformers[tensorboard]'\n"
    )
