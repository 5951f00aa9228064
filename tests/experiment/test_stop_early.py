"""`stop.return`: a run that is good enough ends, says so, and goes on if more is asked for."""

import json

import pytest

from rlformers.command.main import main
from rlformers.config.compose import compose, load
from rlformers.experiment.reports.groups import group
from rlformers.experiment.reports.runs import Found, read
from rlformers.experiment.run_files.summary import goal_of
from rlformers.experiment.training.episode_sums import EpisodeSums
from rlformers.experiment.training.retry import retry_failed
from rlformers.experiment.training.run_record import Member
from rlformers.experiment.training.stop_request import Failed

# Episodes of CartPole that end early are short: returns grow from interval to interval.
SMALL = ["env=gymnax/CartPole-v1", "core=mlp", "model.width=16", "ppo.num_envs=4", "ppo.num_steps=16", "seeds=2"]
SMALL += ["ppo.num_minibatches=2", "ppo.lr=0.01", "wandb.mode=disabled", "total_steps=1280", "log_every=2"]
BATCH = 64


def rows(run_dir):
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if not key.startswith("perf/")} for row in lines]


def summary(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run to its end, and the mean return of each log interval by its step."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", *SMALL, f"run_dir={run_dir}"]) == 0
    means = {}
    for row in rows(run_dir):
        means.setdefault(row["step"], []).append(row["episode/return"])
    return run_dir, {step: sum(found) / len(found) for step, found in means.items() if None not in found}


def first_at(means, goal):
    return min(step for step, mean in means.items() if mean >= goal)


def two_goals(means):
    """Returns that are reached one after the other."""
    best, goals = float("-inf"), []
    for step in sorted(means):
        if means[step] > best:
            best = means[step]
            goals.append(best)
    assert len(goals) >= 2
    return goals[0], goals[1]


def test_a_run_ends_at_its_return_and_goes_on_if_more_is_asked_for(whole, tmp_path, capsys):
    run, (_, means) = tmp_path / "run", whole
    low, high = two_goals(means)
    words = [*SMALL, f"run_dir={run}"]
    assert main(["train", *words, f"stop.return={low}"]) == 0
    first = first_at(means, low)
    found = summary(run)
    assert found["completed"] and found["total_steps"] == first < 1280
    assert found["stopped_early"] == {"step": first, "return": pytest.approx(means[first], rel=1e-12)}
    assert found["final_return"]["mean"] is not None
    assert rows(run) == [row for row in rows(whole[0]) if row["step"] <= first]
    assert read(Found(run, None)).finished

    capsys.readouterr()
    assert main(["train", *words, f"stop.return={low}"]) == 0  # the same command
    assert f"{run} is finished early, after {first:,} steps" in capsys.readouterr().out
    assert main(["list", "runs", str(run)]) == 0
    assert "finished" in capsys.readouterr().out

    assert main(["train", f"resume={run}", f"stop.return={high}"]) == 0
    second = first_at(means, high)
    assert summary(run)["stopped_early"]["step"] == second > first
    assert rows(run) == [row for row in rows(whole[0]) if row["step"] <= second]

    assert main(["train", f"resume={run}", "stop.return=null"]) == 0
    assert summary(run)["stopped_early"] is None and summary(run)["total_steps"] == 1280
    assert rows(run) == rows(whole[0])


def test_what_is_never_reached_changes_nothing(whole, tmp_path):
    run = tmp_path / "run"
    assert main(["train", *SMALL, f"run_dir={run}", "stop.return=99"]) == 0
    assert rows(run) == rows(whole[0]) and summary(run)["stopped_early"] is None
    assert summary(run)["final_return"] == summary(whole[0])["final_return"]


def test_evaluations_decide_where_there_are_some(tmp_path):
    words = [*SMALL, f"run_dir={tmp_path / 'run'}", "eval.every=256", "eval.episodes=4", "stop.return=-99"]
    assert main(["train", *words]) == 0
    found = summary(tmp_path / "run")
    assert found["stopped_early"]["step"] == found["evaluation"]["step"] == found["total_steps"] == 2 * BATCH
    assert found["stopped_early"]["return"] == pytest.approx(found["evaluation"]["return"]["mean"])


def test_a_process_that_dies_before_its_summary_ends_at_the_same_step(whole, tmp_path):
    run, (_, means) = tmp_path / "run", whole
    low, _ = two_goals(means)
    words = ["train", *SMALL, f"run_dir={run}", f"stop.return={low}"]
    assert main(words) == 0
    before = summary(run)
    (run / "summary.json").unlink()
    assert main(words) == 0
    after = summary(run)
    for name in ("stopped_early", "total_steps", "final_return", "completed"):
        assert after[name] == before[name]


def test_runs_of_one_program_end_by_themselves(tmp_path):
    words = [*SMALL, "--multirun", "vmap_over=ppo.lr", "ppo.lr=0.01,1e-6", f"run_dir={tmp_path / 'sweep'}"]
    alone = tmp_path / "alone"
    assert main(["train", *SMALL, "ppo.lr=1e-6", f"run_dir={alone}"]) == 0
    means = {}
    for row in rows(alone):
        means.setdefault(row["step"], []).append(row["episode/return"])
    means = {step: sum(found) / len(found) for step, found in means.items() if None not in found}
    goal = max(means.values())
    assert main(["train", *words, f"stop.return={goal}"]) == 0
    ended = {}
    for path in sorted((tmp_path / "sweep").rglob("summary.json")):
        found = summary(path.parent)
        ended[load(path.parent / "config.yaml").ppo.lr] = found["stopped_early"]
        steps = [row["step"] for row in rows(path.parent)]
        assert max(steps) == found["total_steps"] and found["completed"]
        assert str(found["total_steps"] // BATCH) in {p.name for p in (path.parent / "checkpoints").iterdir()}
    assert len(ended) == 2
    slow = ended[1e-6]
    assert slow["step"] == first_at(means, goal)


@pytest.mark.parametrize(
    "word,message",
    [
        ("stop.return=good", "stop.return: need a finite number, got 'good'"),
        ("stop.return=true", "stop.return: need a finite number, got True"),
        ("stop.returns=1", "stop.returns: need stop.return, got 'returns'"),
    ],
)
def test_what_cannot_be_reached_is_refused(word, message):
    with pytest.raises(ValueError) as caught:
        compose([*SMALL, word])
    assert str(caught.value) == message


def test_a_goal_that_has_been_passed_is_reached():
    found = {"stopped_early": {"step": 640, "return": 0.9}}
    goals = {"0.9": 640, "0.8": 640, "0.91": 1280, "null": 1280}
    assert {goal: goal_of(found, compose([*SMALL, f"stop.return={goal}"])) for goal in goals} == goals


def test_the_last_tenth_of_what_was_made_is_kept():
    import numpy as np

    def sums(updates, words):
        episodes = EpisodeSums(compose([*SMALL, f"total_steps={200 * BATCH}", *words]), 2)
        for update in range(1, updates + 1):
            value = np.full(2, float(update))
            ones = np.ones(2)
            episodes.add(update, {"episode/return": value, "episode/length": ones, "episode/count": ones})
        return episodes.final()["mean"]

    assert sums(200, []) == sums(200, ["stop.return=1"]) == np.mean(range(181, 201))
    assert sums(100, []) is None and sums(100, ["stop.return=1"]) == pytest.approx(np.mean(range(91, 101)), abs=1)
    assert sums(3, ["stop.return=1"]) == 3


def test_groups_of_seeds_end_together_at_the_same_step(whole, tmp_path):
    run, (_, means) = tmp_path / "run", whole
    low, _ = two_goals(means)
    assert main(["train", *SMALL, f"run_dir={run}", f"stop.return={low}", "seeds_at_a_time=1"]) == 0
    found = summary(run)
    assert found["stopped_early"]["step"] == found["total_steps"] == first_at(means, low)
    assert {row["seed"] for row in rows(run)} == {0, 1}


def test_a_report_tells_runs_that_ended_early_from_whole_ones(whole, tmp_path):
    run, (_, means) = tmp_path / "run", whole
    low, _ = two_goals(means)
    assert main(["train", *SMALL, f"run_dir={run}", f"stop.return={low}"]) == 0
    step = summary(run)["total_steps"]
    early, complete = read(Found(run)), read(Found(whole[0]))
    assert early.finished and early.status == f"finished early, after {step:,} steps"
    assert complete.status == "finished"
    labels = {each.label: each for each in group([early, complete])}
    assert len(labels) == 2  # its return was chosen, so that it is not one of the others
    (label,) = [label for label in labels if f"stop.return={low:g}" in label]
    assert labels[label].final_returns and labels[label].runs == [early]


def test_failed_seeds_do_not_count(tmp_path):
    """The first seed fails; the other one reaches the return that is asked for."""
    config = compose([*SMALL, "stop.return=5"])
    member = Member.__new__(Member)
    member.config, member.done, member.reached = config, 2, None
    lines = [{"episode/return": None}, {"episode/return": 6.0}]
    member._look_at_return(lines, [True, True])
    assert member.reached is None  # a seed without an episode has no return yet
    member._look_at_return(lines, [False, True])
    assert member.reached == {"step": 2 * BATCH, "return": 6.0}


def test_a_seed_that_is_trained_again_makes_the_steps_of_the_others(tmp_path):
    begun = []

    def train(config, place):
        begun.append(config)
        raise Failed("reward is not finite", 1, BATCH, [1])

    config = compose([*SMALL, "stop.return=5", f"run_dir={tmp_path / 'run'}"])
    failed = {"failed": [{"seed": 1}], "seeds": [0, 1], "stopped_early": None}
    failed |= {"init_from": {"seeds": [5, 6], "update": 4}}
    assert retry_failed(config, tmp_path / "run", failed, None, train) == failed
    (alone,) = begun
    assert alone.stop_return is None and (alone.seed, alone.seeds) == (1, 1)
    assert (alone.init_seed, alone.init_checkpoint) == (6, "4")  # as in its run

    ended = failed | {"stopped_early": {"step": 256, "return": 6.0}}
    with pytest.raises(ValueError, match=r"^retry: .* ended early, after 256 steps, as stop\.return says"):
        retry_failed(config, tmp_path / "run", ended, None, train)
