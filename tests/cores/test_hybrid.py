"""Stacks of several cores: their layers, and which options they accept and refuse."""

import jax
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core
from rlformers.config.compose import compose, load, to_yaml

KEY = jax.random.key(0)


def test_the_pattern_is_repeated_bottom_first():
    options = {"lru": {"state_size": 4, "norm": "none"}, "transformer": {"positions": "sinusoidal", "heads": 2}}
    core = make_core("stack", 8, 2, key=KEY, layers=("gru", "lru", "transformer"), options=options)
    assert [type(layer).__name__ for layer in core.layers] == ["GRU", "Residual", "AbsolutePositions", "Stack"] * 2
    assert core.layers[1].core.nu_log.shape == (4,)
    assert not np.array_equal(core.layers[0].U, core.layers[4].U)
    xs, starts = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32), np.arange(9) == 5
    state, ys = scan(core, core.initial_state(), xs, starts)
    for layer, empty, last in zip(core.layers, core.initial_state().layers, state.layers, strict=True):
        new, xs = scan(layer, empty, xs, starts)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), new, last)
    np.testing.assert_allclose(ys, xs, atol=1e-5)


def test_the_command_line_sets_options_of_layers_and_the_file_holds_all(tmp_path):
    words = ["core=stack", "core.layers=[s5,gru]", "core.options.s5.state_size=12", "+core.options.s5.norm=none"]
    config = compose(words)
    assert config.core.options["layers"] == ("s5", "gru")
    s5 = config.core.options["options"]["s5"]
    assert (s5["state_size"], s5["norm"], s5["activation"]) == (12, "none", "half_glu1")
    assert compose([*words[:2], "core.options={s5: {state_size: 12, norm: none}}"]) == config
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config


def test_an_experiment_sets_what_the_command_line_leaves(tmp_path):
    stack = "{layers: [s5], options: {s5: {state_size: 4, blocks: 2}}}"
    (tmp_path / "own.yaml").write_text(f"core: gru\ncore_options: {{stack: {stack}}}\n")
    config = compose([f"experiment={tmp_path}/own.yaml", "core=stack", "core.options={s5: {state_size: 8}}"])
    s5 = config.core.options["options"]["s5"]
    assert (config.core.options["layers"], s5["state_size"], s5["blocks"]) == (("s5",), 8, 2)
    assert compose([f"experiment={tmp_path}/own.yaml"]) == compose(["core=gru"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["core.layers=[]"], "core.layers: need at least one core, got []"),
        (["core.layers=[gru,stack]"], "core.layers: a stack cannot contain 'stack'"),
        (["core.layers=[gruu]"], "core.layers: 'gruu' is none of mlp, gru, "),
        (["core.layers=gru"], "core.layers: need a list [...] of strings, got 'gru'"),
        (["core.options=3"], "core.options: need core.options.NAME=..., got '3'"),
        (["core.options.mamba=3"], "core.options.mamba: need key=value pairs, got 3"),
        (["core.options.gru.a=3"], "core.options.gru: need one of core.layers: mamba, transformer"),
        (
            ["core.options.mamba.expansion=3"],
            "core.options.mamba.expansion: core 'mamba' has no such option; need one of state_size, expand",
        ),
        (["core.options.mamba.expand=x"], "core.options.mamba.expand: need an int, got 'x'"),
        (["core.options.mamba.expand=0"], "core.options.mamba.expand: need at least 1, got 0"),
        (["core.layers=[lmu]", "core.options.lmu.learn_theta=true"], "core.options.lmu.learn_theta: core.options.lmu."),
        (["core=gru", "core.options.mamba.expand=1"], "core.options.mamba.expand: unknown key of this core, which has"),
        (["core=gru", "core.options={a: 1}"], "core.options: unknown key of this core, which has no options"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_one_line_that_names_the_key(words, message):
    with pytest.raises(ValueError) as caught:
        compose(words if words[0] == "core=gru" else ["core=stack", *words])
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_options_must_fit_the_width():
    with pytest.raises(ValueError, match="^core.options.gtrxl.heads: width 6 is not divisible by heads=4$"):
        make_core("stack", 6, key=KEY, layers=("gtrxl",))
