"""Agents learn what they must, and nothing that needs a memory they lack; of 3 seeds the worst and the best count."""

import pytest

from rlformers.config.compose import compose
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.train import train

pytestmark = pytest.mark.slow


def final_returns(tmp_path, *overrides):
    config = compose([*overrides, "seeds=3", "wandb.mode=disabled", f"run_dir={tmp_path / 'run'}"])
    return train(config, create_run_dir(config))["final_return"]["per_seed"]


@pytest.mark.parametrize("core", ["gru", "lstm", "s5", "gtrxl"])
def test_repeat_previous(core, tmp_path):
    assert min(final_returns(tmp_path, f"core={core}", "total_steps=6e5")) >= 0.9


def test_repeat_previous_in_bfloat16(tmp_path):
    assert min(final_returns(tmp_path, "core=gru", "model.compute_dtype=bfloat16", "total_steps=6e5")) >= 0.9


def test_repeat_previous_needs_memory(tmp_path):
    assert max(final_returns(tmp_path, "core=mlp", "total_steps=6e5")) <= -0.2


@pytest.mark.parametrize("core", ["gru", "gtrxl"])
def test_tmaze(core, tmp_path):
    assert min(final_returns(tmp_path, f"core={core}", "experiment=tmaze")) >= 0.95


def test_memory_chain(tmp_path):
    assert min(final_returns(tmp_path, "experiment=memory_chain")) >= 0.95


def test_pendulum(tmp_path):
    assert min(final_returns(tmp_path, "experiment=pendulum")) >= 0.8
