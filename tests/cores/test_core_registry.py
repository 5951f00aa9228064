"""Finding, configuring and adding cores."""

import importlib.metadata
import itertools
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rlformers
from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.cores import gru, mlp, registry
from rlformers.cores.options import check_size
from rlformers.cores.stack import Stack

KEY = jax.random.key(0)


@dataclass(frozen=True)
class EchoConfig:
    loudness: float = 1.0
    times: tuple[int, ...] = ()
    words: dict[str, int] | None = None


def make_echo(config, width, num_layers, key):
    return Stack(tuple(mlp.MLP(width, key=key) for _ in range(num_layers)), loops=int(config.loudness))


ECHO = SimpleNamespace(Config=EchoConfig, make=make_echo)


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture
def plugins(monkeypatch):
    """Install entry points: name -> value."""

    def install(*names, **values):
        points = [importlib.metadata.EntryPoint(*name, "rlformers.cores") for name in (*names, *values.items())]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)

    return install


NUMBERS = itertools.count()


@pytest.fixture
def plugin(plugins, monkeypatch, tmp_path):
    """Install the core `broken` with this source code; the name of its module."""

    def install(source):
        module = f"a_plugin_{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        plugins(broken=module)
        return module

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
    with pytest.raises(ValueError, match=r"core.hidden: core 'lstm' has no such option; need one of forget_bias"):
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
        ("s5", {"state_size": 0}, "core.state_size: need at least 1, got 0"),
        ("s5", {"blocks": 0}, "core.blocks: need at least 1, got 0"),
        ("s5", {"dt_min": 1.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 1.0 and 0.1"),
        ("s4d", {"dt_min": 0.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 0.0 and 0.1"),
        ("gtrxl", {"gate": "lstm"}, "core.gate: 'lstm' is none of gru, input"),
        ("gtrxl", {"heads": 5}, "core.heads: width 8 is not divisible by heads=5"),
        ("transformer", {"heads": 5}, "core.heads: width 8 is not divisible by heads=5"),
        ("linear_attention", {"heads": 5}, "core.heads: width 8 is not divisible by heads=5"),
        ("deltanet", {"heads": 5}, "core.heads: width 8 is not divisible by heads=5"),
        ("slstm", {"heads": 8}, "core.heads: need at least 2 units per head, got 8 heads with 1 each"),
        ("mlstm", {"heads": 16}, "core.heads: need at least 2 units per head, got 16 heads with 1 each"),
        ("lru", {"r_max": 0.99999999}, "core.r_max: need more than 0.001 and at most 0.999999, got 0.99999999"),
        # Types
        ("s5", {"state_size": "8"}, "core.state_size: need an int, got '8'"),
        ("s5", {"state_size": 8.0}, "core.state_size: need an int, got 8.0"),
        ("s5", {"state_size": True}, "core.state_size: need an int, got True"),
        ("s5", {"state_size": None}, "core.state_size: need an int, got None"),
        ("s5", {"conj_sym": 1}, "core.conj_sym: need true or false, got 1"),
        ("s5", {"scan": 1}, "core.scan: need a string, got 1"),
        ("gtrxl", {"memory": 8.5}, "core.memory: need an int, got 8.5"),
        ("lstm", {"forget_bias": "x"}, "core.forget_bias: need a float, got 'x'"),
        ("lstm", {"forget_bias": True}, "core.forget_bias: need a float, got True"),
        ("lstm", {"forget_bias": 10**400}, "core.forget_bias: need a finite number, got 1000"),
        ("slstm", {"ffn_ratio": float("inf")}, "core.ffn_ratio: need a finite number, got inf"),
        ("spiking_lmuformer", {"tau": float("nan")}, "core.tau: need a finite number, got nan"),
        ("transformer", {"memory_per_layer": 3}, "core.memory_per_layer: need a list [...] of ints, got 3"),
        ("transformer", {"memory_per_layer": "3"}, "core.memory_per_layer: need a list [...] of ints, got '3'"),
        ("transformer", {"memory_per_layer": (3.0,)}, "core.memory_per_layer: need a list [...] of ints, got (3.0,)"),
        ("gru", {"width": 0}, "model.width: need at least 1, got 0"),
        ("gru", {"num_layers": 0}, "model.num_layers: need at least 1, got 0"),
        ("gru", {"num_layers": True}, "model.num_layers: need an int, got True"),
    ],
)
def test_bad_values_name_the_key(name, options, message):
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(lambda key: rlformers.make_core(name, **({"width": 8} | options), key=key), KEY)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", ["8", 8.0, None])
def test_sizes_are_ints(size):
    with pytest.raises(ValueError, match=f"model.width: need an int, got {size!r}"):
        check_size("model.width", size)
    assert check_size("model.width", np.int32(8)) == 8


def numeric_options():
    for name in registry.built_in():
        config = registry.load(name).Config
        yield from (
            (name, field.name) for field in fields(config) if get_type_hints(config)[field.name] in (int, float)
        )


@pytest.mark.parametrize(("name", "option"), numeric_options())
def test_zero_and_less_are_refused_or_mean_something(name, option):
    """Before anything is compiled, so a core that was made can be traced."""
    for value in (0, -1):
        try:
            core = jax.eval_shape(
                lambda key, value=value: rlformers.make_core(name, 8, key=key, **{option: value}), KEY
            )
        except ValueError as error:
            assert str(error).startswith("core.")
            continue
        state = jax.eval_shape(lambda core: core.initial_state(), core)
        xs, starts = jax.ShapeDtypeStruct((3, 8), jnp.float32), jax.ShapeDtypeStruct((3,), bool)
        _, ys = jax.eval_shape(lambda core, *inputs: core.scan(*inputs), core, state, xs, starts)
        assert ys.shape == (3, 8)


@pytest.mark.parametrize("name", ["mingru", "transformer", "linear_attention", "deltanet"])
def test_a_feed_forward_part_has_a_unit_however_small(name):
    core = jax.eval_shape(lambda key: rlformers.make_core(name, 8, key=key, ffn_ratio=0.001), KEY)
    assert core.layers[0].ffn.W_2.weight.shape == (1, 8)


def test_values_are_made_the_declared_type():
    made = registry.make_config("transformer", {"memory": np.int64(3), "memory_per_layer": [4], "ffn_ratio": 2})
    assert (made.memory, made.memory_per_layer, made.ffn_ratio) == (3, (4,), 2.0)
    assert [type(value) for value in (made.memory, made.memory_per_layer, made.ffn_ratio)] == [int, tuple, float]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["core=s5", "core.blocks=0"], "core.blocks: need at least 1, got 0"),
        (["core=s5", "core.state_size=0"], "core.state_size: need at least 1, got 0"),
        (["core=lru", "core.r_max=1.0"], "core.r_max: need more than 0.001"),
        (["core=spiking_lmuformer", "core.tau=nan"], "core.tau: need a finite number, got nan"),
    ],
)
def test_the_command_line_refuses_them_in_one_line(words, message, capsys):
    assert main(["train", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_register_core(own_registry):
    rlformers.register_core("echo", ECHO, paper="Ovid", summary="repeats")
    assert registry.entries()["echo"].paper == "Ovid"
    core = rlformers.make_core("echo", 8, 2, key=KEY, loudness=3, words={"a": 1})
    assert (len(core.layers), core.loops) == (2, 3)
    with pytest.raises(ValueError, match="core.volume: core 'echo' has no such option; need one of loudness"):
        rlformers.make_core("echo", 8, key=KEY, volume=1)
    for taken in ("echo", "gru"):
        with pytest.raises(ValueError, match=f"core: '{taken}' is already registered"):
            rlformers.register_core(taken, ECHO)
    rlformers.register_core("echo", ECHO, summary="repeats again", replace=True)
    assert registry.entries()["echo"].summary == "repeats again"
    with pytest.raises(ValueError, match="core: 'gru' is already registered, by rlformers itself"):
        rlformers.register_core("gru", ECHO, replace=True)
    for definition, message in (
        (SimpleNamespace(Config=EchoConfig, make=3), "TypeError: make must be a function, got 3"),
        (SimpleNamespace(Config=EchoConfig(), make=make_echo), "TypeError: Config must be a dataclass, got EchoConfig"),
    ):
        with pytest.raises(ValueError, match=f"core: 'other' cannot be registered: {message}"):
            rlformers.register_core("other", definition)


def test_plugins(plugins):
    plugins(module="rlformers.cores.gru", attribute=f"{__name__}:ECHO")
    assert {"module", "attribute", "gru"} <= set(registry.entries())
    assert registry.load("module") is gru
    assert registry.load("attribute").Config.__name__ == "EchoConfig"


def test_a_plugin_cannot_replace_a_built_in_core(plugins):
    plugins(mlp="rlformers.cores.gru")
    assert registry.load("mlp") is mlp


def test_names_that_are_taken_are_pointed_out(plugins, capsys):
    plugins(("mlp", "rlformers.cores.gru"), ("twice", "rlformers.cores.gru"), ("twice", "rlformers.cores.mlp"))
    assert registry.load("twice") is gru
    assert main(["list", "cores"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "core: 'mlp' from rlformers.cores.gru is ignored because a core of rlformers has that name",
        "core: 'twice' from rlformers.cores.mlp is ignored because a core from rlformers.cores.gru has that name",
    ]


def test_what_a_plugin_costs_is_counted(plugins, capsys):
    plugins(other="rlformers.cores.gru")
    assert main(["list", "cores"]) == 0
    rows = {line.split()[0]: line.split()[1:6] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["other"] == rows["gru"]
    assert main(["list", "cores", "oth"]) == 0
    listed = capsys.readouterr().out
    assert "\nother " in listed and "\ngru " not in listed
    assert main(["list", "cores", "nothing"]) == 2
    assert "list cores: no name begins with 'nothing'; cores are other, mlp" in capsys.readouterr().err


def test_a_slash_in_a_name_makes_a_family(plugins, capsys):
    plugins(("family/gru", "rlformers.cores.gru"), ("family/s5", "rlformers.cores.s5"))
    core = compose(["core=family/s5", "core.state_size=8"]).core
    assert (core.name, core.options["state_size"]) == ("family/s5", 8)
    assert main(["train", "core=family/gtrxl"]) == 2
    assert "core: 'family/gtrxl' is none of family/gru, family/s5, mlp" in capsys.readouterr().err
    assert main(["list", "cores"]) == 0
    listed = capsys.readouterr().out
    assert f"\nfamily/gru {'-':>18}" in listed
    assert "\nCosts of the cores family/...: rlformers list cores family\n" in listed
    assert main(["list", "cores", "family"]) == 0
    counted = capsys.readouterr().out
    assert f"\nfamily/gru {'64':>18}" in counted and "For what" not in counted


GOOD = """
from dataclasses import dataclass
import rlformers.cores.mlp

@dataclass(frozen=True)
class Config:
    size: int = (
        3  # of something
    )

make = rlformers.cores.mlp.make
"""
BROKEN = {
    "import nowhere": "ModuleNotFoundError: No module named 'nowhere'",
    "def make(:": "SyntaxError: invalid syntax",
    "raise RuntimeError('no GPU\\nat all')": "RuntimeError: no GPU",
    "1 / 0": "ZeroDivisionError: division by zero",
    "raise SystemExit('bye')": "SystemExit: bye",
    GOOD + "del make": "AttributeError: module",
    GOOD + "make = 3": "TypeError: make must be a function, got 3",
    GOOD
    + "def make(config, width): pass": "TypeError: make cannot be called as make(config, width, num_layers, key): too",
    GOOD + "class Config: pass": "TypeError: Config must be a dataclass, got <class",
    GOOD + "Config = Config()": "TypeError: Config must be a dataclass, got Config(size=3)",
    GOOD + "Config.__annotations__['size'] = 'Nowhere'": "NameError: name 'Nowhere' is not defined",
}


@pytest.mark.parametrize(("source", "error"), BROKEN.items(), ids=BROKEN.values())
def test_a_broken_plugin_is_named_in_one_line_and_harms_no_other_core(plugin, capsys, source, error):
    complaint = f"core: 'broken' cannot be loaded from '{plugin(source)}': {error}"
    assert compose(["core=gru"]).core.name == "gru"
    # If the plug-in's own code failed, the traceback leads there.
    inside = not source.startswith(GOOD)
    assert main(["train", "core=broken"]) == (1 if inside else 2)
    *traceback, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rlformers: {complaint}")
    assert any("a_plugin_" in text and ", line " in text for text in traceback) if inside else not traceback
    for words in (["list", "cores"], ["list", "cores", "width=8", "broken"]):
        assert main(words) == 0
        (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("broken "))
        assert complaint in line


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def make(config, width, num_layers, key): raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
        ("def make(config, width, num_layers, key): raise ValueError('odd\\nindeed')", "ValueError: odd"),
        (
            "def make(config, width, num_layers, key): pass",
            "TypeError: make must return an rlformers.Core, got NoneType",
        ),
    ],
)
def test_a_plugin_that_makes_no_core_is_named_in_one_line(plugin, capsys, source, error):
    plugin(GOOD + source)
    complaint = f"core: 'broken' cannot be made: {error}"
    with pytest.raises(ValueError) as caught:
        rlformers.make_core("broken", 8, key=KEY)
    assert str(caught.value) == complaint
    assert main(["list", "cores"]) == 0
    assert f"\nbroken {'-':>22}" in (listed := capsys.readouterr().out) and complaint in listed


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (
            "@dataclass\nclass Config:\n    def __post_init__(self): 1 / 0",
            "core: 'broken' cannot be configured: ZeroDivisionError: division by zero",
        ),
        ("@dataclass\nclass Config: size: type(make)", "core.size: core 'broken' needs a value"),
        ("@dataclass\nclass Config: size: int", "core.size: "),
    ],
)
def test_options_of_a_plugin_that_cannot_be_set_are_named_in_one_line(plugin, capsys, source, complaint):
    plugin(GOOD + source)
    assert compose(["core=gru"]).core.name == "gru"
    inside = "1 / 0" in source
    assert main(["train", "core=broken"]) == (1 if inside else 2)
    *traceback, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rlformers: {complaint}")
    assert "1 / 0" in "\n".join(traceback) if inside else not traceback, "\n".join(traceback)


def test_a_plugin_that_fails_while_it_runs_is_listed_with_its_error(plugin, capsys):
    step = "def step(self, state, x, start): raise KeyError('w')"
    core = f"class Core(rlformers.cores.core.Core):\n    def initial_state(self): return ()\n    {step}\n"
    plugin(GOOD + core + "make = lambda config, width, num_layers, key: Core()")
    assert main(["list", "cores"]) == 0
    assert "core: 'broken' cannot be measured: KeyError: 'w'" in capsys.readouterr().out


def test_help_shows_the_notes_of_fields_over_several_lines(plugin, capsys):
    plugin(GOOD)
    assert main(["list", "keys", "core=broken"]) == 0
    assert main(["list", "keys", "core=ffm"]) == 0
    shown = capsys.readouterr().out
    for words in ("core.size int 3 of something", "core.max_period float 1024.0 longest period, in tokens"):
        assert any(" ".join(line.split()).startswith(words) for line in shown.splitlines())
