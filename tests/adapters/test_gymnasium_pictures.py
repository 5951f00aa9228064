"""`play --gif` shows what an environment of Gymnasium draws itself."""

import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs.registry import make_env
from rlformers.envs.rendering.render import has_picture, keep_pictures, render
from rlformers.experiment.inspection import play as module
from rlformers.experiment.inspection.play import play

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")
Image = pytest.importorskip("PIL.Image")

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "core=mlp", "total_steps=32"]
SMALL += ["wandb.mode=disabled", "env=gymnasium/rlformers/Drawn-v0"]
GREEN = (0, 200, 50)


class Drawn(gymnasium.Env):
    """Three steps; its picture, wide and low, is green but for the row of the time."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012
    drawn = 0

    def __init__(self, render_mode=None, channels=3):
        self.render_mode, self.channels = render_mode, channels

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.full(2, self.time / 4, np.float32), 1.0, self.time == 3, False, {}

    def render(self):
        Drawn.drawn += 1
        picture = np.full((20, 60, self.channels), (*GREEN, 255)[: self.channels], np.uint8)
        picture[self.time] = 0
        return picture


@pytest.fixture(autouse=True, scope="module")
def registered():
    gymnasium.register("rlformers/Drawn-v0", Drawn)
    yield
    del gymnasium.registry["rlformers/Drawn-v0"]


@pytest.fixture(scope="module")
def run(registered, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("drawn") / "run"
    assert main(["train", *SMALL, f"run_dir={run_dir}", "env_kwargs.render_mode=rgb_array"]) == 0
    assert Drawn.drawn == 0  # training draws nothing
    return run_dir


@pytest.mark.parametrize("channels", [3, 4])
def test_frames_are_those_of_the_environment(run, channels, monkeypatch):
    shown = []
    monkeypatch.setattr(module, "frames", lambda trained, watched, who: keep(trained, watched))

    def keep(trained, watched):
        import jax

        env, params = trained.built.env, trained.built.env_params
        for t in range(len(watched.start)):
            state = jax.tree.map(lambda leaf, t=t: leaf[t], watched.env_state)
            assert has_picture(env, state, params)
            shown.append(render(env, state, params))
            yield np.zeros((4, 4, 3), np.uint8)

    play(run, run / f"{channels}.gif", ["episodes=3", f"env_kwargs.channels={channels}"])
    assert [np.flatnonzero(picture[:, 0, 1] == 0).tolist() for picture in shown] == [[0], [1], [2]] * 3
    assert {picture.shape for picture in shown} == {(20, 60, 3)}
    assert shown[0][5, 5].tolist() == list(GREEN)


def test_the_gif_has_their_colours_in_their_proportions(run):
    play(run, run / "own.gif", ["episodes=1"])
    with Image.open(run / "own.gif") as gif:
        assert gif.n_frames == 3
        pixels = np.asarray(gif.convert("RGB")).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - GREEN).max(-1) < 30)
    wide, high = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert wide > 50 and wide / high == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("mode", ["null", "ansi"])
def test_without_pictures_the_observation_is_drawn(run, mode):
    before = Drawn.drawn
    play(run, run / f"{mode}.gif", ["episodes=1", f"env_kwargs.render_mode={mode}"])
    assert (run / f"{mode}.gif").exists() and Drawn.drawn == before


def test_text_draws_nothing(run):
    before = Drawn.drawn
    assert main(["play", str(run)]) == 0
    assert Drawn.drawn == before


def test_what_is_no_picture_is_one_line(run, capsys):
    assert main(["play", str(run), "--gif", str(run / "two.gif"), "env_kwargs.channels=2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "draws no pictures: render gives uint8 [20, 60, 2], need uint8 [H, W, 3]" in line


def test_pictures_are_kept_through_wrappers():
    env, params = make_env("gymnasium/rlformers/Drawn-v0", render_mode="rgb_array", wrap={"reward_input": True})
    keep_pictures(env)
    import jax

    _, state = env.reset(jax.random.key(0), params)
    assert render(env, state, params).shape == (20, 60, 3)
