"""memax's models as installed cores: they equal memax's own, and obey the laws of cores except for those listed."""

import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import law_cases
import pytest
import test_laws as laws

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.cores import registry

pytest.importorskip("memax", reason="pip install ./examples/plugin_memax")
pytest.importorskip("rlformers_memax", reason="pip install ./examples/plugin_memax")

PLUGIN = Path(__file__).parents[1]
PAGE = PLUGIN / "README.md"
POINTS = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]["rlformers.cores"]
NAMES = [name.removeprefix("memax/") for name in POINTS]

LAWS = {
    "step equals scan": [partial(laws.test_step_equals_scan, pattern=pattern) for pattern in law_cases.STARTS],
    "chain": [laws.test_chain],
    "start forgets": [partial(laws.test_start_forgets, form=form) for form in law_cases.FORMS],
    "causal": [partial(laws.test_causal, form=form) for form in law_cases.FORMS],
    "window": [laws.test_window],  # of those that have one
    "vmapped equals looped": [laws.test_vmapped_equals_looped],
    "gradient of scan equals gradient of loop": [laws.test_gradient_of_scan_equals_gradient_of_loop],
    "gradients are finite over 1024 tokens": [
        lambda setup: laws.test_gradients_are_finite_over_1024_tokens(setup.case.row)
    ],
    "state keeps shape and dtype": [laws.test_state_keeps_shape_and_dtype],
    "every leaf is an array": [laws.test_every_leaf_is_an_array],
    "output is independent of the length": [laws.test_output_is_independent_of_the_length],
    "prepare changes nothing": [laws.test_prepare_changes_nothing_while_the_parameters_stay],
}
# Which models break a law, and by how much. README.md has the same lines with the reasons.
BROKEN = {
    ("NMax", "step equals scan"): "0.49 of the largest output",
    ("NMax", "chain"): "0.020 of the largest output",
    ("NMax", "gradient of scan equals gradient of loop"): "0.34 of the largest derivative",
    ("NMax", "gradients are finite over 1024 tokens"): "NaN",
    ("DLSE", "step equals scan"): "0.25 of the largest output",
    ("DLSE", "chain"): "0.072 of the largest output",
    ("DLSE", "gradient of scan equals gradient of loop"): "1.1 of the largest derivative",
}


def test_every_model_is_a_core_and_imports_neither_memax_nor_jax():
    program = (
        "import sys; from rlformers.command.main import main; from rlformers.config.compose import compose\n"
        "main(['list', 'cores'])\n"
        "assert not {'jax', 'memax'} & set(sys.modules); compose(['core=memax/GDN'])\n"
        "assert 'memax' not in sys.modules"
    )
    listing = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert listing.returncode == 0, listing.stderr
    assert set(re.findall(r"^memax/(\S+) ", listing.stdout, re.M)) == set(NAMES)
    assert "\nCosts of the cores memax/...: rlformers list cores memax\n" in listing.stdout


def test_options():
    config = compose(["core=memax/DeltaProduct", "core.rank=2"])
    assert (config.core.name, config.core.options) == ("memax/DeltaProduct", {"recurrent_size": 0, "rank": 2})
    for words, message in (
        (["core=memax/GDN", "core.recurrent_size=-1"], "core.recurrent_size: need at least 0, got -1"),
        (["core=memax/Stack", "core.window_size=0"], "core.window_size: need at least 1, got 0"),
        (["core=memax/GRU", "core.recurrent_size=3"], "core.recurrent_size: unknown key of this core"),
        (["core=memax/GTrXL"], "core: 'memax/GTrXL' is none of"),
    ):
        with pytest.raises(ValueError, match=message):
            compose(words)
    with pytest.raises(ValueError, match="model.width: need an even number for core=memax/Attention-RoPE, got 7"):
        registry.make_core("memax/Attention-RoPE", 7, key=jax.random.key(0))


def test_the_page_lists_what_is_broken():
    rows = re.findall(r"^\| `memax/([^`]*)` \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text(), re.M)
    assert {(name, law): measured for name, law, measured in rows} == BROKEN
    assert len(rows) == len(BROKEN)
    assert {(name, law) for name, law in BROKEN} <= {(name, law) for name in NAMES for law in LAWS}


def marked(name, law):
    marks = [pytest.mark.slow, pytest.mark.xdist_group(f"memax-{name}")]
    if (name, law) in BROKEN:
        marks.append(pytest.mark.xfail(strict=True, raises=AssertionError))
    return pytest.param(name, law, marks=marks, id=f"{name}-{law}")


WINDOWS = {"Stack": 3, "Attention": 19, "Attention-RoPE": 19, "Attention-ALiBi": 19}  # tokens, by default
CASES = [(name, law) for name in NAMES for law in LAWS if law != "window" or name in WINDOWS]


@pytest.mark.parametrize(("name", "law"), [marked(*case) for case in CASES])
def test_law(name, law):
    setup = law_cases.build(law_cases.Case(f"memax/{name}", depth=1))
    assert setup.core.window == WINDOWS.get(name)
    for check in LAWS[law]:
        check(setup)


# One quick model of each of memax's two kinds.
QUICK = ("LinearRNN", "Elman")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NAMES])
def test_the_model_is_memaxs(name):
    """Parameters, outputs and states are the same as memax's own for the same key."""
    from memax.equinox.models.residual import ResidualModel
    from memax.equinox.semigroups.dlse import DLSE
    from memax.equinox.train_utils import get_residual_memory_model

    key, D = jax.random.key(0), 16
    xs, starts = jax.random.normal(jax.random.key(1), (20, D)), jax.random.bernoulli(jax.random.key(2), 0.2, (20,))
    if name == "DLSE":
        theirs = ResidualModel(DLSE, D, D, D, key=key)
    else:
        theirs = get_residual_memory_model(name, D, D, D, key=key, model_kwargs={})
    hs, expected = theirs(theirs.initialize_carry(), (xs, starts))

    ours = registry.make_core(f"memax/{name}", D, 2, key=key)
    law_cases.assert_same(ours, [leaf for leaf in jax.tree.leaves(theirs) if isinstance(leaf, jax.Array)])
    state, ys = law_cases.SCAN(ours, ours.initial_state(), xs, starts)
    law_cases.assert_close(ys, expected, 1e-6)
    for layer, (theirs_layer, _) in zip(state.layers, theirs.latest_recurrent_state(hs), strict=True):
        law_cases.assert_close(layer, theirs_layer, 1e-6)

    other = registry.make_core(f"memax/{name}", D, 2, key=jax.random.key(3))
    assert jax.tree.structure(other) == jax.tree.structure(ours)
    assert hash(other.rest) == hash(ours.rest)


def test_no_model_is_missing():
    from memax.equinox.train_utils import get_residual_memory_models

    known = get_residual_memory_models(4, 4, 4, 1, key=jax.random.key(0), model_kwargs={})
    assert set(NAMES) == set(known) - {"MLP"} | {"DLSE"}


@pytest.mark.slow
def test_trains(tmp_path):
    small = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "total_steps=128", "wandb.mode=disabled"]
    assert main(["train", "core=memax/Elman", "seeds=2", f"run_dir={tmp_path / 'run'}", *small]) == 0
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_state_of_nan_is_forgotten_in_both_forms():
    """memax resets by a product, which would keep it."""
    core = registry.make_core("memax/LinearRNN", 8, key=jax.random.key(0))
    poisoned = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), core.initial_state())
    for run in law_cases.FORMS.values():
        _, ys = run(core, poisoned, jnp.ones((3, 8)), jnp.array([False, True, False]))
        assert jnp.isnan(ys[0]).all() and jnp.isfinite(ys[1:]).all()
