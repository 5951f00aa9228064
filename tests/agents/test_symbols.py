"""Integers that are symbols, against products with their one-hots; and what learners store of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shown_spaces import Shows

from rlformers.agents.encoder import Encoder
from rlformers.agents.symbols import one_hots, sum_of_rows
from rlformers.config.compose import compose
from rlformers.cores.products import matmul, precision
from rlformers.envs import Flatten, spaces
from rlformers.envs.registry import make_env
from rlformers.experiment.inspection.influence import differentiable, influence
from rlformers.experiment.program.build import build

KEY = jax.random.key(0)
SIZES = (3, 5, 5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sizes", [(4,), SIZES, (7,) * 6])
def test_sums_of_rows_are_products_with_one_hots(sizes, dtype):
    weight = jax.random.normal(KEY, (sum(sizes), 8))
    symbols = jax.random.randint(KEY, (6, 2, len(sizes)), 0, jnp.array(sizes)).astype(jnp.uint8)
    hot = np.concatenate([np.eye(n)[np.asarray(symbols[..., i])] for i, n in enumerate(sizes)], axis=-1)
    np.testing.assert_array_equal(one_hots(symbols, sizes), hot)
    target = jax.random.normal(jax.random.key(1), (6, 2, 8))

    def loss(weight, product):
        y = product(weight)
        return jnp.square(y - target).sum(), y

    def gradient(product):
        return jax.value_and_grad(loss, has_aux=True)(weight, product)

    with precision(dtype):
        (_, expected), slope = gradient(lambda w: matmul(jnp.asarray(hot, jnp.float32), w))
        # As callers do: one environment at a time, vmapped; and a tangent.
        (_, found), other = gradient(lambda w: jax.vmap(lambda s: sum_of_rows(w, s, sizes))(symbols))
        tangent = jax.jvp(lambda w: sum_of_rows(w, symbols, sizes), (weight,), (weight,))[1]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(other, slope, atol=1e-5, rtol=1e-6)
    np.testing.assert_allclose(tangent, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_what_is_out_of_its_range_adds_nothing(dtype):
    weight = jax.random.normal(KEY, (sum(SIZES), 2))
    beyond = jnp.array([3, 5, 200]).astype(dtype)  # 3 would be the first row of the second
    np.testing.assert_array_equal(sum_of_rows(weight, beyond, SIZES), [0, 0])
    np.testing.assert_array_equal(one_hots(beyond, SIZES), np.zeros(13))
    if dtype == jnp.int32:
        np.testing.assert_array_equal(sum_of_rows(weight, beyond - 300, SIZES), [0, 0])


SPACE = spaces.Dict(
    {
        "goal": spaces.Box(-1.0, 1.0, (2,)),
        "card": spaces.Discrete(3),
        "table": spaces.MultiDiscrete([5, 5]),
        "picture": spaces.Box(0, 255, (8, 8, 3), jnp.uint8),
        "flag": spaces.Box(0.0, 1.0, ()),
        "previous": spaces.Tuple([spaces.Discrete(300), spaces.Discrete(2)]),
    }
)


def both(space):
    """The space as vectors with one-hots and with symbols, and its values as each of them."""
    return [Flatten(Shows(space), one_hot=one_hot) for one_hot in (True, False)]


def bytes_of(obs):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(obs))


@pytest.mark.parametrize(
    "names,kinds",
    [
        (["card"], "MultiDiscrete(3)"),
        (["goal"], "Box(2)"),
        (["card", "table"], "MultiDiscrete(3,5,5)"),
        (["goal", "card", "table", "flag"], "Tuple(Box(2), MultiDiscrete(3,5,5), Box(1))"),
        (["card", "picture", "flag", "previous"], None),
        (list(SPACE.spaces), None),
    ],
)
def test_one_function_with_parameters_of_the_same_shapes(names, kinds):
    space = spaces.Dict({name: SPACE.spaces[name] for name in names})
    vector, symbols = both(space)
    seen = symbols.observation_space(None)
    assert kinds is None or spaces.text(seen) == kinds
    values = jax.vmap(lambda key: spaces.sample(space, key))(jax.random.split(KEY, 5))
    before, after = (jax.vmap(lambda obs, env=env: env.flatten(obs, None))(values) for env in (vector, symbols))
    for leaf, part in spaces.leaves(seen, jax.tree.map(lambda x: x[0], after)):
        assert leaf.contains(part) and part.dtype == leaf.dtype
    shapes = [jax.tree.map(lambda x: x[0], obs) for obs in (before, after)]
    old = Encoder(shapes[0], 16, key=KEY, num_layers=2, bounds=spaces.bounds(vector.observation_space(None)))
    new = Encoder(shapes[1], 16, key=KEY, num_layers=2, bounds=spaces.bounds(seen), symbols=spaces.symbol_sizes(seen))
    pairs = list(zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))
    assert pairs
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)  # of the same shapes, and begun alike

    def run(encoder, obs):
        return jax.value_and_grad(lambda encoder: jnp.square(encoder(obs, num_leading=1)).mean())(encoder)

    np.testing.assert_allclose(new(after, num_leading=1), old(before, num_leading=1), atol=1e-6)
    np.testing.assert_allclose(new(new.as_numbers(after, 1), num_leading=1), old(before, num_leading=1), atol=1e-6)
    for one, other in zip(*(jax.tree.leaves(run(*pair)[1]) for pair in ((old, before), (new, after))), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6, rtol=1e-6)
    assert names == ["goal"] or bytes_of(after) < bytes_of(before)


@pytest.mark.parametrize(
    "size,dtype", [(2, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16"), (70000, "int32")]
)
def test_the_smallest_type_with_one_number_to_spare(size, dtype):
    space = spaces.Discrete(size)
    shown = spaces.symbol_space(space)
    assert (shown.dtype.name, shown.nvec) == (dtype, (size,))
    found = [spaces.symbols(space, jnp.asarray(value, jnp.int32)) for value in (0, size - 1, size, -1)]
    assert [x.tolist() for x in found] == [[0], [size - 1], [size], [size]]
    assert [bool(shown.contains(x)) for x in found] == [True, True, False, False]
    assert all(x.dtype == shown.dtype for x in found)
    drawn = jax.vmap(shown.sample)(jax.random.split(KEY, 300))
    assert drawn.dtype == shown.dtype and drawn.max() < size


@pytest.mark.parametrize(
    "env,dtypes,num_bytes,before",
    [
        ("popgym/ConcentrationHard", ["uint8", "float32"], 57, 3124),
        ("popgym/RepeatPreviousEasy", ["uint8", "float32"], 6, 36),
        ("gymnax/CartPole-v1", ["float32"], 16, 16),
    ],
)
def test_what_learners_store(env, dtypes, num_bytes, before):
    built = build(compose([f"env={env}", "ppo.num_envs=2", "ppo.num_steps=4", "ppo.num_minibatches=1"]))
    obs = jax.eval_shape(built.learner.init, KEY).obs
    assert [leaf.dtype.name for leaf in jax.tree.leaves(obs)] == dtypes
    assert bytes_of(obs) == 2 * num_bytes
    env, params = make_env(env)  # others see vectors, as ever
    shown = jax.eval_shape(env.reset, KEY, params)[0]
    assert (shown.dtype, bytes_of(shown)) == (jnp.float32, before)


def test_influence_of_symbols_is_that_of_their_one_hots():
    built = build(compose(["env=popgym/RepeatPreviousEasy", "core=gru", "model.width=8"]))
    agent = built.make_agent(KEY)
    obs = (jnp.array([[0, 1], [2, 3], [1, 1]], jnp.uint8), jnp.array([[1.0], [0], [0]]))
    starts = jnp.array([True, False, False])
    assert differentiable(agent, obs)
    found = influence(agent, obs, starts)
    inputs = agent.encoder.as_numbers(obs, 1)

    def value(inputs):
        _, ys = agent.core.scan(agent.core.initial_state(), agent.encoder(inputs, num_leading=1), starts)
        return agent.output(ys, None).value[2]

    slopes = jax.grad(value)(inputs)
    squares = sum(jnp.square(leaf).sum(1) for leaf in slopes)
    np.testing.assert_allclose(found.value[2], jnp.sqrt(squares), rtol=1e-5)
    assert found.value[2, 0] > 0
    # Normalised observations are numbers already.
    again = influence(agent, inputs, starts)
    np.testing.assert_array_equal(again.value, found.value)
