"""What is said about returns: it agrees with the environments, with what was measured, and with the list."""

import dataclasses
import inspect
import json
import math
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from rlformers.envs import registry
from rlformers.envs.memory.scores import random_tmaze
from rlformers.envs.random_returns import random_returns
from rlformers.envs.registry import BUILT_IN, make_env, register_env
from rlformers.envs.scores import Played, Published, Scores, known_scores, stored_random_returns

POPGYM = json.loads((Path(__file__).parents[1] / "data/popgym/popgym_reference.json").read_text())
WITH_SCORES = {name: entry for name, entry in BUILT_IN.items() if entry.scores is not None}


@pytest.mark.parametrize("active", [False, True])
def test_chance_in_the_tmaze_is_that_of_its_random_walk(active):
    env, params = make_env("memory/TMaze", raw=True, active=active)
    params = params.replace(length=2)  # short enough to reach the goal by chance
    returns = np.asarray(jax.jit(random_returns, static_argnums=(0, 3))(env, params, jax.random.key(0), 20_000))
    assert abs(returns.mean() - random_tmaze(2, int(active))) < 4 * returns.std() / len(returns) ** 0.5


def test_measured_chance_is_that_of_the_original_popgym():
    ours = [name for name in BUILT_IN if name.startswith("popgym/")]
    assert len(ours) > 40
    for name in ours:
        stored, original = stored_random_returns()[name], POPGYM[name.removeprefix("popgym/")]
        error = np.hypot(stored["sem"], original["return_sem"])
        assert abs(stored["mean"] - original["return_mean"]) < 4.5 * error, name


def test_measured_chance_is_the_derived_one():
    derived = {name: entry.scores().random for name, entry in WITH_SCORES.items()}
    derived = {name: value for name, value in derived.items() if value is not None}
    assert len(derived) > 14
    for name, value in derived.items():
        stored = stored_random_returns()[name]
        assert abs(stored["mean"] - value) < 4 * stored["sem"] + 1e-3, name


def test_every_environment_of_ours_has_measured_chance():
    ours = {name for name, entry in BUILT_IN.items() if not entry.extra and "MNIST" not in name and "*" not in name}
    assert set(stored_random_returns()) == ours


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["popgym/HigherLowerEasy", "memory/VisualMatch", "meta/DarkRoom", "gymnax/CartPole-v1"]
)
def test_stored_chance_can_be_measured_again(name):
    from rlformers.envs.random_returns import measure

    assert measure(name) == pytest.approx(stored_random_returns()[name], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, entry in WITH_SCORES.items()
        if name.startswith("memory/") and inspect.signature(entry.scores).parameters
    ],
)
def test_functions_of_settings_have_the_environments_defaults(name):
    env, params = make_env(name, raw=True)
    settings = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    settings |= {key: parameter.default for key, parameter in inspect.signature(type(env)).parameters.items()}
    for key, parameter in inspect.signature(WITH_SCORES[name].scores).parameters.items():
        assert settings[key] == parameter.default, key


def test_the_list_states_the_ceilings():
    ours = {name: entry for name, entry in BUILT_IN.items() if name.split("/")[0] in ("popgym", "memory", "meta")}
    bounds = 0
    for name, entry in {**ours, **WITH_SCORES}.items():
        scores = entry.scores()
        reached, to, bound = entry.best.partition(" to ")
        if to:  # a scale ends at a known policy, or at a bound
            assert float(reached) <= scores.ceiling <= float(bound) + 0.01, name
            bounds += 1
        elif name in ours or scores.ceiling is not None:
            assert scores.ceiling == float(re.search(r"[\d.]+", entry.best)[0]), name
        assert all(score.source for score in scores.published)
    assert len(ours) > 70 and bounds > 15


# Published scores above what can be reached, and why; docs/envs/popgym.md.
OTHER_RULES = {("popgym/MineSweeperEasy", "best of 13"): "one step more, and a first tile shown"}


def test_nothing_is_called_best_that_is_below_a_published_score():
    """Scores of figures are read within 0.005."""
    seen = 0
    for name, entry in WITH_SCORES.items():
        scores = entry.scores()
        lowest = re.match(r"[\d.]+(?= to )|[\d.]+$", entry.best)  # what the list says is reached
        for score in (*scores.published, *scores.played):
            if (name, score.who) in OTHER_RULES:
                assert not score.same_rules and score.value > scores.ceiling
                continue
            assert score.value <= scores.ceiling + 0.005, (name, score)
            if isinstance(score, Played) or score.same_rules:
                assert score.value <= scores.best + 0.005, (name, score)
                assert lowest is None or score.value <= float(lowest[0]) + 0.005, (name, score)
            seen += 1
        if lowest and scores.best is not None:
            assert float(lowest[0]) == pytest.approx(scores.best, abs=0.005), name
    assert seen > 100


def test_the_references_of_the_docs_are_known_to_reports():
    row = r"\| `(meta/\w+)` \|.*\|.*\| (.*) \|"
    stated = re.findall(row, (Path(__file__).parents[2] / "docs/meta-rl.md").read_text())
    seen = 0
    for name, text in stated:
        scores = known_scores(name)
        for score in (*scores.played, *scores.published):
            if score.who not in ("S5", "GRU", "MLP"):  # a table of their own
                assert f"{score.value:.1f}" in text, (name, score)
                seen += 1
    assert seen > 15
    best = {name: known_scores(f"meta/{name}").best for name in ("BernoulliBandit", "GaussianBandit", "TabularMDP")}
    assert best == {"BernoulliBandit": 83.7, "GaussianBandit": 129.4, "TabularMDP": 156.2}
    bandits = [known_scores(f"popgym/MultiarmedBandit{level}").best for level in ("Easy", "Medium", "Hard")]
    assert bandits == [0.723, 0.822, 0.860]


def test_the_best_is_what_somebody_reached():
    paper = Published("GRU", 0.8, "a paper")
    assert Scores(ceiling=1.0).best == 1 and Scores(ceiling=1.0, ceiling_of="bound").best is None
    assert Scores(ceiling=1.0, ceiling_of="goal known", published=(paper,)).best == 0.8
    assert Scores(ceiling=0.79, ceiling_of="bound", published=(paper,)).best == 0.79, "a figure is not exact"
    assert Scores(published=(paper._replace(same_rules=False),)).best is None
    hunter = (Played("hunter", 0.7),)
    assert Scores(ceiling=0.7, ceiling_of="hunter", published=(paper,), played=hunter).best == 0.8


def test_published_scores_are_those_of_the_reference():
    references = {name: reference["published"] for name, reference in POPGYM.items() if reference.get("published")}
    assert len(references) > 30
    for name, published in references.items():
        scores = {score.who.partition(" (")[0]: score.value for score in BUILT_IN[f"popgym/{name}"].scores().published}
        assert scores["GRU"] == published["GRU_MMER"] and scores["AMAGO"] == published["AMAGO_max_le15M"]
        assert max(scores["GRU"], scores.get("best of 13", -1)) == max(
            published["GRU_MMER"], published["best_of_13_MMER"]
        )


@pytest.mark.parametrize("level,cards,kinds", [("Easy", 52, 2), ("Medium", 104, 4), ("Hard", 208, 13)])
def test_the_old_optimum_of_count_recall_is_that_of_who_cannot_name_the_largest_count(level, cards, kinds):
    """After t cards one kind is complete with probability C(cards - full, t - full) / C(cards, t)."""
    full = cards // kinds
    ways = (math.comb(cards - full, t - full) / math.comb(cards, t) for t in range(full, cards))
    old = 1 - 2 * sum(ways) / (cards - 1)
    published = BUILT_IN[f"popgym/CountRecall{level}"].scores().published
    assert published
    for score in published:
        assert score.source.endswith(f"under rules whose optimum was {old:.3f}")


def test_scores_hold_for_the_configuration_or_are_not_stated():
    assert known_scores("memory/TMaze", env_params={"length": 50}) == Scores(random_tmaze(50, 0), 0.5, 1.0)
    assert known_scores("memory/DelayLine", {"num_symbols": 10}).memoryless == 0.1
    assert known_scores("popgym/RepeatPreviousEasy", {"k": 4}) == known_scores("popgym/RepeatPreviousEasy") is not None
    for nodes in ({"env_kwargs": {"k": 5}}, {"wrap": {"noise": 0.1}}):
        assert known_scores("popgym/RepeatPreviousEasy", **nodes) is None
    assert known_scores("meta/DarkRoom", {"episodes": 9}) is None
    assert known_scores("meta/DarkRoom", {"split": "train", "episode_length": 20}) == known_scores("meta/DarkRoom")
    assert known_scores("meta/DarkRoom", {"split": "heldout"}) is None
    own = {"inputs": ["previous_reward", "episode_end"], "rescale": False}
    assert known_scores("meta/ProjectedCartPoleLu2023", own).ceiling == 16
    assert known_scores("meta/ProjectedCartPoleLu2023", {"rescale": True}) is None, "a default that the id overrides"
    assert known_scores("memory/TMaze", {"active": True}) is None
    assert known_scores("nobody/Knows") is None


def test_scores_of_registered_environments(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Maze", "nowhere:Maze", scores=lambda length=10: Scores(random=1 / length, ceiling=1.0))
    scores = known_scores("mine/Maze", env_params={"length": 4})
    assert (scores.zero, scores.normalise(0.25), scores.normalise(1.0)) == (0.25, 0.0, 1.0)
    assert scores.normalise(0.625) == 0.5
    assert known_scores("mine/Maze", env_params={"width": 4}) is None


def test_returns_without_two_ends_have_no_scale():
    for scores in (Scores(random=0.0), Scores(ceiling=1.0), Scores(random=1.0, ceiling=1.0)):
        assert scores.span is None
        with pytest.raises(ValueError, match="no scale"):
            scores.normalise(0.5)
    assert Scores(memoryless=0.5, ceiling=1.0).normalise(0.75) == 0.5
