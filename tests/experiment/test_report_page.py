"""The page of a report has every figure and number, needs nothing else, and its numbers are right."""

import base64
import csv
import fcntl
import io
import json
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_runs import add_evaluations, fake_evaluation, fake_run
from PIL import Image

from rlformers.config.compose import compose, flatten, load, to_dict
from rlformers.experiment.reports import Found, find, group, read, report
from rlformers.experiment.reports.across_environments import compare
from rlformers.experiment.reports.final_returns import references_table, results_row
from rlformers.experiment.reports.learning_curves import spread
from rlformers.experiment.reports.write import write

ENVS = ("popgym/RepeatPreviousEasy", "memory/TMaze")
RETURNS = {
    (ENVS[0], "mlp"): (-0.5, -0.49, -0.51),
    (ENVS[0], "gru"): (0.98, 1.0, 0.99),
    (ENVS[0], "s5"): (0.9, 0.99, 0.95),
    (ENVS[1], "mlp"): (0.5, 0.48, 0.52),
    (ENVS[1], "gru"): (0.5, 1.0, 0.75),
    (ENVS[1], "s5"): (0.97, 0.5, 0.99),
}
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The parts of a page; complains about unclosed tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.tables, self.links, self.text = [], {}, {}, [], ""
        self.tags = set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images[attributes["id"]] = attributes["src"]
        if tag == "table":
            self.numbers = self.tables.setdefault(attributes["id"], [])
        if tag == "data":
            self.numbers.append([attributes["value"], ""])
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "data":
            self.numbers[-1][1] += data


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two environments, three cores, three seeds; another core failed on one and never ran on the other."""
    top = tmp_path_factory.mktemp("report") / "runs"
    for (env, core), values in RETURNS.items():
        words = ["eval.every=1", "eval.env_params.length=9", "eval.greedy=true"] if core == "s5" else []
        path = fake_run(
            top / env / core, f"env={env}", f"core={core}", *words[: 3 if "TMaze" in env else 1], values=values
        )
        if words:
            add_evaluations(path, 5, (1.0, 2.0, 4.0))
        if core == "gru":
            fake_evaluation(path, "long", [1.0, 2.0, 4.0], split="heldout", greedy=True)
    failed = fake_run(
        top / "bad", f"env={ENVS[1]}", "core=lstm", "ppo.lr=0.5", updates=40, finished=False, stopped=True
    )
    summary = json.loads((failed / "summary.json").read_text())
    summary["failure"] = {"what": "a < b & <script>c</script>", "update": 40}
    (failed / "summary.json").write_text(json.dumps(summary))
    return top


@pytest.fixture(scope="module")
def files(runs):
    return {file.name: file for file in report([runs], runs.parent / "out")}


@pytest.fixture(scope="module")
def page(files):
    return Page(files["index.html"].read_text())


def rows_of(files, name):
    with files[name].open() as file:
        return list(csv.DictReader(file))


def test_every_figure_is_in_the_page(files, page):
    figures = {name.removesuffix(".png"): path for name, path in files.items() if name.endswith(".png")}
    assert set(figures) == {
        "learning_curves",
        "evaluation_curves",
        "aggregate",
        "probability_of_improvement",
        "performance_profile",
        "adaptation_curves",
    }
    assert set(page.images) == set(figures)
    for name, path in figures.items():
        kind, _, data = page.images[name].partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data) == path.read_bytes()
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        image.load()
        assert 500 < image.width < 3000 and 150 < image.height < 3000
        assert np.asarray(image.convert("L")).std() > 5  # something is drawn
        assert files[f"{name}.pdf"].read_bytes().startswith(b"%PDF-")


def test_evaluations_while_training_are_drawn_as_they_are(files):
    rows = rows_of(files, "evaluation_curves.csv")
    assert {(row["env"], row["core"]) for row in rows} == {
        (f"{ENVS[0]}, evaluated", "s5"),
        (f"{ENVS[1]}, evaluated with length=9 greedy", "s5"),
    }
    for row, step in zip(rows, [81920, 122880, 163840] * 2, strict=True):
        assert float(row["step"]) == step and float(row["return"]) == pytest.approx(7 / 3 * step)
        assert (float(row["range_low"]), float(row["range_high"])) == (step, 4 * step)
        assert (row["seeds"], row["ci95_low"], row["ci95_high"]) == ("3", "", "")


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", ["table", "references", "aggregate", "probability_of_improvement", "evaluations"])
def test_every_number_of_a_table_is_in_the_page_and_no_other(files, page, name):
    in_file = [value for row in rows_of(files, f"{name}.csv") for value in row.values() if is_number(value)]
    in_page = [value for value, _ in page.tables[name]]
    assert len(in_page) > 5 and sorted(in_page) == sorted(in_file)
    for value, text in page.tables[name]:
        shown = float(text.replace(",", "").replace("%", ""))
        assert abs(shown - float(value)) <= 0.5 * 10 ** -len(text.partition(".")[2]) + 1e-12


def test_the_page_needs_nothing_else(files, page):
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not page.tags & {"script", "link", "iframe"}
    assert "@import" not in (text := files["index.html"].read_text()) and "url(" not in text


def test_aggregates_are_those_of_the_runs(files):
    low, high = {ENVS[0]: None, ENVS[1]: None}, 1.0
    low = {row["env"]: float(row["return"]) for row in rows_of(files, "references.csv") if row["reference"] == "random"}
    for row in rows_of(files, "aggregate.csv"):
        scores = sorted(
            (value - low[env]) / (high - low[env])
            for (env, core), values in RETURNS.items()
            if core == row["core"]
            for value in values
        )
        assert float(row["iqm"]) == pytest.approx(np.mean(scores[1:5]))  # a quarter of 6, rounded down, from each end
        assert row["ci95_low"] == row["ci95_high"] == ""  # three seeds
        assert (row["environments"], row["runs"]) == ("2", "6")
    pairs = {
        (row["core"], row["over"]): float(row["probability"])
        for row in rows_of(files, "probability_of_improvement.csv")
    }
    assert len(pairs) == 6
    for (x, y), probability in pairs.items():
        shares = [np.mean([(a > b) + (a == b) / 2 for a in RETURNS[env, x] for b in RETURNS[env, y]]) for env in ENVS]
        assert probability == pytest.approx(np.mean(shares))
    profile = [row for row in rows_of(files, "performance_profile.csv") if row["core"] == "gru"]
    shares = [float(row["share"]) for row in profile]
    assert shares == sorted(shares, reverse=True) and (shares[0], shares[-1]) == (1.0, 0.0)


def test_what_is_not_finished_is_named(files, page):
    assert "unfinished at 33%, failed: a < b & <script>c</script>" in page.text  # as text, not as a tag
    assert "6 runs are finished. These are not" in page.text
    states = {(row["env"], row["core"]): row["status"] for row in rows_of(files, "table.csv")}
    assert states[ENVS[0], "lstm"] == "no run" and states[ENVS[1], "lstm"].startswith("unfinished at 33%")
    assert "left out, as without results in all of these: lstm" in page.text
    for words in ("commit: 0123abc", "jax: 0.10.2", "ppo.lr=0.5", "TFRT_CPU_0"):
        assert words in page.text


def test_commands_make_the_same_configuration(files, page):
    rows = [row for row in rows_of(files, "runs.csv") if row["command"]]
    assert len(rows) == 7
    assert all(row["command"] in page.text for row in rows)
    for row in (rows[0], next(row for row in rows if "lr" in row["command"])):
        program, verb, *words = shlex.split(row["command"])
        assert (program, verb) == ("rlformers", "train")
        assert flatten(to_dict(compose(words))) == flatten(to_dict(load(f"{row['run_dir']}/config.yaml")))


def test_commands_quote_what_needs_it(tmp_path):
    words = ["wrap.mask=[0,2]", "wrap.flag=true", "env_kwargs.name='a b,c'", "ppo.lr=3e-4", "seed=5", "core=s5"]
    path = fake_run(tmp_path / "a", *words, values=(1.0,), first_seed=5)
    from rlformers.experiment.reports.reproduce import command

    assert to_dict(compose(command(read(Found(path)))[2:])) == to_dict(load(path / "config.yaml"))


def groups_of(*paths):
    return group([read(path) for path in find(paths)])


def test_without_references_the_page_says_so(tmp_path):
    for core in ("gru", "mlp"):
        fake_run(tmp_path / core, "env=memory/KeyToDoor", "wrap.noise=0.5", f"core={core}", values=(2.0,))
    groups = groups_of(tmp_path)
    comparison = compare(groups)
    assert references_table(groups) is None and comparison.aggregate is comparison.profile is None
    assert set(comparison.absent) == {"aggregate", "performance_profile"}
    assert comparison.absent["aggregate"].startswith("No reference known")
    (_, row) = comparison.improvement.rows
    assert (row["core"], row["probability"], row["p_value"]) == ("mlp", 0.5, 1.0)
    assert (row["runs"], row["over_runs"]) == (1, 1)
    (tmp_path / "out").mkdir()
    text = Page(next(f for f in write(groups, tmp_path / "out") if f.name == "index.html").read_text()).text
    assert text.count("No reference known") == 3


def test_one_environment_has_a_profile_but_no_aggregate(tmp_path):
    fake_run(tmp_path / "a", "core=gru", values=(0.5, 0.75))
    comparison = compare(groups_of(tmp_path))
    assert comparison.profile is not None and "needs two environments" in comparison.absent["aggregate"]
    assert "no two cores" in comparison.absent["probability_of_improvement"]


def test_nothing_finished_is_no_error(tmp_path):
    fake_run(tmp_path / "a", "core=gru", updates=2, finished=False)
    nothing = fake_run(tmp_path / "b", "core=mlp", updates=2, finished=False)
    (nothing / "metrics.jsonl").unlink()
    files = report([tmp_path], tmp_path / "out")
    text = next(file for file in files if file.name == "table.md").read_text()
    assert "ended before its first log point" in text and "unfinished at 2%, killed" in text


def test_configurations_of_other_programs_are_no_runs(tmp_path):
    run = fake_run(tmp_path / "a")
    for place in (run / "wandb", tmp_path / "other"):
        place.mkdir()
        (place / "config.yaml").write_text("wandb_version: 1\n")
    assert [found.path for found in find([tmp_path])] == [run.resolve()]


def test_a_run_that_trains_is_said_to(tmp_path):
    run = fake_run(tmp_path / "a", updates=10, finished=False)
    with (run / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read(Found(run)).status == "unfinished at 8%, training now"
    assert read(Found(run)).status == "unfinished at 8%, killed"


def test_references_and_scale_follow_the_configuration(tmp_path):
    fake_run(tmp_path / "a", "env=memory/DelayLine", "env_kwargs.num_symbols=10", values=(0.55,))
    fake_run(tmp_path / "b", "wrap.noise=0.5", values=(0.5,))
    delay, noisy = groups_of(tmp_path)
    assert results_row(delay)["iqm_normalised"] == pytest.approx(0.5)
    assert results_row(noisy)["iqm_normalised"] is None and noisy.scores is None


def test_names_of_close_lines_move_apart():
    places = spread([0.0, 0.1, 0.15, 1.0], gap=0.2, top=1.0)
    assert np.diff(places).min() >= 0.2 - 1e-9 and places[-1] == 1.0
    assert spread([0.9, 0.95, 1.0], gap=0.2, top=1.0) == pytest.approx([0.6, 0.8, 1.0])
