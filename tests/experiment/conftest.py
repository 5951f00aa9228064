"""A server for the tests of Weights & Biases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_stub import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    import wandb

    with Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            monkeypatch.setenv(name, str(tmp_path / name))
        wandb.teardown()  # it has read its settings
        yield server
        wandb.teardown()
