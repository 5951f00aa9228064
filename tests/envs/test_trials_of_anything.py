"""`trial.*`, `wrap.time_limit` and `wrap.projection.*`: trials of any environment, from the command line."""

import inspect
import json
from dataclasses import asdict

import jax
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.config.schema import TrialConfig
from rlformers.envs.environment import never_truncates
from rlformers.envs.registry import make_env, replace_params
from rlformers.envs.wrappers import TimeLimit
from rlformers.envs.wrappers.keys import INPUTS
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.trial import Trial
from rlformers.experiment.program.build import make_environment


def play(env, params, actions):
    """Observations (the first included), and per step reward, terminated, truncated and info."""

    def step(state, key_action):
        obs, state, *rest = env.step(key_action[0], state, key_action[1], params)
        return state, (obs, *rest)

    obs, state = env.reset(jax.random.key(0), params)
    keys = jax.random.split(jax.random.key(1), len(actions))
    _, (later, *rest) = jax.jit(lambda: jax.lax.scan(step, state, (keys, np.array(actions))))()
    return jax.tree.map(lambda first, others: np.concatenate([first[None], others]), obs, later), *rest


def test_a_time_limit_counts_the_decisions_and_truncates():
    env, params = make_env("gymnax/CartPole-v1", wrap={"time_limit": 3, "action_repeat": 2})
    _, reward, terminated, truncated, _ = play(env, params, [0, 1] * 3)
    assert truncated.tolist() == [False, False, True] * 2 and not terminated.any()
    assert reward.tolist() == [2.0] * 6
    env, params = make_env("memory/TMaze", wrap={"time_limit": 3, "truncation": "terminates"})
    _, _, terminated, truncated, _ = play(env, params, [0] * 6)
    assert terminated.tolist() == [False, False, True] * 2 and not truncated.any()


def test_a_projection_is_of_what_the_mask_leaves():
    keys = {"distribution": "gaussian", "observation_size": 7}
    env, params = make_env("gymnax/CartPole-v1", wrap={"mask": "velocities", "projection": keys})
    obs, *_ = play(env, params, [0, 1])
    assert obs.shape == (3, 7) and np.linalg.matrix_rank(obs) == 2
    projection = env.env
    assert isinstance(projection, RandomProjection) and projection.num_inputs == 2 and projection.project_actions
    env, _ = make_env("gymnax/CartPole-v1", wrap={"projection": {"distribution": None}})
    assert not isinstance(env.env, RandomProjection)


def test_a_trial_is_several_episodes_of_what_the_wrappers_make():
    config = compose(
        ["env=gymnax/CartPole-v1", "trial.episodes=2", "wrap.time_limit=3", "wrap.projection.distribution=orthogonal"]
    )
    env, params = make_env(config.env, wrap=asdict(config.wrap), trial=asdict(config.trial))
    obs, reward, terminated, truncated, info = play(env, params, [0, 1, 0] * 4)
    assert terminated.tolist() == ([False] * 5 + [True]) * 2 and not truncated.any() and never_truncates(env)
    assert obs.shape[1] == 4 + 2 + 1 + 1 + 1  # observation, action, reward, end of the episode, start of the trial
    assert obs[:, -1].tolist() == [1, 0, 0, 0, 0, 0] * 2 + [1]
    assert info["final_observation"][:, -2].tolist() == [0, 0, 1] * 4
    assert info["episode_attempt_return"][5].tolist() == [3, 3] and reward.tolist() == [1] * 12
    trial = env.env
    assert isinstance(trial, Trial) and isinstance(trial.env, RandomProjection) and isinstance(trial.env.env, TimeLimit)
    tasks = info["episode_task"]
    assert (tasks[:6] == tasks[0]).all() and (tasks[6:] == tasks[6]).all() and (tasks[0] != tasks[6]).any()


def test_a_trial_of_popgym_says_itself_what_it_shows():
    """Not a second previous action and start flag. The horizon of the bandit ends attempts only."""
    env, params = make_env("popgym/MultiarmedBanditEasy", trial={"steps": 4, "truncate": True})
    params = replace_params(params, env, max_steps_in_episode=3)
    obs, _, terminated, truncated, info = play(env, params, [0] * 8)
    assert obs.shape[1] == 2 + 10 + 1 + 1 + 1
    assert truncated.tolist() == [False] * 3 + [True] + [False] * 3 + [True] and not terminated.any()
    assert info["episode_attempt_count"].sum(1).tolist() == [0, 0, 1, 1] * 2
    inputs = {"steps": 4, "inputs": ["episode_end"], "inner_reset": "same"}
    env, params = make_env("popgym/LabyrinthEscapeEasy", trial=inputs, raw=True)
    assert set(env.observation_space(params).spaces) == {"observation", "episode_end"} and env.inner_reset == "same"


def test_the_keys_are_those_of_the_wrapper():
    parameters = inspect.signature(Trial).parameters
    assert TrialConfig().inputs == list(INPUTS) and set(vars(TrialConfig())) == set(parameters) - {"env"}
    for name, value in vars(TrialConfig()).items():
        assert list(parameters[name].default) == value if name == "inputs" else parameters[name].default == value
    assert make_env("memory/TMaze", trial=vars(TrialConfig()), raw=True)[0].__class__.__name__ == "TMaze"


@pytest.mark.parametrize(
    "words,line",
    [
        ("env=meta/DarkRoom trial.episodes=3", "trial.episodes: .* plays trials by itself; write env_kwargs.episodes"),
        ("env=meta/Harlow trial.inputs=[]", "trial.inputs: .* plays trials by itself; write env_kwargs.inputs"),
        ("env=memory/TMaze trial.truncate=true", "trial.truncate: there are no trials without trial.episodes"),
        ("env=memory/TMaze trial.inputs=[episode_end]", "trial.inputs: there are no trials without trial.episodes"),
        ("env=memory/TMaze trial.episodes=0", "trial.episodes: need an int of at least 1, got 0"),
        ("env=memory/TMaze trial.episodes=2 trial.truncate=true", "trial.truncate: need trial.steps"),
        ("env=memory/TMaze trial.steps=2 trial.inner_reset=never", "trial.inner_reset: need one of resample, same"),
        ("env=memory/TMaze trial.steps=2 trial.inputs=[reward]", "trial.inputs: need a list of any of previous_action"),
        ("env=memory/TMaze trial.attempts=2", "trial.attempts: unknown key"),
        ("env=memory/TMaze trial.episodes=many", "trial.episodes: need an int"),
        ("env=memory/TMaze wrap.time_limit=0", "wrap.time_limit: need at least 1, got 0"),
        ("env=memory/TMaze wrap.projection.observation_size=9", "wrap.projection.observation_size: there is nothing"),
        ("env=memory/TMaze wrap.projection.project_actions=false", "wrap.projection.project_actions: there is nothing"),
        ("env=memory/TMaze wrap.projection.distribution=cauchy", "wrap.projection.distribution: need one of orthog"),
        (
            "env=gymnax/CartPole-v1 wrap.projection.distribution=orthogonal wrap.projection.observation_size=2",
            "wrap.projection.observation_size: need at least 4, what the environment has, got 2",
        ),
        (
            "env=gymnax/CartPole-v1 wrap.projection.distribution=orthogonal wrap.projection.action_size=2",
            "wrap.projection.action_size: this environment has no continuous actions",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_key(words, line):
    with pytest.raises(ValueError, match=f"^{line}") as refused:
        make_environment(compose(words.split()))
    assert "\n" not in str(refused.value) and "env_kwargs" not in str(refused.value).replace("write env_kwargs", "")


def test_agents_are_trained_in_trials_and_evaluated_in_longer_ones(tmp_path):
    run = tmp_path / "run"
    words = ["env=memory/TMaze", "env_params.length=2", "trial.episodes=2", "ppo.num_envs=4", "ppo.num_steps=8"]
    words += ["ppo.num_minibatches=1", "model.width=8", "total_steps=64", "wandb.mode=disabled", f"run_dir={run}"]
    assert main(["train", *words]) == 0
    assert len(json.loads((run / "summary.json").read_text())["final_attempts"][0]) == 2
    for word, episodes in (("trial.episodes=3", 3), ("env_params.length=3", 2), ("trial.episodes=null", None)):
        name = f"{episodes}_episodes"
        changes = [word, "trial.steps=9"] if episodes is None else [word]
        assert main(["evaluate", str(run), "episodes=5", f"name={name}", *changes]) == 0
        result = json.loads((run / "evaluations" / f"{name}.json").read_text())
        assert result["trial"]["episodes"] == episodes
        returns = np.array(result["episodes"]["attempt_return"])
        assert returns.shape == (1, 5, episodes or 10)
        lengths = np.array(result["episodes"]["length"])
        assert (lengths == {3: 9, 2: 8, None: 9}[episodes]).all()
