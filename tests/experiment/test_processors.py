"""Agents are divided among the cores of a processor, and nothing else changes."""

import subprocess
import sys

import jax
import pytest

from rlformers.experiment import processors

COUNT = "import jax; from rlformers.experiment.processors import use_processors as use; {}; print(jax.device_count())"


@pytest.mark.parametrize(
    "agents,cores,devices",
    [([8], 2, 2), ([8, 4], 2, 2), ([3], 2, None), ([3], 4, 3), ([8, 3], 2, None), ([1], 16, None), ([6], 4, 3)],
)
def test_the_same_number_of_agents_for_each_core(agents, cores, devices, monkeypatch):
    updates = []
    monkeypatch.setattr(processors, "num_cores", lambda: cores)
    monkeypatch.setattr(jax.config, "update", lambda *update: updates.append(update))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    processors.use_processors(agents)
    assert updates == ([("jax_num_cpu_devices", devices)] if devices else [])
    for name, value in {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}.items():
        updates.clear()
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            processors.use_processors(agents)
        assert not updates, name  # the user has said it


def test_it_comes_before_anything_is_computed():
    def count(program: str) -> int:
        fake = "import rlformers.experiment.processors as p; p.num_cores = lambda: 2; "
        command = [sys.executable, "-c", fake + COUNT.format(program)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert count("use([4])") == 2
    assert count("import rlformers.cli, rlformers.multirun; use([4])") == 2
    assert count("jax.numpy.zeros(1); use([4])") == 1
