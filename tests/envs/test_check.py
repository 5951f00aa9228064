"""The checker passes what is sound and names what is broken."""

import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rlformers.envs import Trial, check, registry
from rlformers.envs.checks.rollouts import first_difference, moved, nudged
from rlformers.envs.environment import Environment
from rlformers.envs.registry import find, make_env, names, register_env
from rlformers.envs.spaces import Box, Dict, Discrete, Space
from rlformers.envs.wrappers.flatten import Flatten

TABLE = [
    "popgym/RepeatPreviousEasy",
    "popgym/PositionOnlyCartPoleEasy",
    "memory/TMaze",
    "gymnax/CartPole-v1",
]
# What draws or simulates bodies at every step takes a processor a minute or more otherwise.
FEWER = dict.fromkeys(("arcade", "brax", "playground"), {"num_envs": 2, "num_steps": 16})
# MNISTBandit downloads a data set. gymnasium/* stands for what Gymnasium has.
SLOW = [name.replace("/*", "/CartPole-v1") for name in names() if name not in TABLE and "MNIST" not in name]


@pytest.mark.parametrize("name", TABLE + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW])
def test_every_environment_keeps_the_protocol(name):
    if find(name).extra:
        try:
            make_env(name)
        except ValueError as error:
            if "pip install" not in str(error):
                raise
            pytest.skip(str(error))
    check(name, **FEWER.get(find(name).extra, {})).raise_for_failures()


def first_of_constructors():
    """All that is built in here, and whether it is the first of its constructor (and of its package's id)."""
    seen = set()
    for entry in registry.BUILT_IN.values():
        if not entry.extra and "MNIST" not in entry.name:
            what = entry.target, entry.kwargs.get("env_id")
            yield entry.name, what not in seen
            seen.add(what)


@pytest.mark.parametrize("name, plays", first_of_constructors())
def test_every_environment_keeps_the_protocol_at_a_glance(name, plays):
    """The types of every id, and a few steps of every constructor: a minute of one core. Levels differ in sizes."""
    report = check(name, num_envs=2, num_steps=4 * plays, quick=True)
    report.raise_for_failures()
    assert len(report.points) == 7 + 3 * plays


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


class State(NamedTuple):
    place: jax.Array
    time: jax.Array


@struct.dataclass
class Params:
    max_steps_in_episode: int = 50
    speed: float = 0.25


class Walk(Environment):
    """A random walk; terminates at ±1. Subclasses break one thing each."""

    default_params = Params()

    def show(self, state, first):
        return {"place": state.place[None], "start": jnp.float32(first)}

    def reset_env(self, key, params):
        state = State(jax.random.uniform(key, (), jnp.float32, -0.1, 0.1), jnp.int32(0))
        return self.show(state, True), state

    def step_env(self, key, state, action, params):
        place = state.place + params.speed * (action - 1)
        state = State(jnp.clip(place, -1, 1).astype(jnp.float32), state.time + 1)
        return self.show(state, False), state, self.pay(state), jnp.abs(state.place) == 1, {}

    def pay(self, state):
        return state.place

    def action_space(self, params=None):
        return Discrete(3)

    def observation_space(self, params):
        return Dict({"place": Box(-1.0, 1.0, (1,)), "start": Box(0.0, 1.0, ())})


class UnknownSpace(Walk):
    def action_space(self, params=None):
        return Space()


class Escapes(Walk):
    def show(self, state, first):
        return {"place": state.place[None] + 2, "start": jnp.float32(first)}


class Branches(Walk):
    def pay(self, state):
        return jnp.float32(1) if state.place > 0 else jnp.float32(0)


class WrongShape(Walk):
    def show(self, state, first):
        return {"place": state.place, "start": jnp.float32(first)}


class MissingEntry(Walk):
    def show(self, state, first):
        return {"place": state.place[None]}


class WrongDtype(Walk):
    def show(self, state, first):
        return {"place": state.place[None], "start": jnp.int32(first)}


class ChangingState(Walk):
    def step_env(self, key, state, action, params):
        obs, state, *rest = super().step_env(key, state, action, params)
        return obs, state._replace(time=state.time.astype(jnp.float32)), *rest


class TwoRewards(Walk):
    def pay(self, state):
        return jnp.ones(2)


class OldReturn(Walk):
    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, _ = super().step_env(key, state, action, params)
        return obs, state, reward, terminated


class Leaves(Walk):
    def observation_space(self, params):
        return Dict({"place": Box(-0.5, 0.5, (1,)), "start": Box(0.0, 1.0, ())})


class NotANumber(Walk):
    def pay(self, state):
        return jnp.log(state.place)


class OtherRandomness(Walk):
    """Draws from the host at run time."""

    def pay(self, state):
        def draw(x):
            return np.random.default_rng().random(x.shape, np.float32)

        return jax.pure_callback(draw, state.place, state.place, vmap_method="expand_dims")


class ConstantOfTheTrace(Walk):
    """Draws from the host once per compilation."""

    def pay(self, state):
        return state.place + np.float32(np.random.default_rng().random())


class ForgetsToReset(Walk):
    def step(self, key, state, action, params=None):
        obs, state, reward, terminated, info = self.step_env(jax.random.split(key)[0], state, action, params)
        return obs, state, reward, terminated, self.is_truncated(state, params), {"final_observation": obs}


class ShowsTheResetTwice(Walk):
    def step(self, key, state, action, params=None):
        obs, *rest, info = super().step(key, state, action, params)
        return obs, *rest, {**info, "final_observation": obs}


class NoFinal(Walk):
    def step(self, key, state, action, params=None):
        *rest, info = super().step(key, state, action, params)
        return *rest, {}


class FiveValues(Walk):
    def step(self, key, state, action, params=None):
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        return obs, state, reward, terminated | truncated, info


class FoldedLimit(Walk):
    """The convention of gymnax before 1.0."""

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = super().step_env(key, state, action, params)
        return obs, state, reward, terminated | (state.time >= params.max_steps_in_episode), info


class NoClock(Walk):
    def step_env(self, key, state, action, params):
        obs, after, *rest = super().step_env(key, state, action, params)
        return obs, after._replace(time=state.time), *rest


class FalseDeclaration(Walk):
    never_truncates = True


class StaleFlag(Walk):
    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = super().step_env(key, state, action, params)
        return {**obs, "start": jnp.where(terminated, 1.0, 0.0).astype(jnp.float32)}, state, reward, terminated, info


class WrongMask(Walk):
    def show(self, state, first):
        return {"place": state.place[None], "action_mask": jnp.ones(2, bool)}

    def observation_space(self, params):
        return Dict({"place": Box(-1.0, 1.0, (1,)), "action_mask": Box(0, 1, (2,), jnp.bool_)})


class IgnoresTheLimit(Walk):
    """Of its own, whatever its params say."""

    def is_truncated(self, state, params):
        return state.time >= 30


class NoticesTheLimitLate(Walk):
    def is_truncated(self, state, params):
        return state.time > params.max_steps_in_episode


BROKEN = {
    UnknownSpace: "spaces are known ones: action_space has a Space",
    Branches: "reset and step can be traced: TracerBoolConversionError",
    OldReturn: "reset and step can be traced: step_env does not return observation, state, reward, terminated and",
    WrongShape: "observations have .*: observation of reset_env['place'] is float32[], space has float32[1]",
    MissingEntry: "observations have .*: observation of reset_env has ['place'], space has ['place', 'start']",
    WrongDtype: "observations have .*['start'] is int32[], space has float32[]",
    ChangingState: "states keep .*: state.time is int32[] at reset, float32[] after a step",
    TwoRewards: "reward, .*: reward is float32[2], need float32[]",
    WrongMask: "agents can read .*: action_mask is bool[2], need bool[3]",
    Leaves: "values are in their spaces: observation['place'][0] is ",
    NotANumber: "numbers are finite: reward is [nan] at step [",
    OtherRandomness: "the same keys give the same episodes: played again: ",
    ConstantOfTheTrace: "single steps equal the scan: step 0: reward ",
    ForgetsToReset: "the automatic reset shows a first observation: step ",
    ShowsTheResetTwice: "final_observation is that of the last step: step ",
    NoFinal: "final_observation is that of the last step: info has no final_observation",
    FiveValues: "single steps equal the scan: step returns 5 values, need 6",
    FoldedLimit: "a time limit truncates: max_steps_in_episode=7 terminates episodes that would go on",
    NoClock: "a time limit truncates: an episode of ",
    IgnoresTheLimit: "a time limit truncates: max_steps_in_episode=7 does not truncate episodes that go on until then",
    NoticesTheLimitLate: "a time limit truncates: max_steps_in_episode=7 does not truncate ",
    FalseDeclaration: "never_truncates is honest: declared, and ",
    StaleFlag: "start flags are 1 at starts: 'start' is not 0 in final_observation",
}


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
        (Walk(), {"num_env": 3}, r"env_kwargs\.num_env: .*Walk is made already"),
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
