"""Finite horizons belong to the task and terminate; mere time limits bootstrap."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from rlformers.envs.environment import Wrapper, never_truncates
from rlformers.envs.registry import BUILT_IN, make_env
from rlformers.envs.wrappers import TruncationTerminates

TRUNCATING = {name: entry for name, entry in BUILT_IN.items() if not entry.extra and "MNIST" not in name}


@pytest.mark.parametrize("name", [name for name, entry in TRUNCATING.items() if entry.truncation == "terminates"])
def test_finite_horizons_terminate_unless_something_else_is_said(name):
    """Those that are listed do truncate by themselves: else there would be nothing to list."""
    (raw, params), (env, _) = make_env(name, raw=True), make_env(name)
    told, _ = make_env(name, wrap={"truncation": "bootstraps", "reward_input": True})
    auto, _ = make_env(name, wrap={"truncation": None, "reward_input": True})
    assert never_truncates(env) and never_truncates(auto)
    assert not never_truncates(raw) and not never_truncates(told)
    last = jax.tree.map(jnp.asarray, raw.reset(jax.random.key(0), params)[1])
    steps = (getattr(raw, "max_steps", None) or params.max_steps_in_episode) - 1
    last = (
        last._replace(time=jnp.full_like(last.time, steps))
        if hasattr(last, "_replace")
        else last.replace(time=jnp.full_like(last.time, steps))
    )
    actions = [environment.action_space(params).sample(jax.random.key(1)) for environment in (raw, env)]
    *_, terminated, truncated, _ = raw.step(jax.random.key(2), last, actions[0], params)
    assert truncated and not terminated
    inner = env
    while isinstance(inner, Wrapper) and not isinstance(inner, TruncationTerminates):
        inner = inner.env
    *_, terminated, truncated, _ = inner.step(jax.random.key(2), last, actions[0], params)
    assert terminated and not truncated


def test_which_horizons_are_finite_is_what_the_docs_say():
    docs = (Path(__file__).parents[2] / "docs/envs/popgym.md").read_text()
    rows = dict(re.findall(r"^\| ([\w, ]+) \|.*\| (finite horizon|time limit|-) \|", docs, re.M))
    stated = {family: kind for families, kind in rows.items() for family in families.split(", ")}
    ours = {name.removeprefix("popgym/"): entry for name, entry in BUILT_IN.items() if name.startswith("popgym/")}
    assert len(stated) == 16 and len(ours) == 48
    for name, entry in ours.items():
        kind = stated[re.sub("(Easy|Medium|Hard)$", "", name)]
        assert (entry.truncation == "terminates") == (kind == "finite horizon"), name
        assert never_truncates(make_env(f"popgym/{name}")[0]) == (kind != "time limit"), name
    for name in ("gymnax/CartPole-v1", "gymnax/Pendulum-v1", "memory/RockSample-11-11", "memory/CompassWorld"):
        assert not never_truncates(make_env(name)[0]), name


def test_what_the_learner_makes_of_ends_changes_no_scores():
    from rlformers.experiment.reports.groups import _wrapped

    assert _wrapped({"truncation": "bootstraps", "noise": 0.0, "projection.project_actions": True}, {}) == {}
    assert _wrapped({"time_limit": 5}, {"episodes": 2}) == {"time_limit": 5, "episodes": 2}
