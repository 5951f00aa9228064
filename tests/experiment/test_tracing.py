"""`train` traces an update before a run directory exists, and says which rule of a protocol is broken."""

import jax.numpy as jnp
import pytest
import users_code
from users_code import Memory, Sound, core, masked, raising, step_that

from rlformers import register_core, register_env
from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.cores import registry as cores
from rlformers.envs import registry as envs
from rlformers.experiment.program.build import check

SMALL = ["ppo.num_envs=2", "ppo.num_steps=4", "ppo.num_minibatches=1", "model.width=8", "total_steps=8"]
POINTS = {
    "states": "states keep their shapes and dtypes",
    "ends": "reward, terminated and truncated are float32, bool and bool scalars",
    "obs": "observations have the shapes and dtypes of their space",
}


@pytest.fixture(autouse=True)
def registries(monkeypatch, tmp_path):
    """Forgets what a test registers; nothing may be written."""
    monkeypatch.setattr(envs, "_entries", dict(envs._entries))
    monkeypatch.setattr(cores, "_entries", dict(cores._entries))
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


ENVIRONMENTS = {
    "four values": (step_that(lambda obs, state, reward, done, info: (obs, state, reward, done)), "4 values"),
    "six values": (step_that(lambda *values: (*values, {})), "6 values"),
    "no dict": (step_that(lambda *values: (*values[:4], 0)), "5 values, the last int32[]"),
    "state of another type": (
        step_that(lambda obs, state, *rest: (obs, users_code.State(state.time * 1.0), *rest)),
        f"{POINTS['states']}: state.time is int32[] at reset, float32[] after a step",
    ),
    "state of another structure": (step_that(lambda obs, state, *rest: (obs, state.time, *rest)), POINTS["states"]),
    "observation of another shape": (
        step_that(lambda obs, *rest: (obs[:2], *rest)),
        f"{POINTS['obs']}: observation of step_env is float32[2], space has float32[3]",
    ),
    "observation of another type": (step_that(lambda obs, *rest: (obs.astype("float16"), *rest)), POINTS["obs"]),
    "reward of another shape": (
        step_that(lambda obs, state, reward, *rest: (obs, state, reward[None].repeat(2), *rest)),
        f"{POINTS['ends']}: reward is float32[2], need float32[]",
    ),
    "terminated is a number": (
        step_that(lambda obs, state, reward, done, info: (obs, state, reward, done * 1.0, info)),
        f"{POINTS['ends']}: terminated is float32[], need bool[]",
    ),
    "observations unlike their space": (
        users_code.faulty(observation_space=lambda self, params: users_code.Box(-1.0, 1.0, (4,), jnp.float32)),
        f"{POINTS['obs']}: observation of reset",
    ),
    "a mask of three for two actions": (masked(3), "action_mask is bool[3], need bool[2]"),
}


@pytest.mark.parametrize("env,words", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_mistake_of_an_environment_is_one_line_that_names_the_point(env, words, capsys):
    register_env("mine/Env", env)
    assert main(["train", *SMALL, "env=mine/Env", "core=mlp"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rlformers: env: ") and words in line, line


def test_a_sound_environment_passes(capsys):
    register_env("mine/Sound", Sound)
    check(compose([*SMALL, "env=mine/Sound", "core=mlp"]))
    register_env("mine/Whole", step_that(lambda obs, state, reward, *rest: (obs, state, jnp.ones((), int), *rest)))
    check(compose([*SMALL, "env=mine/Whole", "core=mlp"]))  # rewards may be whole numbers
    register_env("mine/Masked", masked(2))
    check(compose([*SMALL, "env=mine/Masked", "core=mlp"]))


def test_an_environment_of_evaluations_is_traced_too(capsys):
    class Twice(Sound):
        """An environment that is broken in one way."""

        def __init__(self, broken: bool = False):
            self.broken = broken

        def step_env(self, key, state, action, params):
            return Sound.step_env(self, key, state, action, params)[: 4 if self.broken else 5]

    register_env("mine/Twice", Twice)
    words = [*SMALL, "env=mine/Twice", "core=mlp", "eval.every=8"]
    check(compose(words))
    assert main(["train", *words, "eval.env_kwargs.broken=true"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rlformers: eval: env: 'mine/Twice': ") and "4 values" in line


CORES = {
    "another type": (
        lambda state, x, start: (Memory(state.h.astype("float16")), x),
        "state.h is float32[8] at reset, float16[8] after a step",
    ),
    "another shape": (lambda state, x, start: (Memory(state.h[:3]), x), "state.h is float32[8] at reset, float32[3]"),
    "no pair": (lambda state, x, start: x, "step must return a pair of state and output"),
    "a short output": (lambda state, x, start: (state, x[:3]), "output is float32[3], need float32[8]"),
}


@pytest.mark.parametrize("step,words", CORES.values(), ids=CORES)
def test_a_mistake_of_a_core_is_one_line(step, words, capsys):
    register_core("mine", core(step))
    assert main(["train", *SMALL, "core=mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rlformers: core: 'mine' cannot be stepped: ") and words in line


@pytest.mark.parametrize(
    "error", [ValueError("odd"), KeyError("w"), OSError("gone"), TypeError("no"), AssertionError()]
)
def test_what_code_of_a_user_raises_while_it_is_traced_keeps_its_traceback(error, capsys):
    def fail(state, x, start):
        raise error

    register_core("mine", core(fail))
    register_env("mine/Raising", raising(error))
    named = f"{type(error).__name__}: {error}".removesuffix(": ")
    for words, line in (
        (["core=mine"], f"rlformers: core: 'mine' cannot be stepped: {named}"),
        (["core=mlp", "env=mine/Raising"], f"rlformers: env: 'mine/Raising': reset and step can be traced: {named}"),
    ):
        assert main(["train", *SMALL, *words]) == 1
        *traceback, last = capsys.readouterr().err.splitlines()
        assert last == line
        assert any("users_code.py" in text or "test_tracing.py" in text for text in traceback)
    assert main(["check", "mine/Raising"]) == 1
    captured = capsys.readouterr()
    assert "FAIL  reset and step can be traced" in captured.out and "users_code.py" in captured.err


@pytest.mark.parametrize(
    "words,refused",
    [
        (["ppo.num_envs=4", "ppo.num_steps=1", "ppo.num_minibatches=4"], True),
        (["ppo.num_envs=1", "ppo.num_steps=4", "ppo.bptt_length=1", "ppo.num_minibatches=4"], True),
        (["ppo.num_envs=1", "ppo.num_steps=1", "ppo.num_minibatches=1"], True),
        (["ppo.num_envs=2", "ppo.num_steps=4", "ppo.burn_in=3", "ppo.num_minibatches=2"], True),
        (["ppo.num_envs=4", "ppo.num_steps=1", "ppo.num_minibatches=2"], False),
        (["ppo.num_envs=4", "ppo.num_steps=1", "ppo.num_minibatches=4", "ppo.normalize_advantages=false"], False),
    ],
)
def test_settings_with_which_nothing_can_be_learned_are_refused(words, refused, capsys):
    assert main(["train", "--dry-run", "core=mlp", "total_steps=64", *words]) == (2 if refused else 0)
    error = capsys.readouterr().err
    assert ("nothing would be learned" in error and "ppo.normalize_advantages=false" in error) == refused
    assert error.count("\n") == refused
