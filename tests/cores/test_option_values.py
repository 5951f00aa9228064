"""Values of the options of cores: what is refused, and in which words."""

from dataclasses import fields
from typing import get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rlformers
from rlformers.command.main import main
from rlformers.cores import registry
from rlformers.cores.options import check_size

KEY = jax.random.key(0)


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
