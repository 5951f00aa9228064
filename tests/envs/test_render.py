"""Pictures: a format, and different states look different."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.registry import BUILT_IN, make_env
from rlformers.envs.rendering.pictures import cards
from rlformers.envs.rendering.pictures.canvas import GLYPHS, PAPER, RED, Canvas
from rlformers.envs.rendering.render import PAINTERS, render

# One of every module of pictures, cheap to step without compiling, and some that nobody draws.
TABLE = [
    "popgym/RepeatPreviousEasy",
    "popgym/HigherLowerEasy",
    "popgym/MineSweeperEasy",
    "popgym/PositionOnlyPendulumEasy",
    "memory/ActiveTMaze",
    "memory/Parity",
    "meta/DarkKeyToDoor",
    "gymnax/CartPole-v1",
    "gymnax/Catch-bsuite",
]
# MNISTBandit downloads a data set; SimpleBandit shows the same number for ever.
OTHERS = ("gymnax/MNISTBandit-bsuite", "gymnax/SimpleBandit-bsuite")
SLOW = [name for name in BUILT_IN if name not in (*TABLE, *OTHERS) and not name.endswith("*")]


@pytest.mark.parametrize("name", TABLE + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW])
def test_states_that_differ_look_different(name):
    try:
        env, params = make_env(name, raw=True)
    except ValueError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    images = []
    for seed in range(2):
        _, state = env.reset_env(jax.random.key(seed), params)
        images.append(render(env, state, params, size=96))
    for seed in range(4):
        key = jax.random.key(seed)
        _, state, *_ = env.step_env(key, state, env.action_space(params).sample(key), params)
        images.append(render(env, state, params, size=96))
    assert all(image.shape == (96, 96, 3) and image.dtype == np.uint8 for image in images)
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) > 2 for image in images)
    assert any((image != images[0]).any() for image in images[1:])


def test_every_painter_is_there_for_somebody():
    for target, function in PAINTERS.items():
        module, _, attribute = target.rpartition(".")
        assert hasattr(__import__(module, fromlist=[attribute]), attribute), target
        module, _, attribute = function.rpartition(".")
        assert hasattr(__import__(f"rlformers.envs.rendering.pictures.{module}", fromlist=[attribute]), attribute), (
            function
        )


class State(NamedTuple):
    x: jax.Array
    key: jax.Array


class Plain(Environment):
    default_params = EnvParams()


class DrawsItself(Plain):
    def render(self, state, params):
        return jnp.full((4, 6, 3), state.x, jnp.uint8)


class DrawsBadly(Plain):
    def render(self, state, params):
        return jnp.zeros((4, 6))


def test_environments_of_ones_own():
    states = [State(jnp.float32(x), jax.random.key(0)) for x in (1.0, 2.0)]
    pictures = [render(DrawsItself(), state, EnvParams()) for state in states]
    assert pictures[0].shape == (4, 6, 3) and (pictures[1] == 2).all()
    with pytest.raises(ValueError, match=r"DrawsBadly.render: need uint8 \[H, W, 3\], got float32 \[4, 6\]"):
        render(DrawsBadly(), states[0], EnvParams())
    bars = [render(Plain(), state, EnvParams()) for state in states]
    assert bars[0].shape == (256, 256, 3)
    observed = [render(Plain(), states[0], EnvParams(), obs={"a": jnp.array([x, 0.5])}) for x in (-1.0, 1.0)]
    assert (observed[0] != observed[1]).any()
    image = jnp.zeros((5, 5, 3), jnp.uint8).at[2, 2].set(jnp.array([255, 0, 0], jnp.uint8))
    assert render(Plain(), states[0], EnvParams(), obs=image)[128, 128].tolist() == [255, 0, 0]


def test_shapes_are_where_they_should_be():
    canvas = Canvas(100)
    canvas.circle(0.5, 0.5, 0.2, RED)
    canvas.rectangle(0.0, 0.0, 0.1, 0.1, RED)
    canvas.line((0.1, 0.9), (0.9, 0.9), 0.04, RED)
    canvas.polygon([(0.8, 0.1), (1.0, 0.1), (0.9, 0.3)], RED)
    image = canvas.image()
    red = (image == RED).all(-1)
    assert red.sum() == pytest.approx(1e4 * (np.pi * 0.04 + 0.01 + 0.8 * 0.04 + 0.02), rel=0.05)
    assert red[50, 50] and red[5, 5] and red[90, 50] and red[12, 90] and image[95, 95].tolist() == list(PAPER)
    canvas.circle(2.0, 0.5, 0.1, RED)  # outside
    np.testing.assert_array_equal(canvas.image(), image)


def test_cards_are_distinct():
    def face(kind, num_kinds):
        canvas = Canvas(48)
        cards.card(canvas, 0.5, 0.5, 0.9, kind, num_kinds)
        return canvas.image().tobytes()

    for number in (2, 4, 13):
        assert len({face(kind, number) for kind in (None, *range(number))}) == number + 1
    assert len(set(GLYPHS.values())) == len(GLYPHS)
