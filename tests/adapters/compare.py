"""What the tests of all adapters do: check the protocol, train for a moment."""

from pathlib import Path
from typing import Any

from rlformers.command.main import main
from rlformers.envs import check

TINY = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "wandb.mode=disabled"]


def assert_protocol(env: Any, num_steps: int = 32) -> None:
    """Our checker finds nothing."""
    report = check(env, num_envs=2, num_steps=num_steps)
    assert report.ok, str(report)


def assert_trains(env_id: str, folder: Path, *overrides: str) -> None:
    """PPO makes its two updates."""
    run = [f"run_dir={folder / 'run'}", "total_steps=32", "ppo.update_epochs=1"]
    assert main(["train", f"env={env_id}", *TINY, *run, *overrides]) == 0
    assert (folder / "run" / "summary.json").is_file()
