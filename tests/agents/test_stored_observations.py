"""What learners store of any observation is read as its vector with one-hots was, in random spaces and all wrappers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shown_spaces import Shows

from rlformers.agents.encoder import Encoder
from rlformers.agents.normalizers import init_normalizers, normalize_observation, update_observation
from rlformers.agents.symbols import joined, sum_of_rows
from rlformers.config.compose import compose
from rlformers.cores.products import matmul, precision
from rlformers.envs import Flatten, spaces
from rlformers.envs.registry import make_env
from rlformers.envs.wrappers import EpisodeStatistics
from rlformers.envs.wrappers.keywords import wrap
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.older_observations import older_template
from rlformers.experiment.checkpoints.store import CheckpointStore, good_checkpoints, read
from rlformers.experiment.program.build import build, check_spaces

KEY = jax.random.key(0)
SMALL = ["core=gru", "model.width=8", "ppo.num_envs=2", "ppo.num_steps=4", "ppo.num_minibatches=1", "seeds=2"]


def random_space(rng):
    """A Dict of up to six parts of every kind, or one of them alone."""
    kinds = [
        lambda: spaces.Discrete(int(rng.integers(1, 300))),
        lambda: spaces.MultiDiscrete(rng.integers(1, 9, size=rng.integers(1, 6))),
        lambda: spaces.MultiDiscrete([4] * int(rng.integers(1, 5))),
        lambda: spaces.Box(-2.0, 3.0, (int(rng.integers(1, 4)),)),
        lambda: spaces.Box(-np.inf, np.inf, (2, 3)),
        lambda: spaces.Box(0, 255, (int(rng.integers(1, 4)),), jnp.uint8),
        lambda: spaces.Box(-100, 100, (2,), jnp.int8),
        lambda: spaces.Box(-7, 9, (), jnp.int32),
        lambda: spaces.Box(0, 1, (3,), bool),
        lambda: spaces.Box(0, 255, (8, 8, 3), jnp.uint8),
        lambda: spaces.Tuple([spaces.Discrete(3), spaces.Box(0.0, 1.0, (1,))]),
    ]
    parts = [kinds[i]() for i in rng.integers(0, len(kinds), size=rng.integers(1, 7))]
    return spaces.Dict({f"{rng.integers(100)}-{i}": part for i, part in enumerate(parts)})


def shown_both_ways(space, num, outside=False):
    """Values of a space [num, ...] as vectors with one-hots and as they are stored, with both spaces."""

    def draw(key):
        value = spaces.sample(space, key)
        far = jax.tree.map(lambda x: x + 300 if x.dtype == jnp.int32 else x, value)
        bits = jax.random.bernoulli(key, 0.3, (3,))
        return jax.tree.map(lambda x, y: jnp.where(bits[0] & outside, y, x), value, far)

    values = jax.vmap(draw)(jax.random.split(KEY, num))
    envs = [Flatten(Shows(space), one_hot=one_hot) for one_hot in (True, False)]
    shown = [jax.vmap(lambda obs, env=env: env.flatten(obs, None))(values) for env in envs]
    return shown, [env.observation_space(None) for env in envs]


def encoders(shown, seen, vectors=True):
    first = [jax.tree.map(lambda x: x[0], obs) for obs in shown]
    old = Encoder(first[0], 8, key=KEY, bounds=spaces.bounds(seen[0], vectors))
    symbols = spaces.symbol_sizes(seen[1])
    return old, Encoder(first[1], 8, key=KEY, bounds=spaces.bounds(seen[1], vectors), symbols=symbols)


def value_and_slopes(encoder, obs):
    def loss(encoder):
        y = encoder(obs, num_leading=1)
        return jnp.square(y).mean(), y

    (_, y), slopes = jax.value_and_grad(loss, has_aux=True)(encoder)
    return y, jax.tree.leaves(slopes)


def assert_one_function(old, new, before, after, atol=1e-6):
    (y, slopes), (found, other) = value_and_slopes(old, before), value_and_slopes(new, after)
    np.testing.assert_allclose(found, y, atol=atol, rtol=1e-5)
    for one, two in zip(slopes, other, strict=True):
        np.testing.assert_allclose(two, one, atol=atol, rtol=1e-4)


def seeds(some, all_of_them):
    """Some always, the others in `make test-all`."""
    return [*range(some), *(pytest.param(i, marks=pytest.mark.slow) for i in range(some, all_of_them))]


@pytest.mark.parametrize("seed", seeds(5, 12))
def test_random_spaces(seed):
    space = random_space(np.random.default_rng(seed))
    shown, seen = shown_both_ways(space, 4, outside=seed % 2 == 1)
    (before, after), (old, new) = shown, encoders(shown, seen)
    # One observation is the same numbers, bit for bit.
    for i in range(4):
        one, other = (jax.tree.map(lambda x, i=i: x[i], obs) for obs in shown)
        numbers = joined(new.as_numbers(other))
        assert jax.tree.structure(numbers) == jax.tree.structure(one)
        jax.tree.map(np.testing.assert_array_equal, numbers, one)
    with precision("bfloat16" if seed % 3 == 0 else "float32"):
        assert_one_function(old, new, before, after, atol=1e-5 if seed % 3 == 0 else 1e-6)
        assert_one_function(old, new, before, new.as_numbers(after, 1), atol=1e-5 if seed % 3 == 0 else 1e-6)


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_random_spaces_normalised(seed):
    """Statistics are those of the vector with one-hots, and so is what the encoder sees."""
    space = random_space(np.random.default_rng(100 + seed))
    shown, seen = shown_both_ways(space, 6)
    old, new = encoders(shown, seen, vectors=False)
    before, after = shown[0], new.as_numbers(shown[1], 1)
    single = [jax.tree.map(lambda x: x[0], obs) for obs in (before, after)]
    moments, others = (init_normalizers(obs, 2).observation for obs in single)
    assert jax.tree.structure(moments) == jax.tree.structure(others)
    batches = [jax.tree.map(lambda x: x.reshape(3, 2, *x.shape[1:]), obs) for obs in (before, after)]
    moments, others = update_observation(moments, batches[0]), update_observation(others, batches[1])
    jax.tree.map(np.testing.assert_array_equal, others, moments)
    assert_one_function(
        old, new, normalize_observation(moments, before), normalize_observation(others, after), atol=1e-5
    )


def test_seeds_have_their_own_rows():
    """Vmapped over the weights, over the symbols, or over both."""
    sizes, weights = (3, 2), jax.random.normal(KEY, (4, 5, 6))
    symbols = jnp.array([[0, 1], [2, 0], [1, 1], [3, 0]], jnp.uint8)
    hot = jnp.concatenate([jax.nn.one_hot(symbols[:, i], n) for i, n in enumerate(sizes)], axis=-1)
    for axes in ((0, None), (None, 0), (0, 0)):
        weight = weights if axes[0] == 0 else weights[0]

        def slopes(product, x, weight=weight, axes=axes):
            def total(weight):
                return jnp.sin(jax.vmap(product, axes)(weight, x)).sum()

            return jax.value_and_grad(total)(weight)

        expected = slopes(lambda w, x: matmul(x, w), hot)
        found = slopes(lambda w, s: sum_of_rows(w, s, sizes), symbols)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize(
    "space,dtypes",
    [
        (spaces.Box(0, 255, (128,), jnp.uint8), ["uint8"]),
        (spaces.Box(-9, 9, (2, 3), jnp.int8), ["int8"]),
        (spaces.Box(0, 1, (4,), bool), ["bool"]),
        (spaces.Box(-9, 9, (4,), jnp.int32), ["float32"]),
        (spaces.Box(-9.0, 9.0, (4,)), ["float32"]),
        (spaces.Box(0, 255, (16, 16, 3), jnp.uint8), ["uint8"]),
        (spaces.Discrete(255), ["uint8"]),
        (spaces.Discrete(256), ["uint16"]),  # 256 stands for what is out of the range
        (spaces.Tuple([spaces.Discrete(9), spaces.Discrete(70000)]), ["int32"]),
        (spaces.Tuple([spaces.Discrete(9), spaces.Box(0, 9, (1,), jnp.int16), spaces.Discrete(2)]),
         ["uint8", "int16", "uint8"]),
    ],
)  # fmt: skip
def test_types(space, dtypes):
    env = Flatten(Shows(space), one_hot=False)
    obs, _ = env.reset(KEY, None)
    assert [leaf.dtype.name for leaf in jax.tree.leaves(obs)] == dtypes
    for leaf, part in spaces.leaves(env.observation_space(None), obs):
        assert leaf.dtype == part.dtype and leaf.shape == part.shape and leaf.contains(part)


WRAPPED = [
    {"flicker": 0.5},
    {"period": 2},
    {"delay": 2},
    {"frame_drop": 0.5},
    {"previous_action": True, "reward_input": True},
    {"flicker": 0.5, "flag": True, "episode_start": True},
]


@pytest.mark.parametrize("keywords", WRAPPED, ids=str)
def test_wrappers_show_the_same(keywords):
    """Blanks, stacks, flags and previous actions, step by step."""
    space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.MultiDiscrete([2, 4]), "c": spaces.Box(-1.0, 1.0, (2,))})
    wrapped = wrap(Shows(space), **keywords)
    envs = [Flatten(wrapped, one_hot=one_hot) for one_hot in (True, False)]
    sizes = spaces.symbol_sizes(envs[1].observation_space(None))
    first = jax.eval_shape(envs[1].reset, KEY, None)[0]
    encoder = Encoder(first, 4, key=KEY, symbols=sizes)
    (vector, state), (stored, other) = (env.reset(KEY, None) for env in envs)
    blanks = 0
    for i in range(8):
        np.testing.assert_array_equal(joined(encoder.as_numbers(stored)), vector)
        blanks += int(vector[3] == 1)  # the value that `Flicker` adds to "a"
        key = jax.random.fold_in(KEY, i)
        (vector, state), (stored, other) = (
            env.step_env(key, s, jnp.ones((), jnp.int32), None)[:2] for env, s in zip(envs, (state, other), strict=True)
        )
    assert "flicker" not in keywords or blanks


def test_agents_play_where_the_vector_has_other_pieces():
    """A Box in place of a Discrete of its size: one vector of the same length, as ever."""
    config = compose(["env=popgym/RepeatPreviousEasy", *SMALL])
    trained = build(config)
    longer = build(compose(["env=popgym/RepeatPreviousEasy", "env_kwargs.k=5", *SMALL]))
    other = build(compose(["env=popgym/AutoencodeEasy", *SMALL]))
    check_spaces("popgym/RepeatPreviousEasy", trained, longer)
    env, params = make_env("popgym/RepeatPreviousEasy")
    assert env.observation_space(params).shape == (9,)
    check_spaces("popgym/RepeatPreviousEasy", trained, build(config, (EpisodeStatistics(env), params)))
    with pytest.raises(UserError, match="has other observations"):
        check_spaces("popgym/AutoencodeEasy", trained, other)


@pytest.mark.parametrize("env,inputs", [("popgym/BattleshipEasy", False), ("memory/KeyToDoor", True)])
def test_older_checkpoints_are_read(env, inputs, tmp_path):
    """A state as it was kept, one-hots in one vector, is the state that `read` gives now."""
    built = build(compose([f"env={env}", f"wrap.previous_action={inputs}", *SMALL]))
    state = jax.jit(jax.vmap(built.learner.init))(jax.random.split(KEY, 2))
    before, params = make_env(env, wrap={"previous_action": inputs})
    fresh = jax.vmap(jax.vmap(before.reset, (0, None)), (0, None))
    template = older_template(state)
    assert template is not None
    kept = jax.eval_shape(fresh, jax.random.split(KEY, (2, 2)), params)[0]
    assert jax.tree.map(lambda x: (x.shape, x.dtype), template.obs) == jax.tree.map(lambda x: (x.shape, x.dtype), kept)
    numbers = jax.vmap(jax.vmap(lambda obs: joined(built.make_agent(KEY).as_numbers(obs))))(state.obs)
    store = CheckpointStore(tmp_path, keep=1)
    store.save(1, state._replace(obs=numbers), {})
    store.wait()
    store.close()
    (checkpoint,) = good_checkpoints(tmp_path)
    found = read(checkpoint, jax.eval_shape(lambda: state))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
        assert one.dtype == other.dtype
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(one, other)
