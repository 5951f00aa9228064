"""Action distributions against hand-written densities."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rlformers.agents.policies import CategoricalPolicy, GaussianPolicy, make_policy, mask_logits
from rlformers.envs.spaces import Box, Discrete, MultiDiscrete

KEY = jax.random.key(0)


def test_discrete():
    policy = make_policy(Discrete(3))
    logits = jnp.array([[0.0, 1.0, -1.0]] * 4)
    p = np.exp([0, 1, -1]) / np.exp([0, 1, -1]).sum()
    actions = policy.sample(KEY, logits)
    assert actions.shape == (4,) and actions.dtype == jnp.int32
    np.testing.assert_allclose(policy.log_prob(logits, actions), np.log(p)[np.asarray(actions)], rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(KEY, logits), [-(p * np.log(p)).sum()] * 4, rtol=1e-5)
    assert policy.mode(logits).tolist() == [1] * 4
    drawn = policy.sample(KEY, jnp.broadcast_to(logits[0], (5000, 3)))
    np.testing.assert_allclose(np.bincount(drawn) / 5000, p, atol=0.03)


def test_multi_discrete_is_a_product():
    policy = make_policy(MultiDiscrete((2, 3)))
    assert policy.num_outputs == 5
    outputs = jax.random.normal(KEY, (7, 5))
    actions = policy.sample(KEY, outputs)
    assert actions.shape == (7, 2) and int(actions[:, 0].max()) < 2 and int(actions[:, 1].max()) < 3
    log_p = [jax.nn.log_softmax(outputs[:, :2]), jax.nn.log_softmax(outputs[:, 2:])]
    expected = sum(np.asarray(lp)[np.arange(7), np.asarray(actions)[:, i]] for i, lp in enumerate(log_p))
    np.testing.assert_allclose(policy.log_prob(outputs, actions), expected, rtol=1e-5)
    entropy = -sum((np.exp(lp) * np.asarray(lp)).sum(-1) for lp in log_p)
    np.testing.assert_allclose(policy.entropy(KEY, outputs), entropy, rtol=1e-5)
    best = np.stack([np.argmax(lp, -1) for lp in log_p], -1)
    np.testing.assert_array_equal(policy.mode(outputs), best)
    np.testing.assert_array_equal(policy.to_env(actions), actions)
    even = make_policy(MultiDiscrete((4, 4))).sample(KEY, jnp.zeros((4000, 8)))
    assert np.mean(even[:, 0] == even[:, 1]) == pytest.approx(0.25, abs=0.03)  # independent choices


def test_masked_actions_are_never_taken():
    policy = make_policy(Discrete(4))
    mask = jnp.array([True, False, True, False])
    outputs = mask_logits(jnp.array([0.0, 9.0, 1.0, 9.0]), mask)
    actions = policy.sample(KEY, jnp.broadcast_to(outputs, (5000, 4)))
    assert set(np.unique(actions)) == {0, 2}
    grads = jax.grad(lambda x: policy.entropy(KEY, mask_logits(x, mask)))(jnp.array([0.0, 9.0, 1.0, 9.0]))
    assert np.isfinite(grads).all() and not np.asarray(grads)[[1, 3]].any()


@pytest.mark.parametrize("kind", ["gaussian", "tanh_gaussian"])
def test_boxes(kind):
    policy = make_policy(Box(jnp.array([-2.0, 0.0]), jnp.array([2.0, 10.0]), (2,)), kind)
    mean, log_std = jnp.array([0.3, -0.2]), jnp.array([-0.5, 0.1])
    outputs = jnp.broadcast_to(jnp.concatenate([mean, log_std]), (4000, 4))
    raw = policy.sample(KEY, outputs)
    np.testing.assert_allclose(raw.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(raw.std(0), np.exp(log_std), rtol=0.05)
    np.testing.assert_array_equal(policy.mode(outputs[0]), mean)
    expected = stats.norm.logpdf(np.asarray(raw), mean, np.exp(log_std)).sum(-1)
    np.testing.assert_allclose(policy.log_prob(outputs, raw), expected, rtol=1e-4, atol=1e-4)
    actions = np.asarray(policy.to_env(raw))
    assert (actions >= [-2, 0]).all() and (actions <= [2, 10]).all()
    squash = np.tanh if kind == "tanh_gaussian" else lambda x: np.clip(x, -1, 1)
    np.testing.assert_allclose(actions, np.array([0, 5]) + np.array([2, 5]) * squash(np.asarray(raw)), atol=1e-4)
    entropy = -expected.mean()
    if kind == "tanh_gaussian":
        entropy += np.log(1 - np.tanh(np.asarray(raw, float)) ** 2).sum(-1).mean()
    assert float(policy.entropy(KEY, outputs).mean()) == pytest.approx(entropy, abs=0.05)


@pytest.mark.parametrize(
    "space,kind,complaint",
    [
        (Discrete(2), "gaussian", "model.policy: 'gaussian' is for continuous actions"),
        (Box(-1, 1, (1,)), "categorical", "model.policy: 'categorical' is for discrete actions"),
        (Box(-np.inf, 1, (1,)), "tanh_gaussian", "model.policy: tanh_gaussian needs .* finite bounds"),
        (Box(-1, 3e38, (1,)), "tanh_gaussian", "model.policy: tanh_gaussian needs .* finite bounds"),
        (Box(-1, 1, (1,)), "beta", "model.policy: need one of auto, .*, got 'beta'"),
        (object(), "auto", "env: no policy for the action space"),
    ],
)
def test_policies_that_do_not_fit(space, kind, complaint):
    with pytest.raises(ValueError, match=f"^{complaint}"):
        make_policy(space, kind)


BOX = (jnp.array([-1.0, 0.0]), jnp.array([1.0, 5.0]), (2,))
POLICIES = [
    lambda: make_policy(Discrete(3)),
    lambda: make_policy(MultiDiscrete((3,))),
    lambda: CategoricalPolicy((2, 3), scalar=False),
    lambda: make_policy(Box(*BOX)),
    lambda: make_policy(Box(*BOX), "tanh_gaussian"),
    lambda: make_policy(Box(*BOX, jnp.int32)),
    lambda: GaussianPolicy(-1.0, BOX[1], (2,), squash=False),
    lambda: GaussianPolicy(BOX[0], 5.0, (2,), squash=False),
    lambda: GaussianPolicy(BOX[0], BOX[1], (1, 2), squash=False),
]


def test_policies_are_values():
    ones, others = [make() for make in POLICIES], [make() for make in POLICIES]
    assert ones == others and len(set(ones + others)) == len(POLICIES)
    for one, other in zip(ones, others, strict=True):
        assert hash(one) == hash(other) and pickle.dumps(one) == pickle.dumps(other)
        assert pickle.loads(pickle.dumps(one)) == one
        with pytest.raises(AttributeError):
            one.shape = (3,)


def test_distrax_waits_for_a_policy():
    program = """if True:
        import sys
        from rlformers.agents.policies import CategoricalPolicy
        assert "distrax" not in sys.modules
        CategoricalPolicy((2,), True)
        assert "distrax" in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True)
