"""The control suite of MuJoCo Playground, the task that it lacks, and the 12x2 protocol over it."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs import check
from rlformers.envs.checks.rollouts import first_difference
from rlformers.envs.meta.splits import overlap, split_of
from rlformers.envs.registry import make_env

pytest.importorskip("mujoco_playground", reason="pip install 'rlformers[playground]'")

from rlformers.envs.adapters.brax_state import load_playground, make_playground  # noqa: E402
from rlformers.envs.adapters.control_catalogue import PLAYGROUND_IDS  # noqa: E402
from rlformers.envs.adapters.packed import lengths, pack, unpack  # noqa: E402
from rlformers.envs.adapters.playground_meta import HELD_OUT, TRAIN, Mixture, make_meta12x2  # noqa: E402
from rlformers.envs.adapters.point_mass_hard import LEAST_ANGLE, directions  # noqa: E402

with warnings.catch_warnings():  # of jaxopt, which is imported along
    warnings.simplefilter("ignore")
    from mujoco_playground import dm_control_suite
    from mujoco_playground._src import mjx_env

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "core=mlp"]
SMALL += ["wandb.mode=disabled"]
COMPILE = {"xla_backend_optimization_level": 0}
TWO = ["PendulumSwingup", "PointMass"]


def jit(function):
    return jax.jit(function, compiler_options=COMPILE)


def test_all_tasks_of_the_suite_are_there():
    assert set(PLAYGROUND_IDS) == set(dm_control_suite.ALL_ENVS)


def test_keeps_the_protocol():
    report = check("playground/PendulumSwingup", num_envs=2, num_steps=8)
    assert report.ok, report


def test_a_rollout_is_that_of_the_package():
    env = make_playground("PendulumSwingup")
    theirs = dm_control_suite.load("PendulumSwingup", config_overrides={"impl": "jax"})
    params = env.default_params.replace(max_steps_in_episode=10)
    assert env.default_params.max_steps_in_episode == 1000
    step, reset, their_step, their_reset = map(jit, (env.step, env.reset, theirs.step, theirs.reset))
    key = jax.random.key(3)
    obs, state = reset(key, params)
    present = their_reset(key)
    for t in range(25):
        np.testing.assert_array_equal(obs, present.obs)
        key = jax.random.key(t)
        action = env.action_space().sample(key)
        obs, state, reward, terminated, truncated, info = step(key, state, action, params)
        present = their_step(present, action)
        np.testing.assert_allclose(info["final_observation"], present.obs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(reward, present.reward, rtol=1e-5, atol=1e-6)
        assert not terminated and truncated == (t % 10 == 9)
        if truncated:
            present = their_reset(jax.random.split(key)[1])


def test_a_simulation_that_blows_up_terminates_with_finite_numbers():
    env = make_playground("PendulumSwingup")
    _, state = jit(env.reset_env)(jax.random.key(0), env.default_params)
    broken = state.simulator.replace(data=state.simulator.data.replace(qvel=jnp.array([jnp.nan], jnp.float32)))
    arguments = jax.random.key(0), state._replace(simulator=broken), jnp.zeros(1), env.default_params
    obs, _, reward, terminated, _ = jit(env.step_env)(*arguments)
    assert terminated and np.isfinite(obs).all() and reward == 0


@pytest.mark.parametrize("name", PLAYGROUND_IDS)
def test_velocities_and_actions_are_those_of_the_model(name):
    """Observed without any physics: what differs when only velocities do is a velocity."""
    env = make_playground(name)
    model = env.simulator.mj_model
    assert (model.actuator_ctrlrange == [-1, 1]).all(), "our actions are theirs"
    data = mjx_env.make_data(model, impl="jax")
    data = data.replace(qpos=jnp.asarray(model.qpos0, jnp.float32))
    moving = data.replace(qvel=jnp.ones(model.nv))
    # Sensors of velocities are computed by the physics: the hinge's, the centre of mass's, those of the links.
    start = 12 if name.startswith("Swimmer") else 0
    kind = [index for index in range(model.nsensor) if name.startswith(("Pendulum", "Humanoid", "Swimmer"))]
    for sensor in kind:
        place = int(model.sensor_adr[sensor])
        size = int(model.sensor_dim[sensor])
        if place >= start:
            moving = moving.replace(sensordata=moving.sensordata.at[place : place + size].set(1.0))
    differ = np.asarray(env.simulator._get_obs(moving, {})) != np.asarray(env.simulator._get_obs(data, {}))
    assert np.flatnonzero(differ).tolist() == list(env.velocities)


def test_directions_of_motors():
    drawn = np.asarray(jax.vmap(directions)(jax.random.split(jax.random.key(0), 4000)), np.float64)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), 1, atol=1e-6)
    product = (drawn[:, 0] * drawn[:, 1]).sum(-1)
    assert np.abs(product).max() <= 0.9 + 1e-6
    # As dm_control draws: again and again, until they fit.
    rng = np.random.default_rng(0)
    theirs = []
    while len(theirs) < 4000:
        pair = rng.standard_normal((2, 2))
        pair /= np.linalg.norm(pair, axis=1, keepdims=True)
        if abs(pair[0] @ pair[1]) <= 0.9:
            theirs.append(pair)
    theirs = np.array(theirs)
    np.testing.assert_allclose(
        np.quantile(product, [0.1, 0.25, 0.5, 0.75, 0.9]),
        np.quantile((theirs[:, 0] * theirs[:, 1]).sum(-1), [0.1, 0.25, 0.5, 0.75, 0.9]),
        atol=0.06,
    )
    assert np.abs(drawn.mean(0)).max() < 0.05 and math.isclose(math.cos(LEAST_ANGLE), 0.9)


def test_hard_motors_push_where_they_point():
    hard, easy = load_playground("PointMassHard"), load_playground("PointMass")
    state = jit(hard.reset)(jax.random.key(1))
    action = jnp.array([0.9, -3.0])
    after = jit(hard.step)(state, action)
    pushed = (after.obs[2:] - state.obs[2:]) / 0.02  # 0.1 N on 0.3 kg; limits of motors are 1
    np.testing.assert_allclose(pushed, jnp.array([0.9, -1.0]) @ state.info["directions"] / 3, rtol=1e-4)
    metrics = dict.fromkeys(state.metrics)
    assert after.reward == easy._get_reward(after.data, action, {}, metrics), "paid for the action, not for the force"


def test_packing_keeps_every_bit():
    tree = {
        "a": jnp.array([jnp.nan, -0.0, 1e-40], jnp.float32),
        "b": jnp.array([[True], [False]]),
        "c": jnp.array(-7, jnp.int32),
        "d": jax.random.key(5),
        "e": jnp.array([200], jnp.uint8),
        "f": jnp.array([-3], jnp.int8),
        "g": None,
    }
    like = jax.eval_shape(lambda: tree)
    assert lengths(like) == (3, 7)
    packed = pack(tree, 5, 8)
    back = unpack(packed, like)
    assert packed.floats.shape == (5,) and packed.words.shape == (8,)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for before, after in zip(jax.tree.leaves(tree), jax.tree.leaves(back), strict=True):
        assert before.dtype == after.dtype and before.shape == after.shape
        if jnp.issubdtype(before.dtype, jax.dtypes.prng_key):
            before, after = jax.random.key_data(before), jax.random.key_data(after)
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()


def test_packing_keeps_wide_numbers():
    with jax.enable_x64(True):
        tree = {"a": jnp.array([1 / 3], jnp.float64), "b": jnp.array([-1, 2**40], jnp.int64), "c": jnp.float32(0.1)}
        back = unpack(pack(tree, 2, 4), jax.eval_shape(lambda: tree))
        for before, after in zip(jax.tree.leaves(tree), jax.tree.leaves(back), strict=True):
            assert before.dtype == after.dtype and (before == after).all()


def test_what_differs_by_rounding_only_is_packed_as_such():
    """The checker compares the states of single steps with those of a scan."""
    tree = {"a": jnp.float32(1000), "b": jnp.int32(3)}
    packed, near, other = (
        pack(tree | change, 1, 1) for change in ({}, {"a": jnp.float32(1000.0001)}, {"b": jnp.int32(4)})
    )
    assert packed.floats != near.floats
    assert not first_difference(packed, near) and first_difference(packed, other)


def test_a_mixture_is_its_tasks():
    mixture = Mixture(TWO)
    drawn = jax.vmap(mixture.sample_task, (0, None))(jax.random.split(jax.random.key(0), 100), mixture.default_params)
    assert 30 < int(drawn.number.sum()) < 70
    reset, step = jit(mixture.reset_env), jit(mixture.step_env)
    for index, name in enumerate(TWO):
        env, key = make_playground(name), jax.random.key(index)
        task = jax.tree.map(lambda x, index=index: jnp.asarray(index if x is drawn.number else 1000, x.dtype), drawn)
        own_reset, own_step = jit(env.reset_env), jit(env.step_env)
        obs, state = reset(key, task)
        own_obs, own = own_reset(key, None)
        for t in range(5):
            size = own_obs.size
            np.testing.assert_allclose(obs[:size], own_obs, rtol=1e-5, atol=1e-6)
            assert not obs[size:].any()
            action = mixture.action_space().sample(jax.random.key(t))
            obs, state, reward, terminated, _ = step(key, state, action, task)
            own_obs, own, own_reward, _, _ = own_step(key, own, action[: env.action_space().shape[0]], None)
            np.testing.assert_allclose(reward, own_reward, rtol=1e-5, atol=1e-6)
            assert not terminated


def test_the_protocol_of_the_paper():
    assert len(TRAIN) == 6 and len(HELD_OUT) == 5 and not set(TRAIN) & set(HELD_OUT)
    env = make_meta12x2(tasks=TWO)
    params = env.default_params
    space = env.observation_space(params).spaces
    assert {name: part.shape for name, part in space.items()} == {
        "observation": (12,),
        "previous_reward": (),
        "episode_end": (),
    }
    assert env.action_space(params).shape == (2,) and params.max_steps_in_episode == 1000
    tasks = jax.vmap(env.env.sample_task, (0, None))(jax.random.split(jax.random.key(0), 3), params)
    products = jnp.einsum("bij,bik->bjk", tasks.observation, tasks.observation)
    np.testing.assert_allclose(products, 2 * np.eye(12)[None].repeat(3, 0), atol=1e-4)
    assert not np.array_equal(tasks.observation[0], tasks.observation[1])


@pytest.mark.parametrize(
    "kwargs,message",
    [
        ({"split": "test"}, r"env_kwargs\.split: need one of train, heldout, all, got 'test'"),
        (
            {"split": "heldout"},
            r"env_kwargs\.split: cannot be combined with env_kwargs\.tasks, got 'heldout' and \['PointMass'\]",
        ),
        ({"tasks": ["CartPole"]}, r"env_kwargs\.tasks: need a list of ids .*\['CartPole'\]"),
        ({"tasks": []}, r"env_kwargs\.tasks"),
        ({"tasks": ["CheetahRun"]}, r"env_kwargs\.tasks: playground/CheetahRun has \(17, 6\)"),
        ({"distribution": "uniform"}, r"env_kwargs\.distribution"),
    ],
)
def test_mistakes_are_named_in_one_line(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env("playground/Meta12x2", **({"tasks": ["PointMass"]} | kwargs))
    with pytest.raises(ValueError, match=r"env_kwargs\.impl: env 'playground/PointMass' has ctrl_dt"):
        make_env("playground/PointMass", impl="warp")


@pytest.mark.parametrize(
    "name,config,message",
    [
        (
            "PointMass",
            {"ctrl_dt": 0.005},
            "ctrl_dt: need ctrl_dt .* multiple of sim_dt, got ctrl_dt=0.005 and sim_dt=0.02",
        ),
        ("PointMassHard", {"ctrl_dt": 0.03}, "ctrl_dt: need ctrl_dt .* multiple of sim_dt"),
        ("PendulumSwingup", {"sim_dt": 0.05}, "sim_dt: need ctrl_dt .* multiple of sim_dt"),
        ("PointMass", {"sim_dt": 0.0}, "sim_dt: need a number above 0, got 0.0"),
        ("PointMass", {"ctrl_dt": "fast"}, "ctrl_dt: need a number above 0, got 'fast'"),
        ("PointMass", {"njmax": 1}, "njmax: env 'playground/PointMass' has ctrl_dt, sim_dt$"),
        ("PointMass", {"naconmax": 1}, "naconmax: env"),
    ],
)
def test_configurations_without_physics_are_named_in_one_line(name, config, message):
    with pytest.raises(ValueError, match=rf"^env_kwargs\.{message}"):
        make_env(f"playground/{name}", **config)


def test_times_that_the_physics_divides_are_taken():
    assert load_playground("PointMass", ctrl_dt=0.06).n_substeps == 3
    assert load_playground("PendulumSwingup", sim_dt=0.002).n_substeps == 10


def test_a_split_is_that_of_training_unless_tasks_are_given():
    name, tasks, held_out = "playground/Meta12x2", {"tasks": TWO}, {"split": "heldout"}
    assert split_of(name, {}) == "train" and split_of(name, held_out) == "heldout" and split_of(name, tasks) is None
    assert overlap(name, {}, name, held_out) is None
    assert "trained with split=all," in overlap(name, {"split": "all"}, name, held_out)
    assert "trained with env_kwargs.tasks," in overlap(name, tasks, name, held_out)


@pytest.mark.slow
def test_the_meta_environment_keeps_the_protocol():
    report = check(make_meta12x2(tasks=TWO), num_envs=2, num_steps=8)
    assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_all_tasks_of_a_split_can_be_traced(split):
    env = make_meta12x2(split)
    _, state = jax.eval_shape(env.reset_env, jax.random.key(0), env.default_params)
    _, after, *_ = jax.eval_shape(env.step_env, jax.random.key(0), state, jnp.zeros(2), env.default_params)
    assert after == state


@pytest.mark.parametrize(
    "words",
    [
        ["env=playground/PendulumSwingup"],
        pytest.param(["env=playground/Meta12x2", f"env_kwargs.tasks=[{','.join(TWO)}]"], marks=pytest.mark.slow),
    ],
)
def test_trains(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", *words, *SMALL, "env_params.max_steps_in_episode=5", "total_steps=32", "run_dir=run"]
    assert main(command) == 0
