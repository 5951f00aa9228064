"""Finding, configuring and adding cores."""

import importlib.metadata
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import pytest

import rlformers
from rlformers.cores import gru, mlp, registry

KEY = jax.random.key(0)


@dataclass(frozen=True)
class EchoConfig:
    loudness: float = 1.0


ECHO = SimpleNamespace(Config=EchoConfig, make=lambda config, width, num_layers, key: (config, width, num_layers))


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture
def plugins(monkeypatch):
    """Install entry points: name -> value."""

    def install(**values):
        points = [importlib.metadata.EntryPoint(name, value, "rlformers.cores") for name, value in values.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)

    return install


def test_make_core_is_public():
    core = rlformers.make_core("gru", width=8, num_layers=3, key=KEY)
    assert isinstance(core, rlformers.Core)
    assert len(core.layers) == 3
    assert {"Core", "make_core", "register_core"} <= set(rlformers.__all__)


def test_unknown_core_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"core: 'gtrlx' is none of mlp, gru, .*did you mean 'gtrxl'\?"):
        registry.load("gtrlx")
    with pytest.raises(ValueError, match=r"core: '12345' is none of") as error:
        registry.load("12345")
    assert "did you mean" not in str(error.value)


def test_unknown_option_names_the_options():
    with pytest.raises(ValueError, match=r"core.hidden: core 'lstm' has forget_bias"):
        rlformers.make_core("lstm", 8, key=KEY, hidden=3)
    with pytest.raises(ValueError, match=r"core.hidden: core 'gru' has no options"):
        rlformers.make_core("gru", 8, key=KEY, hidden=3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("s5", {"activation": "gelo"}, "core.activation: 'gelo' is none of gelu, half_glu1"),
        ("s5", {"discretization": "euler"}, "core.discretization: 'euler' is none of zoh, bilinear"),
        ("s5", {"scan": "parallel"}, "core.scan: 'parallel' is none of auto, sequential, associative"),
        ("s5", {"state_size": 7}, "core.state_size: 7 is not divisible by core.blocks=1"),
        ("s5", {"dt_min": 1.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 1.0 and 0.1"),
        ("gtrxl", {"gate": "lstm"}, "core.gate: 'lstm' is none of gru, input"),
        ("gtrxl", {"heads": 5}, "core.heads: width 8 is not divisible by heads=5"),
    ],
)
def test_bad_values_name_the_key(name, options, message):
    with pytest.raises(ValueError, match=message):
        rlformers.make_core(name, 8, key=KEY, **options)


@pytest.mark.parametrize("argument", ["width", "num_layers"])
def test_sizes_are_positive(argument):
    with pytest.raises(ValueError, match=f"model.{argument}: need at least 1, got 0"):
        rlformers.make_core("gru", **({"width": 8, "num_layers": 1} | {argument: 0}), key=KEY)


def test_register_core(own_registry):
    rlformers.register_core("echo", ECHO, paper="Ovid", summary="repeats")
    assert registry.entries()["echo"].paper == "Ovid"
    assert rlformers.make_core("echo", 8, 2, key=KEY, loudness=3.0) == (EchoConfig(3.0), 8, 2)
    with pytest.raises(ValueError, match="core.volume: core 'echo' has loudness"):
        rlformers.make_core("echo", 8, key=KEY, volume=1)
    for taken in ("echo", "gru"):
        with pytest.raises(ValueError, match=f"core: '{taken}' is already registered"):
            rlformers.register_core(taken, ECHO)


def test_plugins(plugins):
    plugins(module="rlformers.cores.gru", attribute=f"{__name__}:ECHO")
    assert {"module", "attribute", "gru"} <= set(registry.entries())
    assert registry.load("module") is gru
    assert registry.load("attribute").Config.__name__ == "EchoConfig"


def test_a_plugin_cannot_replace_a_built_in_core(plugins):
    plugins(mlp="rlformers.cores.gru")
    assert registry.load("mlp") is mlp


@pytest.mark.parametrize(
    "target", ["no_such_package.core", "rlformers.cores.gru:no_such_attribute", "rlformers.cores.linear_scan"]
)
def test_a_broken_plugin_is_named_and_harms_no_other_core(plugins, target):
    plugins(broken=target)
    assert registry.load("gru") is gru
    with pytest.raises(ValueError, match=f"core: 'broken' cannot be loaded from '{target}'"):
        registry.load("broken")
