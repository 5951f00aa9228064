"""The agent around its core against NumPy, with every option of the model; the core here sums its inputs."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from test_encoder import FORMULAS, affine, with_biases

from rlformers.agents.agent import Agent
from rlformers.agents.hl_gauss import edges
from rlformers.agents.policies import make_policy
from rlformers.config import FINAL_NORMS, ModelConfig
from rlformers.cores.core import Core
from rlformers.cores.layers import NORMS
from rlformers.envs.spaces import Box, Discrete

D, T = 6, 5
OBS = jax.random.normal(jax.random.key(1), (T, 3))
STARTS = np.array([True, False, False, True, False])


class Total(NamedTuple):
    h: jax.Array


class Sum(Core[Total]):
    def initial_state(self):
        return Total(jnp.zeros(D))

    def step(self, state, x, start):
        h = jnp.where(start, 0, state.h) + x
        return Total(h), h


def make(space, obs=OBS[0], **options):
    # The width argument wins over the options' width.
    model = ModelConfig(width=99, **options)
    return Agent(obs, make_policy(space), lambda _: Sum(), D, key=jax.random.key(0), model=model)


def through(head, x, f):
    for layer in head.hidden:
        x = f(affine(layer, x))
    return affine(head.out, x)


NORMALISED = {
    "none": lambda x, norm: x,
    "rms": lambda x, norm: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * norm.scale,
    "layer": lambda x, norm: (
        (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * norm.scale + norm.bias
    ),
}


@pytest.mark.parametrize(
    "space,options",
    [
        (Discrete(4), {}),
        (Discrete(4), {"final_norm": "rms", "head_layers": 0, "activation": "silu"}),
        (Box(-1, 1, (2,)), {"final_norm": "none", "head_layers": 2, "encoder_layers": 2, "activation": "tanh"}),
        (Box(-1, 1, (2,)), {"critic": "hl_gauss", "value_bins": 7, "value_limit": 20.0, "log_std": 0.25}),
    ],
)
def test_the_network(space, options):
    model = ModelConfig(**options)
    agent = with_biases(make(space, **options))
    f = FORMULAS[model.activation]
    assert len(agent.encoder.layers) == model.encoder_layers
    assert len(agent.actor.hidden) == len(agent.critic.hidden) == model.head_layers
    xs = np.asarray(OBS, float)
    for layer in agent.encoder.layers:
        xs = f(affine(layer, xs))
    ys = np.stack([xs[0], xs[0] + xs[1], xs[0] + xs[1] + xs[2], xs[3], xs[3] + xs[4]])
    ys = NORMALISED[model.final_norm](ys, agent.final_norm)
    outputs, values = through(agent.actor, ys, f), through(agent.critic, ys, f)
    if isinstance(space, Box):
        outputs = np.concatenate([outputs, np.broadcast_to(agent.log_std, outputs.shape)], -1)
    if model.critic == "hl_gauss":
        assert values.shape == (T, 7)
        logits = values
        e = edges(7, 20.0)
        mean = (special.softmax(logits, -1) * (e[1:] + e[:-1]) / 2).sum(-1)
        values = np.sign(mean) * np.expm1(np.abs(mean))
    else:
        assert values.shape == (T, 1)
        logits, values = values[:, :0], values[:, 0]

    _, found = agent.scan(agent.core.initial_state(), OBS, jnp.asarray(STARTS))
    np.testing.assert_allclose(found.policy, outputs, atol=1e-5)
    np.testing.assert_allclose(found.value, values, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.value_logits, logits, atol=1e-5)
    memory = Total(jnp.full(D, 9.0))  # of an earlier episode
    for t in range(T):
        memory, output = agent.step(memory, OBS[t], jnp.asarray(STARTS[t]))
        chex.assert_trees_all_close(output, jax.tree.map(lambda x, t=t: x[t], found), atol=1e-5)


def test_the_options_are_those_of_the_configuration():
    assert set(NORMS) == set(FINAL_NORMS)
    agent = make(Discrete(2))
    assert agent.critic_kind == "scalar" and make(Discrete(2), critic="hl_gauss").value_limit == 1000


@pytest.mark.parametrize("critic,gain", [("scalar", 1.0), ("hl_gauss", 0.01)])
def test_initial_gains(critic, gain):
    agent = make(Discrete(4), critic=critic, head_layers=2)
    for head, expected in ((agent.actor, 0.01), (agent.critic, gain)):
        np.testing.assert_allclose(np.linalg.svd(head.out.weight, compute_uv=False), expected, rtol=1e-4)
        for layer in head.hidden:
            np.testing.assert_allclose(np.linalg.svd(layer.weight, compute_uv=False), 2**0.5, rtol=1e-4)
        assert not np.allclose(head.hidden[0].weight, head.hidden[1].weight)
    assert not np.allclose(agent.actor.hidden[0].weight, agent.critic.hidden[0].weight)


def test_a_critic_of_bins_starts_near_zero():
    agent = make(Discrete(4), critic="hl_gauss")
    _, output = agent.scan(agent.core.initial_state(), 10 * OBS, jnp.asarray(STARTS))
    assert output.value_logits.shape == (T, 101) and float(jnp.abs(output.value_logits).max()) < 0.1
    assert 0 < float(jnp.abs(output.value).max()) < 0.1


def test_the_log_std_stays_between_its_bounds():
    agent = make(Box(-1, 1, (3,)), log_std=-1.0, log_std_min=-2.0, log_std_max=0.5)
    assert agent.log_std.tolist() == [-1.0] * 3

    def log_std(values):
        said = jax.tree.map(lambda x: x, agent)
        object.__setattr__(said, "log_std", values)
        return said.output(jnp.ones(D), None).policy[3:]

    values = jnp.array([-7.0, 0.0, 7.0])
    assert log_std(values).tolist() == [-2.0, 0.0, 0.5]
    rise, fall = (jax.grad(lambda v, sign=sign: sign * log_std(v).sum())(values) for sign in (-1.0, 1.0))
    assert rise.tolist() == [-1, -1, 0] and fall.tolist() == [0, 1, 1]  # inwards only
    assert make(Discrete(2)).log_std.shape == (0,)


def test_masked_actions_are_impossible():
    mask = jnp.array([True, False, True, False])
    agent = make(Discrete(4), {"x": OBS[0], "action_mask": mask})
    output = agent.step(agent.core.initial_state(), {"x": OBS[0], "action_mask": mask}, jnp.array(True))[1]
    free = make(Discrete(4)).step(agent.core.initial_state(), OBS[0], jnp.array(True))[1]
    p = np.asarray(jax.nn.softmax(output.policy))
    assert (p[[1, 3]] == 0).all() and (p[[0, 2]] > 0).all()
    np.testing.assert_allclose(output.policy[jnp.array([0, 2])], free.policy[jnp.array([0, 2])], rtol=1e-6)
    np.testing.assert_allclose(output.value, free.value)


def test_agents_built_alike_share_a_program():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def first_weight(agent):
        return agent.encoder.layers[0].weight[0, 0]

    def build(high):
        return make(Box(jnp.full(2, -1.0), jnp.full(2, high), (2,)))

    assert jax.tree.structure(build(1.0)) == jax.tree.structure(build(1.0))
    first_weight(build(1.0)), first_weight(build(1.0))
    with pytest.raises(AssertionError, match="traced"):  # other bounds make another policy
        first_weight(build(2.0))
