"""Images are told by their shapes and brought into one order; what cannot be read is refused in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs import Flatten, spaces
from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.spaces import Box
from rlformers.errors import UserError

INF = np.inf


class Shows(Environment):
    """Shows the same at every step."""

    default_params = EnvParams()

    def __init__(self, space, value=None):
        self.space, self.value = space, value

    def reset_env(self, key, params):
        return (spaces.sample(self.space, key) if self.value is None else self.value), jnp.int32(0)

    def step_env(self, key, state, action, params):
        return self.reset_env(key, params)[0], state, jnp.float32(0), jnp.zeros((), bool), {}

    def action_space(self, params=None):
        return spaces.Discrete(2)

    def observation_space(self, params):
        return self.space


def shown(space, **kwargs):
    env = Flatten(Shows(space), **kwargs)
    obs, _ = env.reset_env(jax.random.key(0), env.default_params)
    flat = env.observation_space(env.default_params)
    for leaf, part in spaces.leaves(flat, obs):
        assert part.shape == tuple(leaf.shape) and part.dtype == leaf.dtype
        assert np.all(part >= leaf.low) and np.all(part <= leaf.high)
    return obs


# Of a shape, the shape as an image and the axes of its rows, columns and channels.
@pytest.mark.parametrize(
    "shape, image, axes",
    [
        ((84, 84), (84, 84, 1), (0, 1)),
        ((16, 16), (16, 16, 1), (0, 1)),
        ((10, 5), (10, 5, 1), (0, 1)),
        ((84, 84, 3), (84, 84, 3), (0, 1, 2)),
        ((7, 7, 21), (7, 7, 21), (0, 1, 2)),
        ((9, 11, 16), (9, 11, 16), (0, 1, 2)),
        ((2, 2, 1), (2, 2, 1), (0, 1, 2)),
        ((10, 10, 10), (10, 10, 10), (0, 1, 2)),
        ((3, 84, 84), (84, 84, 3), (1, 2, 0)),
        ((1, 60, 80), (60, 80, 1), (1, 2, 0)),
        ((4, 84, 84), (84, 84, 4), (1, 2, 0)),
        ((3, 8, 8), (8, 8, 3), (1, 2, 0)),
        ((4, 84, 84, 3), (84, 84, 12), (1, 2, 0, 3)),
        ((4, 3, 84, 84), (84, 84, 12), (2, 3, 0, 1)),
        ((84, 84, 3, 4), (84, 84, 12), (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("dtype, high", [("uint8", 255), ("float32", 255.0), ("int32", 8), ("float32", 1.0)])
def test_layouts(shape, image, axes, dtype, high):
    obs = shown(Box(0, high, shape, jnp.dtype(dtype)))
    assert obs.shape == image and obs.dtype == dtype
    value = np.asarray(Shows(Box(0, high, shape, jnp.dtype(dtype))).reset_env(jax.random.key(0), None)[0])
    np.testing.assert_array_equal(obs, value.transpose(axes).reshape(image))


@pytest.mark.parametrize("shape", [(), (3,), (20, 2), (4, 4), (1, 30)])
def test_numbers_are_no_images(shape):
    assert shown(Box(-1.0, 1.0, shape)).shape == (int(np.prod(shape)),)


@pytest.mark.parametrize("shape", [(4, 4, 4, 4), (3, 2, 84, 84, 3), (84, 2, 2, 84)])
def test_other_arrays_are_refused_in_one_line(shape):
    with pytest.raises(
        UserError, match=r"^env: the observation 'a' is uint8\[.*encoders read vectors, images"
    ) as error:
        Flatten(Shows(spaces.Dict({"a": Box(0, 255, shape, jnp.uint8), "b": Box(0.0, 1.0, (2,))})))
    assert "\n" not in str(error.value)
    assert shown(spaces.Dict({"a": Box(0, 255, shape, jnp.uint8), "b": Box(0.0, 1.0, (2,))}), ignore=["a"]).shape == (
        2,
    )


def test_bounds_of_cells_are_turned_with_them():
    high = jnp.asarray(np.arange(1, 3 * 8 * 8 + 1, dtype=np.uint8).reshape(3, 8, 8))
    env = Flatten(Shows(Box(jnp.zeros_like(high), high, (3, 8, 8), jnp.uint8)))
    np.testing.assert_array_equal(env.observation_space(None).high, np.moveaxis(np.asarray(high), 0, 2))


def test_several_images_and_vectors_keep_their_names():
    camera = spaces.Dict({"left": Box(0, 255, (3, 8, 8), jnp.uint8), "right": Box(0, 255, (8, 8), jnp.uint8)})
    space = spaces.Dict({"camera": camera, "speed": Box(-1.0, 1.0, (2,)), "gear": spaces.Discrete(3)})
    obs = shown(space)
    assert jax.tree.map(jnp.shape, obs) == {
        "image/camera/left": (8, 8, 3),
        "image/camera/right": (8, 8, 1),
        "vector": (5,),
    }
    for ignore in ("right", "camera/right"):
        assert jax.tree.map(jnp.shape, shown(space, ignore=[ignore])) == {"image": (8, 8, 3), "vector": (5,)}
    assert shown(space, ignore=["camera"]).shape == (5,)
    assert shown(space, ignore=["camera", "gear"]).shape == (2,)


def test_what_is_ignored_must_be_there():
    space = spaces.Dict({"speed": Box(-1.0, 1.0, (2,)), "text": spaces.Unreadable("Text")})
    with pytest.raises(UserError, match=r"^model\.encoder\.ignore: 'sped' is no part .* which has speed, text$"):
        Flatten(Shows(space), ["sped"])
    with pytest.raises(
        UserError, match=r"^env: the observation 'text' is Text, .*; model\.encoder\.ignore=\[text\] leaves"
    ):
        Flatten(Shows(space))
    assert shown(space, ignore=["text"]).shape == (2,)


@pytest.mark.parametrize(
    "space",
    [
        Box(0, 3, (1000,), jnp.int32),
        Box(-2, 1, (1000,), jnp.int8),
        Box(0, 255, (1000,), jnp.uint8),
        Box(0, 1, (1000,), jnp.bool_),
        Box(0.3, 2.7, (1000,), jnp.int32),
        Box(-INF, INF, (1000,)),
        Box(-INF, INF, (1000,), jnp.int32),
        Box(2.0, INF, (1000,)),
        Box(-INF, -3, (1000,), jnp.int32),
        Box(-3e38, 3e38, (1000,)),
        Box(-(2.0**31), 2.0**31 - 1, (1000,), jnp.int32),
        Box(0, 2.0**32 - 1, (1000,), jnp.uint32),
        Box(-1.5, 2.5, (1000,)),
    ],
    ids=spaces.text,
)
def test_samples_are_in_their_box(space):
    drawn = np.asarray(spaces.sample(space, jax.random.key(0)))
    exact = drawn.astype(np.float64)
    assert drawn.dtype == space.dtype and np.isfinite(exact).all()
    assert (exact >= space.low).all() and (exact <= space.high).all()
    assert len(np.unique(drawn)) > 1
    if drawn.dtype.kind in "iub" and space.high - space.low <= 3:  # every whole number alike
        values, counts = np.unique(drawn, return_counts=True)
        assert values.tolist() == list(range(int(np.ceil(space.low)), int(space.high) + 1))
        assert (np.abs(counts / 1000 - 1 / len(values)) < 0.06).all()


def test_an_observation_without_a_name_is_named_without_one():
    with pytest.raises(UserError, match=r"^env: the observation is uint8\[3, 3, 3, 3, 3\]; encoders read"):
        shown(Box(0, 255, (3, 3, 3, 3, 3), jnp.uint8))
