"""The checker passes what is sound and names what is broken."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from broken_environments import BROKEN, Escapes, Params, Walk
from flax import struct

from rlformers.envs import Trial, check, registry
from rlformers.envs.checks.rollouts import first_difference, moved, nudged
from rlformers.envs.registry import make_env, register_env
from rlformers.envs.spaces import Box, Dict, Discrete
from rlformers.envs.wrappers.flatten import Flatten


@pytest.mark.parametrize(
    "env",
    ["meta/ProjectedCartPole", "meta/ProjectedCartPoleLu2023", Trial(make_env("memory/Copy", raw=True)[0], episodes=2)],
    ids=["ProjectedCartPole", "ProjectedCartPoleLu2023", "trials of Copy"],
)
def test_tasks_that_are_params_are_compared_like_numbers(env):
    report = check(env, num_envs=2, num_steps=64)
    report.raise_for_failures()
    assert "single steps equal the scan" in {point.name for point in report.points}


def test_a_glance_sees_numbers_out_of_place():
    report = check(Escapes(), num_envs=2, num_steps=4, quick=True)
    assert [failure.partition(":")[0] for failure in report.failures] == ["values are in their spaces"]
    assert check(Walk(), num_envs=2, num_steps=4, quick=True).ok


def test_a_sound_environment_passes():
    report = check(Walk(), num_envs=3)
    report.raise_for_failures()
    assert report and report.ok and repr(report) == f"<Walk: {len(report.points)} points hold>"
    assert "start flags are 1 at starts: start" in str(report) and " ends" in str(report)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_broken_environments_are_named(broken):
    report = check(broken(), num_envs=3)
    point, _, words = BROKEN[broken].partition(".*")
    found = [failure for failure in report.failures if failure.startswith(point) and words in failure]
    assert found and "\n" not in found[0], report
    assert not report and not report.ok and f"FAIL  {found[0]}" in str(report) and found[0] in repr(report)
    with pytest.raises(AssertionError, match=f"{broken.__name__}\n  .*{re.escape(found[0])}"):
        report.raise_for_failures()


def test_rounding_is_told_from_differences():
    numbers, whole, key = jnp.array([0.3, -50.7, 2.0]), jnp.int32(3), jax.random.key(0)
    tree = {"numbers": numbers, "whole": whole, "key": key, "none": jnp.zeros(0)}
    near = nudged(tree)
    change = np.abs(near["numbers"] - numbers)
    assert (change[:2] > 0).all() and (change[:2] <= np.spacing(np.abs(numbers[:2]))).all()
    assert change[2] == 0 and near["whole"] == 3 and near["key"] == key, "these are not rounded"

    other = {**tree, "numbers": numbers.at[0].add(1e-3)}
    assert first_difference(other, tree) == first_difference(other, tree, moved(other, other))
    assert first_difference(other, tree).startswith("['numbers'][0] is 0.30")
    sensitive = {**other, "numbers": other["numbers"].at[1].add(2e-4)}
    assert not first_difference(other, tree, moved(other, sensitive))
    assert first_difference({**other, "whole": jnp.int32(4)}, tree, moved(other, sensitive)) == "['whole'] is 4, not 3"
    assert first_difference(sensitive, other) == "" != first_difference(sensitive, other, exact=True)


class Image(Walk):
    """Walks with an image and numbers to flatten."""

    def show(self, state, first):
        return {"place": state.place[None], "side": (state.place > 0).astype(jnp.int32), "eye": jnp.zeros((2, 2, 1))}

    def observation_space(self, params):
        return Dict({"place": Box(-1.0, 1.0, (1,)), "side": Discrete(2), "eye": Box(0.0, 1.0, (2, 2, 1))})


def test_what_agents_see_is_looked_at_too(monkeypatch):
    flatten = Flatten.flatten
    monkeypatch.setattr(Flatten, "flatten", lambda *args: jax.tree.map(lambda x: x - 1, flatten(*args)))
    (failure,) = check(Image(), num_envs=2).failures
    assert re.match(
        r"values are in their spaces: flattened observation of a reset\['image'\]\[0, 0, 0\] is -1", failure
    )
    monkeypatch.setattr(Flatten, "flatten", lambda *args: flatten(*args)["vector"])
    (failure,) = check(Image(), num_envs=2).failures
    assert re.match(r"agents can read .* flattened observation of reset_env has float32\[3\], space has \['im", failure)


@struct.dataclass
class Speed:
    speed: float = 0.01


class LimitedWalk(Walk):
    """Its time limit is an argument of the constructor."""

    default_params = Speed()

    def __init__(self, max_steps_in_episode: int = 50, folded: bool = False, declared: bool = False):
        self.limit, self.folded, self.never_truncates = max_steps_in_episode, folded, declared

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = super().step_env(key, state, action, params)
        return obs, state, reward, terminated | (self.folded & (state.time >= self.limit)), info

    def is_truncated(self, state, params):
        return state.time >= self.limit


def test_the_limit_of_a_constructor_is_looked_at(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Walk", LimitedWalk)
    (failure,) = check("mine/Walk", num_envs=2, num_steps=50, folded=True).failures
    assert failure.startswith(
        "a time limit truncates: env_kwargs.max_steps_in_episode=7 terminates episodes that would"
    )
    (failure,) = check("mine/Walk", num_envs=2, num_steps=32, max_steps_in_episode=500, declared=True).failures
    assert failure.startswith("never_truncates is honest: declared, and ")


def test_params_and_arguments_can_be_given_and_others_are_refused():
    report = check(Walk(), Params(speed=float("nan")), num_envs=3)
    assert any(failure.startswith("numbers are finite") for failure in report.failures), report
    for what, options, message in (
        ("memory/TMase", {}, "mean 'memory/TMaze'"),
        ("memory/TMaze", {"num_env": 3}, r"env_kwargs\.num_env: env 'memory/TMaze' has active"),
        (Walk(), {"num_env": 3}, r"env_kwargs\.num_env: .*Walk is already built"),
        (Walk(), {"num_envs": 0}, "num_envs: need at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            check(what, **options)
    with pytest.raises(TypeError, match="need an id or an environment, got a tuple|Type-check"):
        check(make_env("memory/TMaze"))


def test_the_program_of_the_page_runs_and_its_table_has_every_point(capsys):
    page = (Path(__file__).parents[2] / "docs/envs/your-own.md").read_text()
    exec(re.search(r"```python\n(.*?)```", page, re.S)[1], {"__name__": "page"})
    points = re.findall(r"^  ok    ([^:\n]*)", capsys.readouterr().out, re.M)
    assert (
        len(points) > 15
        and re.findall(r"^\| ([a-z ,_0-9]+?) \|", page.partition("the usual mistake")[2], re.M) == points
    )
