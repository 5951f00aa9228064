"""Boolean functions in context: the functions against NumPy, their statistics, and the optimum by Bayes' rule."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.memory.boolean_optima import optimum, stored_curves
from rlformers.envs.registry import entries, make_env, replace_params
from rlformers.envs.scores import known_scores
from tools.boolean_bayes import bayes_curve, sizes

NAMES = ["BooleanConjunction", "BooleanDNF", "BooleanSparseParity", "BooleanThreshold"]
SIZE, EXAMPLES, EPISODES = 10, 40, 400
INPUTS = (np.arange(2**SIZE)[:, None] >> np.arange(SIZE)) & 1  # row i: the bits of i


def _functions(relevant):
    """Every choice of inputs and of wanted values: [F, k], [F, k]."""
    inputs = list(itertools.combinations(range(SIZE), relevant))
    wants = list(itertools.product((0, 1), repeat=relevant))
    return np.repeat(inputs, len(wants), 0), np.tile(wants, (len(inputs), 1))


class Table:
    """A class of functions by truth tables bool [2^n, F], and p(x | label) of its examples."""

    def __init__(self, truth, balanced):
        self.truth, self.prior = truth, np.ones(truth.shape[1])
        self.positive = 1 / truth.sum(0) if balanced else self.prior
        self.negative = 1 / (~truth).sum(0) if balanced else self.prior

    def likelihood(self, x, functions):
        truth = self.truth[x, functions]
        return truth * self.positive[functions], ~truth * self.negative[functions]


class Triples:
    """Three-term DNFs: positive examples are made true by a term picked at random, negative ones are uniform."""

    def __init__(self):
        inputs, wants = _functions(2)
        self.terms = np.stack([(INPUTS[:, i] == w).all(1) for i, w in zip(inputs, wants, strict=True)], 1)
        i, j, k = np.indices([len(inputs)] * 3, np.int16)
        self.triples = np.stack([part[(i <= j) & (j <= k)] for part in (i, j, k)], 1)
        i, j, k = self.triples.T
        self.prior = np.choose((i == j).astype(int) + (j == k), (6.0, 3.0, 1.0))  # orders of drawing them
        counts = self.terms.astype(np.float32)
        pairs = counts.T @ counts
        all_three = np.stack([(counts[:, [a]] * counts).T @ counts for a in range(len(inputs))])
        union = pairs[i, i] + pairs[j, j] + pairs[k, k] - pairs[i, j] - pairs[j, k] - pairs[i, k] + all_three[i, j, k]
        self.num_negative = 2**SIZE - union

    def likelihood(self, x, functions):
        true_terms = self.terms[x].astype(np.int8)[self.triples[functions]].sum(1)
        return true_terms / (3 * 2 ** (SIZE - 2)), (true_terms == 0) / self.num_negative[functions]


@cache
def make_class(name):
    if name == "BooleanDNF":
        return Triples()
    inputs, wants = _functions({"BooleanConjunction": 3, "BooleanSparseParity": 2, "BooleanThreshold": 5}[name])
    rows = list(zip(inputs, wants, strict=True))
    if name == "BooleanConjunction":
        return Table(np.stack([(INPUTS[:, i] == w).all(1) for i, w in rows], 1), balanced=True)
    if name == "BooleanSparseParity":
        return Table(np.stack([INPUTS[:, i].sum(1) % 2 == 1 for i, w in rows if w.all()], 1), balanced=False)
    # A sum of five signs is odd, so that each of three thresholds stands for two of the six.
    sums = np.stack([(2 * INPUTS[:, i] - 1) @ (2 * w - 1) for i, w in rows], 1).astype(np.int8)
    return Table(np.concatenate([sums > theta for theta in (-2.5, -0.5, 1.5)], 1), balanced=False)


def bayes(functions, xs, ys):
    """Answers bool [T] of Bayes' rule to inputs int [T]; each label of ys is used after its answer."""
    alive, weight, answers = np.arange(len(functions.prior)), functions.prior, []
    for x, y in zip(xs, ys, strict=True):
        positive, negative = functions.likelihood(x, alive)
        answers.append(weight @ positive > weight @ negative)
        weight = weight * (positive if y else negative)
        alive, weight = alive[weight > 0], weight[weight > 0]
        weight = weight / weight.sum()
    return answers


def run(env, params, num_steps=EXAMPLES):
    """Compiled: keys [B], actions [B, T] -> observations [B, T + 1, n + 1], rewards [B, T], ends [B, T], function."""

    def episode(key, actions):
        key_reset, key_steps = jax.random.split(key)
        first, state = env.reset_env(key_reset, params)

        def step(state, inputs):
            obs, state, reward, terminated, _ = env.step_env(inputs[0], state, inputs[1], params)
            return state, (obs, reward, terminated)

        last, (obs, rewards, ends) = jax.lax.scan(step, state, (jax.random.split(key_steps, num_steps), actions))
        return jnp.concatenate([first[None], obs]), rewards, ends, last.function

    return jax.jit(jax.vmap(episode))


@pytest.fixture(scope="module", params=NAMES)
def stream(request):
    """Name, program, keys, inputs int [B, T], labels bool [B, T], hidden functions."""
    env, params = make_env(f"memory/{request.param}", raw=True)
    program, keys = run(env, params), jax.random.split(jax.random.key(0), EPISODES)
    obs, _, ends, function = program(keys, jnp.zeros((EPISODES, EXAMPLES), jnp.int32))
    assert ends[:, -1].all() and not ends[:, :-1].any()
    obs = np.asarray(obs)
    assert (obs[:, 0, -1] == 0).all() and (abs(obs[:, 1:]) == 1).all()
    xs = (obs[:, :-1, :-1] > 0) @ (1 << np.arange(SIZE))
    return request.param, program, keys, xs, obs[:, 1:, -1] > 0, jax.tree.map(np.asarray, function)


def test_labels_are_numpys(stream):
    name, _, _, xs, labels, function = stream
    reads, wants = ((part[..., None] >> np.arange(SIZE)) & 1 for part in function[:2])
    bits = INPUTS[xs]  # [B, T, n]
    true_literals = ((bits[:, :, None] == wants[:, None]) & (reads[:, None] == 1)).sum(-1)  # [B, T, m]
    relevant = {"BooleanConjunction": 3, "BooleanDNF": 2, "BooleanSparseParity": 2, "BooleanThreshold": 5}[name]
    wanted = {
        "BooleanSparseParity": (bits * reads[:, :1]).sum(-1) % 2 == 1,
        "BooleanThreshold": 2 * true_literals[..., 0] - relevant > function.threshold[:, None] + 0.5,
    }.get(name, (true_literals == relevant).any(-1))
    np.testing.assert_array_equal(labels, wanted)
    assert (reads.sum(-1) == relevant).all()
    assert abs(reads.mean((0, 1)) - relevant / SIZE).max() < 4.5 * 0.5 / np.sqrt(reads.shape[0] * reads.shape[1])
    assert abs(wants[reads == 1].mean() - 0.5) < 4 * 0.5 / np.sqrt(reads.sum())


def test_statistics_and_chance(stream):
    name, _, _, xs, labels, _ = stream
    rates = labels.mean(1)
    error = rates.std() / np.sqrt(EPISODES)
    assert abs(rates.mean() - 0.5) < 4 * error
    assert abs(INPUTS[xs].mean((0, 1)) - 0.5).max() < 4.5 * 0.5 / np.sqrt(EPISODES)
    repeated = labels[:, 1:] == labels[:, :-1]  # how often the last label is right
    functions = make_class(name)
    if name == "BooleanThreshold":
        by_function = functions.truth.mean(0)
        by_last_label, by_input = (by_function**2 + (1 - by_function) ** 2).mean(), 0.5
        assert known_scores(f"memory/{name}").memoryless == pytest.approx((0.5 + 39 * by_last_label) / 40)
    else:
        by_last_label, by_input = 0.5, 0.5547 if name == "BooleanSparseParity" else 0.5
        assert rates.std() < 1.15 * 0.5 / np.sqrt(EXAMPLES)  # independent labels, under each function
    assert abs(repeated.mean() - by_last_label) < 4 * repeated.mean(1).std() / np.sqrt(EPISODES)
    everything, inputs = np.arange(len(functions.prior)), range(0, 2**SIZE, 1 if name == "BooleanSparseParity" else 200)
    joint = np.array([[functions.prior @ part for part in functions.likelihood(x, everything)] for x in inputs])
    assert abs((joint.max(1) / joint.sum(1)).mean() - by_input) < 0.001
    if name != "BooleanThreshold":
        assert abs(known_scores(f"memory/{name}").memoryless - by_input) < 0.001


def test_bayes_rule_is_the_stated_optimum(stream):
    name, program, keys, xs, labels, _ = stream
    functions, count = make_class(name), {"BooleanDNF": 16, "BooleanThreshold": 60}.get(name, EPISODES)
    answers = np.zeros(xs.shape, np.int32)
    answers[:count] = [bayes(functions, *row) for row in zip(xs[:count], labels[:count], strict=True)]
    returns = np.asarray(program(keys, answers)[1]).sum(1)[:count]
    np.testing.assert_allclose(returns, (answers == labels)[:count].mean(1), rtol=1e-5)
    assert abs(returns.mean() - float(entries()[f"memory/{name}"].best_in_words)) < 4 * returns.std() / np.sqrt(count)
    for examples in (5, 20):
        returns = (answers == labels)[:count, :examples].mean(1)
        ceiling = known_scores(f"memory/{name}", env_params={"examples": examples}).ceiling
        assert abs(returns.mean() - ceiling) < 4 * returns.std() / np.sqrt(count)


@pytest.mark.parametrize(
    "name,size", [("BooleanConjunction", (4, 2)), ("BooleanDNF", (4, 2, 2)), ("BooleanSparseParity", (4, 2))]
    + [("BooleanThreshold", (4, relevant)) for relevant in (2, 3)]
)  # fmt: skip
def test_stored_optima_are_exact_on_four_inputs(name, size):
    """All functions as truth tables, all sequences of three examples."""
    n, relevant, *num_terms = size
    xs, inputs = INPUTS[:16, :n], list(itertools.combinations(range(n), relevant))
    literals = np.array([(xs[:, i] == w).sum(1) for i in inputs for w in itertools.product((0, 1), repeat=relevant)])
    if name in ("BooleanConjunction", "BooleanDNF"):
        terms = np.array(list(itertools.product(literals == relevant, repeat=(num_terms or [1])[0])))  # [F, m, 16]
        truth = terms.any(1)
        negative, positive = ~truth / (~truth).sum(1, keepdims=True), (terms / terms.sum(2, keepdims=True)).mean(1)
    else:
        truth = np.array([xs[:, i].sum(1) % 2 == 1 for i in inputs])
        if name == "BooleanThreshold":
            truth = np.concatenate([2 * literals - relevant > theta for theta in np.arange(-2.5, 3)])
        negative, positive = ~truth / 8, truth / 8
    joint = np.stack([negative, positive], -1) / 2  # p(x, label | function) [F, 16, 2]
    history, chances = np.full((len(joint), 1), 1 / len(joint)), []  # p(function, examples so far)
    for _ in range(3):
        chances.append(np.einsum("fh,fxy->hxy", history, joint).max(-1).sum())
        history = np.einsum("fh,fxy->fhxy", history, joint).reshape(len(joint), -1)
    stored = stored_curves()[name][" ".join(map(str, size))]
    np.testing.assert_allclose(np.array(stored[:3]) / 1e4, chances, atol=0.02)
    assert optimum(name, 3, *size) == pytest.approx(np.mean(chances), abs=0.01)


def test_stored_optima_can_be_measured_again():
    for name in NAMES:
        assert list(stored_curves()[name]) == [" ".join(map(str, size)) for size in sizes(name)]
    for name, size in (("BooleanConjunction", (6, 2)), ("BooleanThreshold", (6, 3)), ("BooleanDNF", (5, 2, 2))):
        returns = bayes_curve(name, size, num_episodes=100, examples=20).mean(1)
        assert abs(returns.mean() - optimum(name, 20, *size)) < 5 * returns.std() / 10
    assert optimum("BooleanThreshold", 40, 11, 5) is None and optimum("BooleanThreshold", 161, 10, 5) is None


def test_all_sizes():
    env, params = make_env("memory/BooleanDNF", raw=True, n=32, relevant=7, terms=4)
    params = replace_params(params, examples=7)
    obs, rewards, ends, function = run(env, params, 7)(
        jax.random.split(jax.random.key(0), EPISODES), jnp.ones((EPISODES, 7), jnp.int32)
    )
    assert obs.shape == (EPISODES, 8, 33) and ends[:, -1].all() and not ends[:, :-1].any()
    assert (np.bitwise_count(np.asarray(function.reads)) == 7).all()
    np.testing.assert_allclose(rewards.sum(1), (obs[:, 1:, -1] > 0).mean(1), rtol=1e-5)
    assert abs(rewards.sum(1).mean() - 0.5) < 4 * 0.5 / np.sqrt(7 * EPISODES)


@pytest.mark.parametrize(
    "kwargs,message",
    [
        ({"n": 33}, r"env_kwargs\.n: need 2 <= n <= 32, got 33"),
        ({"relevant": 11}, r"env_kwargs\.relevant: need 1 <= relevant <= n = 10, got 11"),
        ({"terms": 0}, r"env_kwargs\.terms: need at least 1, got 0"),
    ],
)
def test_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env("memory/BooleanDNF", **kwargs)
    with pytest.raises(ValueError, match=r"env_params\.examples: need at least 1, got 0"):
        replace_params(make_env("memory/BooleanDNF")[1], examples=0)
