"""What environments of users do: masks, numbers in many forms, infos to log, and mistakes shown as their own."""

import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs import check
from rlformers.envs.registry import make_env
from rlformers.envs.wrappers import EpisodeStatistics
from rlformers.errors import UserError

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "core=mlp", "total_steps=32"]
SMALL += ["wandb.mode=disabled", "run_dir=run"]


class Walk(gymnasium.Env):
    """Four steps; the options say what it shows of itself, and how."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, mask=None, reward=1.0, over=True, fails_at=None, info=None, text=False, wide=False):
        self.size = 3 if wide else 2
        self.mask, self.reward, self.over, self.fails_at, self.extra = mask, reward, over, fails_at, info or {}
        if text:
            parts = {"place": self.observation_space, "mission": gymnasium.spaces.Text(9)}
            self.observation_space = gymnasium.spaces.Dict(parts)

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return self._see(), self._info()

    def step(self, action):
        assert self.mask is None or self.mask[int(action)], "a masked action"
        self.time += 1
        if self.time == self.fails_at:
            return self._fail(action)
        done = self.over if self.time == 4 else False
        return self._see(), self.reward, done, 0, self._info() | ({"is_success": True} if self.time == 4 else {})

    def _fail(self, action):
        return {}["no such key"]

    def _see(self):
        place = np.full(self.size, self.time / 4, np.float32)
        return place if self.observation_space.shape else {"place": place, "mission": "go"}

    def _info(self):
        return {**self.extra, **({} if self.mask is None else {"action_mask": np.array(self.mask, np.int8)})}


class WithMethod(Walk):
    def action_masks(self):
        return [False, True, False]


@pytest.fixture(autouse=True, scope="module")
def registered():
    gymnasium.register("rlformers/Walk-v0", Walk)
    gymnasium.register("rlformers/WithMethod-v0", WithMethod)
    yield
    for name in ("Walk", "WithMethod"):
        del gymnasium.registry[f"rlformers/{name}-v0"]


def walk(num_steps=4, name="Walk", **kwargs):
    """Observation, reward, ends and info of some steps of one copy."""
    env, params = make_env(f"gymnasium/rlformers/{name}-v0", **kwargs)
    env = EpisodeStatistics(env)
    obs, state = env.reset(jax.random.key(0), params)
    steps = [obs]
    for _ in range(num_steps):
        *step, terminated, truncated, info = env.step(jax.random.key(0), state, jnp.int32(1), params)
        state = step[1]
        steps.append((step[0], float(step[2]), bool(terminated), bool(truncated), info))
    return steps


@pytest.mark.parametrize("source", ["info", "auto"])
def test_a_mask_in_the_info_becomes_part_of_the_observation(source):
    obs, *steps = walk(1, mask=[False, True, True], action_mask=source)
    assert obs["action_mask"].dtype == bool and obs["action_mask"].tolist() == [False, True, True]
    assert obs["vector"].tolist() == [0, 0] and steps[0][0]["action_mask"].tolist() == [False, True, True]


@pytest.mark.parametrize("source", ["method", "auto"])
def test_a_mask_of_a_method(source):
    obs, *_ = walk(1, "WithMethod", mask=[True, True, True], action_mask=source)
    assert obs["action_mask"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"action_mask": "info"}, r"env_kwargs\.action_mask: its info has no 'action_mask', but nothing"),
        ({"action_mask": "method"}, r"env_kwargs\.action_mask: .* has no method action_masks\(\)"),
        ({"action_mask": "mask"}, r"env_kwargs\.action_mask: need one of auto, info, method or null, got 'mask'"),
        ({"action_mask": "info", "mask": [1, 0]}, r"env: the action_mask is int8\[2\], need 3 truth values"),
        ({"action_mask": "info", "mask": [1, 0, 2]}, r"env: the action_mask is int8\[3\], need 3 truth values"),
        ({"log_info": ["count"]}, r"env_kwargs\.log_info: 'count' is a name of the learner's own \(episode_count"),
        ({"log_info": ["attempt_return"]}, r"env_kwargs\.log_info: 'attempt_return' is a name of the learner's own"),
        (
            {"text": True},
            r"env: the observation 'mission' is Text, .*; model\.encoder\.ignore=\[mission\] leaves it out",
        ),
    ],
)
def test_mistakes_are_said_before_anything_is_written(kwargs, message, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match=message) as error:
        make_env("gymnasium/rlformers/Walk-v0", **kwargs)
    assert "\n" not in str(error.value)
    monkeypatch.chdir(tmp_path)
    words = [f"env_kwargs.{key}={str(value).replace(' ', '')}" for key, value in kwargs.items()]
    assert main(["train", "env=gymnasium/rlformers/Walk-v0", *SMALL, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_mask_that_the_space_shows_is_one_whatever_its_type():
    from rlformers.envs.adapters.host.spaces import convert

    for mask in (gymnasium.spaces.MultiBinary(3), gymnasium.spaces.Box(0, 1, (3,), np.int8)):
        space = convert(gymnasium.spaces.Dict({"action_mask": mask}), "observation").spaces["action_mask"]
        assert space.dtype == bool and space.shape == (3,)


@pytest.mark.parametrize(
    "reward", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0), np.array([2.0]), [2.0]], ids=repr
)
def test_rewards_in_any_form(reward):
    steps = walk(4, reward=reward, over=np.int64(1))[1:]
    assert [step[1] for step in steps] == [2.0] * 4
    assert [step[2] for step in steps] == [False, False, False, True]


@pytest.mark.parametrize("reward, given", [(np.ones(2), r"float64\[2\]"), ("two", "'two'"), (None, "None")])
def test_what_is_no_reward_is_named(reward, given):
    with pytest.raises(Exception, match=rf"env: reward is {given}, need a number"):
        walk(1, reward=reward)


def test_an_observation_of_another_shape_is_named():
    with pytest.raises(Exception, match=r"env: observation\['place'\] has the shape \[3\], its space \[2\]"):
        walk(1, text=True, wide=True, ignore=["mission"])


def test_the_info_of_an_end_can_be_logged():
    *_, last = walk(4, log_info=["is_success", "level"], info={"level": np.float64(3)})
    assert last[2] and float(last[-1]["episode_is_success"]) == 1 and float(last[-1]["episode_level"]) == 3
    with pytest.raises(Exception, match=r"info has no 'fuel' at the end of an episode, but is_success, level"):
        walk(4, log_info=["fuel"], info={"level": 3})


def test_texts_can_be_left_out():
    obs, *_ = walk(1, text=True, ignore=["mission"])
    assert obs.tolist() == [0, 0]


@pytest.mark.filterwarnings("ignore")
def test_training_with_masks_and_infos(tmp_path, monkeypatch):
    import json

    monkeypatch.chdir(tmp_path)
    words = ["env_kwargs.mask=[0,1,1]", "env_kwargs.action_mask=info", "env_kwargs.log_info=[is_success]"]
    words += ["env_kwargs.text=true", "model.encoder.ignore=[mission]"]
    assert main(["train", "env=gymnasium/rlformers/Walk-v0", *SMALL, *words]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["episode/length"] == 4
    assert rows[-1]["episode/is_success"] == 1


def test_a_failure_is_shown_as_the_environments_own(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "env=gymnasium/rlformers/Walk-v0", *SMALL, "env_kwargs.fails_at=2"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "rlformers: KeyError: 'no such key'; traceback in run/error.txt"
    assert not caplog.records and not any("jax" in line or "callback" in line for line in lines)
    shown = (tmp_path / "run" / "error.txt").read_text().strip().splitlines()[1:]
    assert shown[0] == "env: gymnasium/rlformers/Walk-v0 failed in step:"
    assert shown[-1] == "KeyError: 'no such key'" and any("_fail" in line for line in shown)
    assert len(shown) < 12 and not any("jax" in line or "callback" in line for line in shown)


def test_a_module_in_the_current_directory(tmp_path, monkeypatch):
    program = """
        import gymnasium

        class Env(gymnasium.Env):
            observation_space = gymnasium.spaces.Box(0, 1, (1,))
            action_space = gymnasium.spaces.Discrete(2)

        gymnasium.register("Here-v0", Env)
        """
    (tmp_path / "module_of_this_test.py").write_text(textwrap.dedent(program))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = list(sys.path)
    env, params = make_env("gymnasium/module_of_this_test:Here-v0")
    assert env.observation_space(params).shape == (1,) and sys.path == before
    del gymnasium.registry["Here-v0"], sys.modules["module_of_this_test"]


def test_check_passes_what_shows_a_mask():
    report = check("gymnasium/rlformers/Walk-v0", mask=[False, True, True], action_mask="info", num_envs=2, num_steps=8)
    assert report.ok, report


def test_the_checker_leaves_out_texts(capsys, tmp_path):
    (line,) = check("gymnasium/rlformers/Walk-v0", num_envs=2, num_steps=8, text=True).failures
    assert "the observation 'mission' is Text" in line
    report = check("gymnasium/rlformers/Walk-v0", num_envs=2, num_steps=8, text=True, ignore=["mission"])
    assert report.ok and "agents can read the observations: as Box" in str(report)
    name = "gymnasium/rlformers/Walk-v0"
    assert main(["check", name, "env_kwargs.text=true", "ignore=[mission]"]) == 0
    assert main(["check", "ignore=[mission,nothing]", "env_kwargs.text=true", name]) == 2
    assert "ignore: 'nothing' is no part of the observation, which has mission, place" in capsys.readouterr().err
    assert main(["check", name, "ingore=[mission]"]) == 2
    assert "ingore: " in capsys.readouterr().err


def test_a_fault_beside_an_ignored_text_is_the_one_that_is_named(monkeypatch):
    from rlformers.config.compose import compose
    from rlformers.experiment.program.traced import explained

    config = compose(
        [*SMALL, "env=gymnasium/rlformers/Walk-v0", "env_kwargs.text=true", "model.encoder.ignore=[mission]"]
    )
    env, params = make_env(config.env, text=True, ignore=["mission"])
    with (
        pytest.raises(ZeroDivisionError),
        explained(config, EpisodeStatistics(env), params),
    ):  # not "which encoders cannot read"
        raise ZeroDivisionError
