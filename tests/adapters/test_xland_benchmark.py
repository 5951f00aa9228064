"""Rulesets of a file of xminigrid's."""

import bz2
import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("xminigrid", reason="pip install 'rlformers[xland]'")

from xminigrid.benchmarks import load_benchmark_from_path, save_bz2_pickle
from xminigrid.types import RuleSet

from rlformers.envs.adapters.xland_benchmark import Benchmark
from rlformers.envs.registry import make_env


def rulesets(num=8, tiles=3, array=jnp.asarray):
    """Hold an object of the kinds 3 .. 10, which lies there beside another one, padded."""
    kinds = 3 + np.arange(num) % 8
    goals = np.zeros((num, 5), np.uint8)
    goals[:, 0], goals[:, 1], goals[:, 2] = 1, kinds, 1 + np.arange(num) // 8
    init = np.zeros((num, tiles, 2), np.uint8)
    init[:, 0], init[:, 1] = goals[:, 1:3], (3, 9)
    parts = {"goals": goals, "rules": np.zeros((num, 2, 7), np.uint8), "init_tiles": init}
    return {name: array(part) for name, part in parts.items()} | {"num_rules": array(np.zeros(num, np.int32))}


@pytest.fixture
def file(tmp_path):
    save_bz2_pickle(rulesets(), str(tmp_path / "some"))
    return str(tmp_path / "some")


@pytest.mark.parametrize("array", [jnp.asarray, np.asarray])
def test_rulesets_are_those_that_the_package_reads(tmp_path, array):
    path = str(tmp_path / "some")
    save_bz2_pickle(rulesets(16, array=array), path)
    ours, theirs = Benchmark(path, "all").rulesets, load_benchmark_from_path(path)
    for number in range(16):
        expected = theirs.get_ruleset(number)
        for name in ("goal", "rules", "init_tiles"):
            np.testing.assert_array_equal(getattr(ours, name)[number], getattr(expected, name))


def test_a_quarter_of_the_rulesets_is_held_out(file):
    parts = {
        split: {tuple(goal) for goal in Benchmark(file, split).rulesets.goal} for split in ("all", "train", "heldout")
    }
    assert (len(parts["all"]), len(parts["train"]), len(parts["heldout"])) == (8, 6, 2)
    assert parts["train"] | parts["heldout"] == parts["all"]
    env, params = make_env("xland/XLand-MiniGrid-R1-9x9", raw=True, benchmark=file, split="heldout")
    drawn = jax.vmap(env.sample_task, (0, None))(jax.random.split(jax.random.key(0), 200), params)
    assert isinstance(drawn, RuleSet) and {tuple(goal) for goal in drawn.goal.tolist()} == parts["heldout"]


def test_trials_play_rulesets_of_the_file(file):
    env, params = make_env("xland/Meta-R1-9x9", raw=True, benchmark=file, split="train", episodes=2, max_steps=5)
    obs, state = jax.jit(env.reset)(jax.random.key(0), params)
    objects = np.asarray(state.env_state.inner.grid).reshape(-1, 2).tolist()
    assert state.task.init_tiles[0].tolist() in objects and [3, 9] in objects
    assert state.task.goal.tolist() in Benchmark(file, "train").rulesets.goal.tolist()
    for number in range(10):
        obs, state, _, terminated, _, _ = jax.jit(env.step)(jax.random.key(number), state, 0, params)
    assert bool(terminated) and obs["observation"]["tiles"].shape == (25,)


class Harmful:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"no archive", "need a file of xminigrid's rulesets"),
        (bz2.compress(pickle.dumps(Harmful())), r"system is no part of an array"),
        (bz2.compress(pickle.dumps([1])), "need goals, rules, init_tiles in .*, got list"),
        (bz2.compress(pickle.dumps({"goals": np.zeros((2, 5), np.uint8)})), "got goals"),
        (
            bz2.compress(pickle.dumps(rulesets() | {"goals": np.zeros((3, 5), np.uint8)})),
            "rules of .* as many as goals",
        ),
        (bz2.compress(pickle.dumps(rulesets() | {"rules": np.zeros((8, 2, 6), np.uint8)})), "rules of .* n x n x 7"),
        (bz2.compress(pickle.dumps(rulesets() | {"goals": np.zeros((8, 5))})), "goals of .* integers"),
        (bz2.compress(pickle.dumps(rulesets(tiles=60))), "need at most .* objects laid out"),
    ],
)
def test_other_files_are_refused(tmp_path, content, word):
    path = tmp_path / "some"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^env_kwargs\.benchmark: .*{word}") as error:
        make_env("xland/XLand-MiniGrid-R1-9x9", benchmark=str(path))
    assert "\n" not in str(error.value)


def test_impossible_arguments_are_named(file, tmp_path):
    hold = {"goal": [1, 3, 1, 0, 0], "rules": [[0] * 7], "init_tiles": [[3, 1]]}
    with pytest.raises(ValueError, match=r"env_kwargs\.benchmark: cannot be combined with env_kwargs\.ruleset"):
        make_env("xland/XLand-MiniGrid-R1-9x9", benchmark=file, ruleset=hold)
    with pytest.raises(ValueError, match=r"env_kwargs\.benchmark: .*No such file"):
        make_env("xland/XLand-MiniGrid-R1-9x9", benchmark=str(tmp_path / "none"))
    save_bz2_pickle(rulesets(2), file)
    with pytest.raises(ValueError, match=r"env_kwargs\.split: need more rulesets in .*, got 2"):
        make_env("xland/XLand-MiniGrid-R1-9x9", benchmark=file, split="heldout")
