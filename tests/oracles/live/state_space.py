"""Mamba of mambapy; Mamba-2 and the gated DeltaNet of transformers. Their states are those of their step forms."""

import jax.numpy as jnp
import pytest
from vectors.common import KEY, put

from rlformers.cores.deltanet import Config as DeltaNetConfig
from rlformers.cores.deltanet import DeltaNet
from rlformers.cores.layers import RMSNorm
from rlformers.cores.registry import make_core

from .common import B, Case, D, L, Ours, Theirs, fill, from_torch, of_layer, seeded_torch


def layer_of(p, i, names, **others):
    """The leaves of layer i: weights of these names, the convolution, the norm, and others."""
    p = of_layer(p, i)
    leaves = {f"core__{ours}__weight": p[f"mixer.{theirs}.weight"] for theirs, ours in names.items()}
    leaves |= {"core__conv__weight": p["mixer.conv1d.weight"][:, 0], "core__conv__bias": p["mixer.conv1d.bias"]}
    leaves |= {f"core__{ours}": p[f"mixer.{theirs}"] for ours, theirs in others.items()}
    return leaves | {"norm__scale": p["norm.weight"], "core__D": p["mixer.D"], "core__A_log": p["mixer.A_log"].T}


def mambapy() -> tuple[Theirs, Ours]:
    torch, module = seeded_torch(), pytest.importorskip("mambapy.mamba")
    N, K = 6, 3
    model = module.Mamba(module.MambaConfig(d_model=D, n_layers=L, d_state=N, d_conv=K))

    def forward(x):
        caches = [(None, torch.zeros(B, 2 * D, K - 1))] * L
        for token in x:
            _, caches = model.step(token, caches)
        h, conv = (torch.stack(leaves, 1) for leaves in zip(*caches, strict=True))
        return model(x.swapaxes(0, 1)).swapaxes(0, 1), {"h": h, "conv": conv}

    def build(p):
        core = make_core("mamba", D, L, key=KEY, state_size=N, conv_size=K)
        names = {"in_proj": "W_in", "x_proj": "W_x", "dt_proj": "W_dt", "out_proj": "W_out"}
        return fill(core, lambda i: layer_of(p, i, names, W_dt__bias="dt_proj.bias"))

    def state(ours):
        h, conv = (jnp.stack(leaves, 1) for leaves in zip(*((s.h, s.conv) for s in ours.layers), strict=True))
        return {"h": h, "conv": conv.swapaxes(-1, -2)}

    return from_torch(model, forward), Ours(build, state)


def states(transformers, config, model, name):
    """The recurrent states (as `name`) and past inputs of the convolutions, [B, L, ...], after the tokens x [B, n, D]
    one by one."""
    import torch

    @torch.no_grad()  # caches are changed in place
    def run(x):
        cache = transformers.DynamicCache(config=config)
        for token in x.split(1, 1):
            model(token, cache=cache)
        # Theirs hold the present input too.
        pairs = ((layer.recurrent_states[0], layer.conv_states[0][..., 1:]) for layer in cache.layers)
        return dict(zip((name, "conv"), (torch.stack(leaves, 1) for leaves in zip(*pairs, strict=True)), strict=True))

    return run


def mamba2() -> tuple[Theirs, Ours]:
    seeded_torch()
    transformers = pytest.importorskip("transformers")
    H, P, N, G, K = 8, 5, 6, 2, 3
    sizes = {"hidden_size": D, "num_hidden_layers": L, "vocab_size": 4, "num_heads": H, "head_dim": P, "state_size": N}
    config = transformers.Mamba2Config(**sizes, n_groups=G, conv_kernel=K, chunk_size=7)
    model = transformers.Mamba2Model(config)
    last = states(transformers, config, lambda x, cache: model(inputs_embeds=x, cache=cache, use_cache=True), "h")

    def forward(x):
        x = x.swapaxes(0, 1)
        return model(inputs_embeds=x).last_hidden_state.swapaxes(0, 1), last(x)

    def build(p):
        options = {"state_size": N, "head_size": P, "groups": G, "conv_size": K, "chunk": 8}
        core = make_core("mamba2", D, L, key=KEY, **options)

        def layer(i):
            leaves = layer_of(p, i, {"in_proj": "W_in", "out_proj": "W_out"}, dt_bias="dt_bias")
            return leaves | {"core__norm__scale": p[f"layers.{i}.mixer.norm.weight"].reshape(G, -1)}

        return fill(core, layer)

    def state(ours):
        h, conv = (jnp.stack(leaves, 1) for leaves in zip(*((s.h, s.conv) for s in ours.layers), strict=True))
        return {"h": h.swapaxes(-1, -2), "conv": conv.swapaxes(-1, -2)}

    def norm(p):
        return put(RMSNorm(D), scale=p["norm_f.weight"])

    return from_torch(model, forward), Ours(build, state, norm)


def gated_deltanet() -> tuple[Theirs, Ours]:
    """What stands on the residual path."""
    seeded_torch()
    transformers = pytest.importorskip("transformers")
    module = pytest.importorskip("transformers.models.qwen3_5.modeling_qwen3_5")
    H, K, V, taps = 2, 6, 12, 3
    heads = {"linear_num_key_heads": H, "linear_num_value_heads": H}
    sizes = {"linear_key_head_dim": K, "linear_value_head_dim": V, "linear_conv_kernel_dim": taps}
    rest = {"hidden_size": D, "num_hidden_layers": 1, "vocab_size": 4, "rms_norm_eps": 1e-5}
    config = transformers.Qwen3_5TextConfig(**heads, **sizes, **rest)
    model = module.Qwen3_5GatedDeltaNet(config, layer_idx=0)
    last = states(transformers, config, model, "S")

    def forward(x):
        x = x.swapaxes(0, 1)
        return model(x).swapaxes(0, 1), {name: a[:, 0] for name, a in last(x).items()}

    def build(p):
        core = DeltaNet(D, DeltaNetConfig(heads=H, head_size=K, expand=V // K, conv_size=taps, chunk=8), key=KEY)
        names = {"in_proj_qkv": "W_qkv", "in_proj_a": "W_alpha", "in_proj_b": "W_beta", "in_proj_z": "W_g"}
        names |= {"out_proj": "W_o"}
        leaves = {f"{ours}__weight": p[f"{theirs}.weight"].T for theirs, ours in names.items()}
        leaves |= {"W_alpha__bias": p["dt_bias"], "A_log": p["A_log"], "norm__scale": p["norm.weight"]}
        return put(core, **leaves, conv__weight=p["conv1d.weight"][:, 0].T)

    return from_torch(model, forward), Ours(build, lambda s: {"S": s.S, "conv": s.conv.swapaxes(-1, -2)})


# The selective parts of all three compute in float32 whatever the type of their inputs.
CASES = {
    "mambapy.mamba.Mamba": Case(mambapy, x64=False),
    "transformers.Mamba2Model": Case(mamba2, x64=False),
    "transformers.Qwen3_5GatedDeltaNet": Case(gated_deltanet, x64=False),
}
