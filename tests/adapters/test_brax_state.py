"""Brax: what the adapter adds, against the package stepped by hand."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs import check
from rlformers.envs.registry import make_env

pytest.importorskip("brax", reason="pip install 'rlformers[brax]'")

from rlformers.envs.adapters.brax_state import make_brax  # noqa: E402
from rlformers.envs.adapters.control_catalogue import BRAX_IDS  # noqa: E402
from rlformers.envs.adapters.left_out import why_left_out  # noqa: E402

with warnings.catch_warnings():  # jaxopt, on which Brax builds, says that nobody maintains it
    warnings.simplefilter("ignore")
    from brax import envs

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "core=mlp"]
SMALL += ["wandb.mode=disabled"]
COMPILE = {"xla_backend_optimization_level": 0}


def test_all_that_brax_registers_is_there():
    assert {name for name in envs._envs if not why_left_out(f"brax/{name}")} == set(BRAX_IDS)


def test_swimmer_is_left_out_because_it_cannot_be_stepped():
    """Its water calls jax.numpy.clip with a name for an argument that jax has given up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        swimmer = envs.get_environment("swimmer")
    state = jax.eval_shape(swimmer.reset, jax.random.key(0))
    with pytest.raises(TypeError, match="a_min"):
        jax.eval_shape(swimmer.step, state, jnp.zeros(swimmer.action_size))


@pytest.mark.parametrize("name", BRAX_IDS)
def test_a_step_keeps_the_types_of_a_state(name):
    env, params = make_env(f"brax/{name}", raw=True)
    key = jax.random.key(0)
    _, state = jax.eval_shape(env.reset_env, key, params)
    _, after, *_ = jax.eval_shape(env.step_env, key, state, jnp.zeros(env.action_space(params).shape), params)
    assert after == state


@pytest.mark.parametrize("name", ["inverted_pendulum", pytest.param("hopper", marks=pytest.mark.slow)])
def test_keeps_the_protocol(name):
    report = check(f"brax/{name}", num_envs=2, num_steps=8)
    assert report.ok, report


@pytest.mark.parametrize("name", ["inverted_pendulum", pytest.param("hopper", marks=pytest.mark.slow)])
def test_a_rollout_is_that_of_the_package(name):
    """Through two ends by a fall and one by the limit, with the final observations of all."""
    env, limit = make_brax(name, backend="spring"), 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = envs.get_environment(name, backend="spring")
    params = env.default_params.replace(max_steps_in_episode=limit)
    step, reset, their_step, their_reset = (
        jax.jit(f, compiler_options=COMPILE) for f in (env.step, env.reset, theirs.step, theirs.reset)
    )
    key = jax.random.key(3)
    obs, state = reset(key, params)
    present, time, ends = their_reset(key), 0, [0, 0]
    for t in range(60):
        np.testing.assert_array_equal(obs, present.obs)
        key = jax.random.key(t)
        # Push one way for a while, so that it falls, then about, so that it does not.
        action = -jnp.ones(theirs.action_size) if ends[0] < 2 else 0.1 * env.action_space().sample(key)
        obs, state, reward, terminated, truncated, info = step(key, state, action, params)
        present, time = their_step(present, action), time + 1
        np.testing.assert_allclose(info["final_observation"], present.obs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(reward, present.reward, rtol=1e-5, atol=1e-6)
        assert terminated == (present.done == 1) and truncated == (time == limit)
        if terminated or truncated:
            ends[0 if terminated else 1] += 1
            present, time = their_reset(jax.random.split(key)[1]), 0
    assert ends[0] >= 2 and ends[1] >= 1, ends


@pytest.mark.parametrize("name", ["inverted_pendulum", "halfcheetah"])
def test_a_simulation_that_blows_up_terminates_with_finite_numbers(name):
    """The one would pay 1 for it, the other pays what is no number; neither is ever done with it."""
    env = make_brax(name, backend="spring")
    _, state = jax.jit(env.reset, compiler_options=COMPILE)(jax.random.key(0), env.default_params)

    def blow_up(x):
        return jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x

    broken = state.simulator.replace(pipeline_state=jax.tree.map(blow_up, state.simulator.pipeline_state))
    arguments = state._replace(simulator=broken), jnp.zeros(env.simulator.action_size), env.default_params
    step = jax.jit(env.step, compiler_options=COMPILE)
    obs, after, reward, terminated, truncated, info = step(jax.random.key(1), *arguments)
    assert terminated and not truncated and reward == 0
    np.testing.assert_array_equal(info["final_observation"], 0)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((obs, after)) if x.dtype == jnp.float32) and obs.any()


@pytest.mark.parametrize("name", [name for name in BRAX_IDS if name != "fast" and "humanoid" not in name])
def test_velocities_are_those_of_the_simulator(name):
    env = make_brax(name, backend="generalized")
    shape = jax.eval_shape(env.simulator.reset, jax.random.key(0)).pipeline_state
    still = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
    turns = still.x.rot.at[..., 0].set(1.0)
    still = still.replace(x=still.x.replace(rot=turns))
    moving = still.replace(qd=still.qd + 1.0, xd=still.xd.replace(vel=still.xd.vel + 1.0))
    differ = np.asarray(env.simulator._get_obs(moving)) != np.asarray(env.simulator._get_obs(still))
    assert np.flatnonzero(differ).tolist() == list(env.velocities)


def test_velocities_without_a_simulation_to_compare():
    """`fast` simulates nothing; humanoids observe velocities among much else."""
    assert make_brax("fast").velocities == (1,)
    for name in (name for name in BRAX_IDS if "humanoid" in name):
        assert not hasattr(make_brax(name, backend="generalized"), "velocities")


def test_masks():
    env, params = make_env("brax/inverted_pendulum", wrap={"mask": "velocities"})
    assert env.observation_space(params).shape == (2,)
    with pytest.raises(ValueError, match=r"wrap\.mask: the velocities of brax/humanoid are not known"):
        make_env("brax/humanoid", wrap={"mask": "positions"})


@pytest.mark.parametrize(
    "kwargs,message",
    [
        ({"backend": "bullet"}, r"env_kwargs\.backend: need one of generalized, .*'bullet'"),
        ({"gravity": 3}, r"env_kwargs\.gravity: env 'brax/ant' has .*ctrl_cost_weight"),
        ({"n_frames": 0}, r"env_kwargs\.n_frames: need an integer of at least 1, got 0"),
        ({"n_frames": "x"}, r"env_kwargs\.n_frames: need .*, got 'x'"),
    ],
)
def test_mistakes_are_named_in_one_line(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env("brax/ant", **kwargs)


def test_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "env=brax/inverted_pendulum", *SMALL, "total_steps=32", "run_dir=run"]) == 0
