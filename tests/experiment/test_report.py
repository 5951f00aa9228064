"""The report: what it pools, computes, writes and refuses."""

import csv
import importlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fake_runs import fake_evaluation, fake_run

from rlformers.command.main import main
from rlformers.config.compose import compose, load, to_dict
from rlformers.experiment.checkpoints.store import SCHEMA
from rlformers.experiment.reports import Found, curve, find, group, read, report
from rlformers.experiment.reports.adaptation import adaptation_curves, csv_rows
from rlformers.experiment.statistics.over_seeds import iqm


def test_evaluated_trials_become_adaptation_curves(tmp_path):
    run = fake_run(tmp_path / "runs" / "a", "core=gru", "env=meta/DarkRoom")
    other = fake_run(tmp_path / "runs" / "b", "core=mlp", "env=meta/DarkRoom", finished=False)
    fake_evaluation(run, "old", [9.0, 9.0], step=50)
    fake_evaluation(run, "short", [8.0])
    fake_evaluation(run, "long", [1.0, 2.0, 4.0], episodes=3)
    fake_evaluation(run, "held", [1.0, 1.5], split="heldout")
    fake_evaluation(other, "held", [0.0, 0.5], split="heldout")
    fake_evaluation(other, "greedy", [0.0], split="heldout", greedy=True)
    curves = {(curve.panel, curve.label): curve for curve in adaptation_curves(groups_of(tmp_path / "runs"))}
    held = "meta/DarkRoom split=heldout"
    assert set(curves) == {("meta/DarkRoom", "gru"), (held, "gru"), (held, "mlp"), (f"{held} greedy", "mlp")}
    trained = curves["meta/DarkRoom", "gru"]
    np.testing.assert_allclose(trained.mean, [2.5, 3.5, 5.5])  # tasks add 0 to 3
    assert np.isnan(trained.low).all()  # four tasks, which are too few
    assert (trained.horizon, trained.seeds, trained.num_trials, trained.step) == (2, 2, 8, 100)
    rows = csv_rows([trained])
    assert [(row["attempt"], row["return"], row["beyond_training"]) for row in rows] == [
        (1, 2.5, False),
        (2, 3.5, False),
        (3, 5.5, True),
    ]


def test_what_is_no_evaluation_is_named_and_left_out(tmp_path):
    run = fake_run(tmp_path / "a", "env=meta/DarkRoom")
    fake_evaluation(run, "good", [1.0, 2.0])
    (run / "evaluations" / "x.json").write_text("[]")
    report([run], tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Left out" in page and "x.json" in page and 'id="evaluations"' in page


def groups_of(*paths):
    return group([read(path) for path in find(paths)])


def test_report_writes_curves_and_tables(tmp_path):
    fake_run(tmp_path / "runs" / "a", "core=gru", values=(1.0, 2.0, 3.0))
    fake_run(tmp_path / "runs" / "deep" / "b", "core=s5", "env=memory/TMaze", updates=3, finished=False)
    files = {file.name: file for file in report([tmp_path / "runs"], tmp_path / "out")}
    assert files["learning_curves.png"].read_bytes()[:4] == b"\x89PNG"
    assert files["learning_curves.pdf"].read_bytes()[:5] == b"%PDF-"
    with files["table.csv"].open() as file:
        rows = {(row["env"], row["core"]): row for row in csv.DictReader(file)}
    unfinished, finished = rows["memory/TMaze", "s5"], rows["popgym/RepeatPreviousEasy", "gru"]
    assert rows["memory/TMaze", "gru"]["status"] == rows["popgym/RepeatPreviousEasy", "s5"]["status"] == "no run"
    assert (float(finished["iqm"]), finished["seeds"], finished["status"]) == (2.0, "3", "finished")
    assert (finished["range_low"], finished["range_high"], finished["ci95_low"]) == ("1.0", "3.0", "")  # three seeds
    assert unfinished["iqm"] == "" and unfinished["status"].startswith("unfinished at 2%")
    assert "| popgym/RepeatPreviousEasy | gru | 2.000 |" in files["table.md"].read_text()


@pytest.mark.parametrize("text", ["{", "{}", "null", '{"completed": true, "total_steps": 1}'])
def test_a_summary_that_is_none_is_said_to_be(tmp_path, text):
    path = fake_run(tmp_path / "a")
    (path / "summary.json").write_text(text)
    run = read(Found(path))
    assert run.summary is None and not run.finished and "summary.json is no summary" in run.status
    assert report([path], tmp_path / "out")


def test_an_extended_run_is_not_finished(tmp_path):
    path = fake_run(tmp_path / "a")
    text = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(text.replace("total_steps: 1000000.0", "total_steps: 2000000.0"))
    run = read(Found(path))
    assert run.status == "unfinished at 8%, stopped or failed" and group([run])[0].final_returns == []


def test_settings_are_those_of_the_checkpoints(tmp_path):
    path = fake_run(tmp_path / "a", "ppo.lr=0.25")
    meta = {"schema": SCHEMA, "leaves": {}, "config": to_dict(load(path / "config.yaml"))}
    (path / "checkpoints" / "3").mkdir(parents=True)
    (path / "checkpoints" / "3" / "meta.json").write_text(json.dumps(meta))
    assert read(Found(path)).status == "finished"
    text = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(text.replace("lr: 0.25", "lr: 0.5"))
    run = read(Found(path))
    assert run.config["ppo.lr"] == 0.25 and run.status.startswith(
        "finished; config.yaml was edited (ppo.lr=0.5 was 0.2"
    )


def test_runs_of_a_sweep_that_have_not_started_are_in_its_report(tmp_path):
    done = fake_run(tmp_path / "runs" / "0", "core=gru")
    entries = [("gru", "finished", None), ("s5", "waiting", None), ("mlp", "failed", "ValueError: no")]
    runs = [
        {"name": f"core={core}", "run_dir": str(done.with_name(str(i))), "status": status, "error": error}
        | {"config": to_dict(compose([f"core={core}", "seeds=2"]))}
        for i, (core, status, error) in enumerate(entries)
    ]
    (tmp_path / "sweep").mkdir()
    record = {"schema": 1, "group": "g", "command": [], "runs": runs}
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(record))
    report([tmp_path / "sweep"], tmp_path / "out")
    rows = {row["core"]: row for row in csv.DictReader((tmp_path / "out" / "table.csv").open())}
    assert rows["gru"]["status"] == "finished" and rows["gru"]["iqm"] == "1.5"
    assert "waiting in its sweep" in rows["s5"]["status"] and "ValueError: no" in rows["mlp"]["status"]


def test_runs_that_differ_in_seeds_are_pooled_and_others_are_told_apart(tmp_path):
    fake_run(tmp_path / "a", "core=gru")
    fake_run(tmp_path / "b", "core=gru", first_seed=2, values=(5.0,))
    fake_run(tmp_path / "c", "core=s5")
    fake_run(tmp_path / "d", "core=s5", "ppo.lr=0.1")
    groups = groups_of(tmp_path)
    assert [g.label for g in groups] == ["gru", "s5 ppo.lr=0.001", "s5 ppo.lr=0.1"]
    assert groups[0].final_returns == [1.0, 2.0, 5.0]


def test_environments_with_other_arguments_are_other_panels(tmp_path):
    fake_run(tmp_path / "a", "env=memory/TMaze", "env_params.length=5")
    fake_run(tmp_path / "b", "env=memory/TMaze", "env_params.length=9")
    assert [(g.env, g.label) for g in groups_of(tmp_path)] == [
        ("memory/TMaze length=5", "gru"),
        ("memory/TMaze length=9", "gru"),
    ]


def test_a_seed_that_ran_twice_counts_once(tmp_path):
    for name, values in (("a", (1.0, 2.0)), ("b", (3.0, 4.0))):
        fake_run(tmp_path / name, values=values)
    (pooled,) = groups_of(tmp_path / "a", tmp_path / "b", tmp_path)
    assert len(pooled.runs) == 2 and len(pooled.final_returns) == 2 and len(curve(pooled)[1]) == 2


def test_curves_are_bin_means_without_the_time_before_the_first_episode(tmp_path):
    fake_run(tmp_path / "a", values=(2.0,), updates=10)
    (only,) = groups_of(tmp_path)
    steps, returns = curve(only)
    assert steps[-1] == 81920 and np.isnan(returns[0, 0]) and returns[0, -1] == 2.0
    assert np.all(np.diff(returns[0][np.isfinite(returns[0])]) >= 0)


def test_a_torn_last_line_is_ignored_and_a_broken_one_is_named(tmp_path):
    path = fake_run(tmp_path / "a")
    text = (path / "metrics.jsonl").read_text()
    (path / "metrics.jsonl").write_text(text + '{"seed": 0, "st')
    assert len(read(Found(path)).curves[0]) == 20
    (path / "metrics.jsonl").write_text("nonsense\n" + text)
    run = read(Found(path))
    assert not run.curves and "line 1 is not a row" in run.status


@pytest.mark.parametrize("seeds_without_an_episode", [1, 2])
def test_runs_without_finished_episodes_are_reported(tmp_path, seeds_without_an_episode):
    path = fake_run(tmp_path / "a", updates=1)
    summary = json.loads((path / "summary.json").read_text())
    summary["final_return"]["per_seed"][:seeds_without_an_episode] = [None] * seeds_without_an_episode
    (path / "summary.json").write_text(json.dumps(summary))
    assert report([path], tmp_path / "out")


def test_the_command_prints_the_table_and_needs_out(tmp_path, capsys):
    run = str(fake_run(tmp_path / "run"))
    assert main(["report", run, "--out", str(tmp_path / "out")]) == 0
    assert "| popgym/RepeatPreviousEasy | gru |" in capsys.readouterr().out
    for words in ([run], [run, "--out"], ["--out", str(tmp_path / "out")], [run, "--outt", "x"]):
        assert main(["report", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_refusals_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    run = fake_run(tmp_path / "run")
    for dirs, out, words in (
        ([], "out", "at least one run directory"),
        ([tmp_path / "nowhere"], "out", "nowhere contains no run"),
        ([run], "file", "cannot write"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            report(dirs, tmp_path / out)
        assert "\n" not in str(caught.value)


def test_iqm_cuts_a_quarter_at_both_ends():
    assert iqm([1.0, 2.0, 3.0, 100.0]) == 2.5
    assert iqm([1.0, 2.0, 6.0]) == 3.0
    assert iqm(np.arange(8.0)) == 3.5


def calls_of(work):
    """How many Python functions were called: the time that it takes, whatever else the machine does."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_work_grows_with_the_runs_and_no_faster(tmp_path, monkeypatch):
    """Thrice the runs are at most about thrice the work, and configurations that are alike are checked once."""
    from rlformers.experiment.reports import config_reader
    from rlformers.experiment.reports.final_returns import runs_table

    checked = []
    monkeypatch.setattr(config_reader, "load", lambda path: checked.append(path) or load(path))
    first = fake_run(tmp_path / "few" / "0", updates=2)
    for top, number in (("few", 30), ("many", 90)):
        for i in range(number):
            shutil.copytree(first, tmp_path / top / f"a{i}")
            text = (first / "config.yaml").read_text().replace("\nseed: 0\n", f"\nseed: {2 * i}\n")
            (tmp_path / top / f"a{i}" / "config.yaml").write_text(text)

    def work(top):
        configs = config_reader.ConfigReader()
        groups = group([read(found, configs) for found in find([tmp_path / top], configs)])
        assert {run.config["seed"] for g in groups for run in g.runs} >= {0, 2, 58}
        runs_table(groups)

    work("few")
    assert len(checked) == 1
    few, many = calls_of(lambda: work("few")), calls_of(lambda: work("many"))
    assert many < 3.3 * few


def test_a_configuration_is_not_taken_for_another(tmp_path):
    from rlformers.experiment.reports.config_reader import ConfigReader

    configs = ConfigReader()
    for i, words in enumerate((["seed=3"], ["seed=4"], ["seed=4", "ppo.lr=0.5"], ["seeds=3"])):
        path = fake_run(tmp_path / str(i), *words, first_seed=i) / "config.yaml"
        assert configs.load(path) == load(path)
        assert configs.from_dict(to_dict(load(path))) == load(path)


def test_mixed_commits_and_versions_are_named(tmp_path):
    for i, (commit, jax) in enumerate((("0123abc", "0.10.2"), ("89defff-dirty", "0.11.0"), ("0123abc", "0.10.2"))):
        run = fake_run(tmp_path / "runs" / str(i), values=(1.0, 2.0), first_seed=2 * i)
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"git_commit": commit, "versions": {"python": "3.11.9", "jax": jax}}
        summary["plugins"] = {"my_package": {"commit": "77aa", "dirty": i == 1}}
        (run / "summary.json").write_text(json.dumps(summary))
    words = "popgym/RepeatPreviousEasy gru mixes commit 0123abc, 89defff-dirty; "
    words += "plug-in my_package 77aa, 77aa-dirty; jax 0.10.2, 0.11.0"
    report([tmp_path / "runs"], tmp_path / "out")
    page, table = ((tmp_path / "out" / name).read_text() for name in ("index.html", "table.md"))
    assert words in page and words in table
    assert "plug-in my_package: 77aa; 77aa-dirty" in page
    report([tmp_path / "runs" / "0", tmp_path / "runs" / "2"], tmp_path / "same")
    assert " mixes " not in (tmp_path / "same" / "index.html").read_text()


def test_failed_seeds_are_named_and_do_not_count(tmp_path):
    run = fake_run(tmp_path / "run", values=(1.0, 2.0, 6.0))
    summary = json.loads((run / "summary.json").read_text())
    summary["final_return"]["per_seed"][1] = None
    summary["failed"] = [{"seed": 1, "what": "loss is nan", "update": 7, "step": 57344}]
    (run / "summary.json").write_text(json.dumps(summary))
    report([run], tmp_path / "out")
    (row,) = csv.DictReader((tmp_path / "out" / "table.csv").open())
    assert (row["seeds"], row["range_low"], row["range_high"]) == ("2", "1.0", "6.0")
    assert "seed 1 failed (loss is nan in update 7)" in row["status"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("seed 1 failed (loss is nan in update 7)") >= 2  # among the results and the runs


def test_the_commit_of_a_plugin_is_found(tmp_path, monkeypatch):
    from rlformers.cores import registry
    from rlformers.experiment.run_files.provenance import plugins

    repository = tmp_path / "theirs"
    repository.mkdir()
    (repository / "their_core.py").write_text(
        "from rlformers.cores.gru import Config\n\n\ndef make(*arguments):\n    raise NotImplementedError\n"
    )
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.syspath_prepend(str(repository))
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    registry.register_core("test/theirs", importlib.import_module("their_core"))
    config = compose(["core=test/theirs"])
    assert plugins(config) == {"their_core": {"commit": commit, "dirty": False}}
    (repository / "their_core.py").write_text((repository / "their_core.py").read_text() + "# changed\n")
    assert plugins(config) == {"their_core": {"commit": commit, "dirty": True}}
    assert plugins(compose(["core=gru"])) == {}
