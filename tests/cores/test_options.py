"""Options of cores have the same names for the same things, and the same types."""

from dataclasses import fields
from typing import get_type_hints

import equinox as eqx
import jax
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores import registry
from rlformers.cores.layers import NORMS, LayerNorm, NoNorm, RMSNorm, make_norm
from rlformers.cores.mlp import MLP
from rlformers.cores.stack import Residual

CONFIGS = {name: registry.load(name).Config for name in registry.built_in()}
# The name of an option, and the names that it must not have.
NAMES = {
    "ffn_ratio": "ff_mult ffn_mult ffn_size mlp_ratio hidden_ratio feed_forward",
    "expand": "expansion expand_ratio inner_ratio",
    "norm": "rmsnorm layernorm prenorm pre_norm norm_type do_norm use_norm",
    "heads": "num_heads n_heads",
    "head_size": "head_dim d_head dim_head",
    "state_size": "d_state state_dim hidden_size",
    "conv_size": "d_conv conv_width kernel_size",
    "memory": "window window_size mem_len memory_length context",
    "chunk": "chunk_size",
    "decay": "gated forget",
    "scan": "scan_impl method",
    "an option of the model": "final_norm width num_layers depth activation_dtype compute_dtype",
}


def test_a_thing_has_one_name():
    forbidden = {name: thing for thing, names in NAMES.items() for name in names.split()}
    found = {(core, field.name) for core, schema in CONFIGS.items() for field in fields(schema)}
    assert {(core, name, forbidden[name]) for core, name in found if name in forbidden} == set()


def test_a_name_has_one_type():
    kinds = {}
    for schema in CONFIGS.values():
        for name, kind in get_type_hints(schema).items():
            kinds.setdefault(name, set()).add(kind)
    kinds.pop("thetas", None)  # a property
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}
    assert kinds["ffn"] == {str}  # the kind; its width is ffn_ratio
    assert kinds["ffn_ratio"] == {float}


WITH_NORM = [name for name, schema in CONFIGS.items() if "norm" in get_type_hints(schema)]


@pytest.mark.parametrize("name", WITH_NORM)
def test_norm_is_layer_or_rms_or_none(name):
    """Every core with layers on a residual path has the option and obeys it."""
    options = {"positions": "none"} if name == "transformer" else {}
    with pytest.raises(ValueError, match="core.norm: 'rmsnorm' is none of layer, rms, none"):
        CONFIGS[name](norm="rmsnorm")

    def first(kind):
        core = jax.eval_shape(lambda key: make_core(name, 8, key=key, norm=kind, **options), jax.random.key(0))
        layer = core.blocks[0] if hasattr(core, "blocks") else core.layers[0]
        parts = [getattr(layer, part, None) for part in ("norm", "norm1", "norm2", "norm_ffn", "norm_1", "norm_2")]
        return {type(part) for part in parts if part is not None}

    assert [first(kind) for kind in NORMS] == [{LayerNorm}, {RMSNorm}, {NoNorm}]


def test_cores_on_a_residual_path_have_the_option():
    def residual(name):
        core = jax.eval_shape(lambda key: make_core(name, 8, key=key), jax.random.key(0))
        return any(isinstance(layer, Residual) for layer in getattr(core, "layers", ()))

    assert {name for name in CONFIGS if name != "stack" and residual(name)} <= set(WITH_NORM)


def test_a_residual_path_normalises_its_input():
    x = np.array([3.0, -1.0, 0.0, 2.0], np.float32)
    mlp = eqx.tree_at(lambda mlp: mlp.W.weight, MLP(4, key=jax.random.key(0)), jax.numpy.eye(4))
    inputs = {"layer": (x - 1) / 2.5**0.5, "rms": x / 3.5**0.5, "none": x}
    for kind in NORMS:
        layer = Residual(make_norm(kind, 4), mlp)
        _, y = layer.step(layer.initial_state(), jax.numpy.asarray(x), True)
        np.testing.assert_allclose(y, x + np.maximum(inputs[kind], 0), atol=1e-4)
