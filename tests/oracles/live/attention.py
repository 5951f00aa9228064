"""Transformers of torch and of transformers. Segments are longer than the window, which theirs have as a mask."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from vectors.common import KEY, put

from rlformers.cores.layers import LayerNorm, RMSNorm
from rlformers.cores.registry import make_core

from .common import B, Case, D, L, Ours, Theirs, fill, from_torch, of_layer, seeded_torch

H, M = 2, 5


def encoder(positions: str) -> tuple[Theirs, Ours]:
    """torch has no positions: alibi is part of the mask, sinusoids are added to the inputs."""
    torch = seeded_torch()
    block = torch.nn.TransformerEncoderLayer(D, H, 2 * D, dropout=0.0, activation="gelu", norm_first=True)
    model = torch.nn.TransformerEncoder(block, L, torch.nn.LayerNorm(D), enable_nested_tensor=False).double()

    def forward(x):
        t = np.arange(len(x))
        distances = t[:, None] - t
        slopes = 2.0 ** (-8 * np.arange(1, H + 1) / H) if positions == "alibi" else np.zeros(H)
        mask = np.where((distances >= 0) & (distances <= M), -slopes[:, None, None] * distances, -np.inf)
        if positions == "sinusoidal":
            angles = t[:, None] / 10000 ** (np.arange(0, D, 2) / D)
            x = x + torch.tensor(np.stack([np.sin(angles), np.cos(angles)], -1).reshape(-1, 1, D))
        return model(x, mask=torch.tensor(np.tile(mask, (B, 1, 1)))), {}

    def layer(p, i):
        p = of_layer(p, i)
        leaves = {"W_qkv__weight": p["self_attn.in_proj_weight"], "W_qkv__bias": p["self_attn.in_proj_bias"]}
        pairs = {"W_o": "self_attn.out_proj", "ffn__W_1": "linear1", "ffn__W_2": "linear2"}
        for ours, theirs in pairs.items():
            leaves |= {f"{ours}__{leaf}": p[f"{theirs}.{leaf}"] for leaf in ("weight", "bias")}
        for n in (1, 2):
            leaves |= {f"norm{n}__scale": p[f"norm{n}.weight"], f"norm{n}__bias": p[f"norm{n}.bias"]}
        return leaves

    def build(p):
        core = make_core("transformer", D, L, key=KEY, memory=M, heads=H, positions=positions)
        stack = core.layers[1] if positions == "sinusoidal" else core
        stack = fill(stack, partial(layer, p))
        return put(core, layers=(core.layers[0], stack)) if positions == "sinusoidal" else stack

    def norm(p):
        return put(LayerNorm(D), scale=p["norm.weight"], bias=p["norm.bias"])

    return from_torch(model, forward), Ours(build, norm=norm)


def qwen3() -> tuple[Theirs, Ours]:
    """With rope, RMSNorm, swiglu, normalised queries and keys, and heads that do not add up to the width."""
    seeded_torch()
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": D, "intermediate_size": 2 * D, "num_hidden_layers": L, "vocab_size": 4, "head_dim": 6}
    heads = {"num_attention_heads": H, "num_key_value_heads": H, "attn_implementation": "eager"}
    window = {"use_sliding_window": True, "sliding_window": M + 1, "max_window_layers": 0}  # theirs counts the token
    model = transformers.Qwen3Model(transformers.Qwen3Config(**sizes, **heads, **window, rms_norm_eps=1e-5))

    def forward(x):
        return model(inputs_embeds=x.swapaxes(0, 1), use_cache=False).last_hidden_state.swapaxes(0, 1), {}

    def layer(p, i):
        p = of_layer(p, i)
        q, k, v, W_o = (p[f"self_attn.{name}_proj.weight"] for name in "qkvo")
        W_a, W_b, W_2 = (p[f"mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
        leaves = {"W_qkv__weight": jnp.concatenate([q, k, v], 1), "W_o__weight": W_o}
        leaves |= {"ffn__W_1__weight": jnp.concatenate([W_a, W_b], 1), "ffn__W_2__weight": W_2}
        leaves |= {f"{name}__scale": p[f"self_attn.{name}.weight"] for name in ("q_norm", "k_norm")}
        norms = {"norm1": "input_layernorm", "norm2": "post_attention_layernorm"}
        return leaves | {f"{ours}__scale": p[f"{theirs}.weight"] for ours, theirs in norms.items()}

    def build(p):
        options = {"positions": "rope", "norm": "rms", "ffn": "swiglu", "qk_norm": True, "head_size": 6}
        core = make_core("transformer", D, L, key=KEY, memory=M, heads=H, **options)
        return fill(core, partial(layer, p))

    return from_torch(model, forward), Ours(build, norm=lambda p: put(RMSNorm(D), scale=p["norm.weight"]))


CASES = {
    "torch.nn.TransformerEncoder": Case(partial(encoder, "none"), x64=True),
    "torch.nn.TransformerEncoder, sinusoidal": Case(partial(encoder, "sinusoidal"), x64=True),
    "torch.nn.TransformerEncoder, alibi": Case(partial(encoder, "alibi"), x64=True),
    "transformers.Qwen3Model": Case(qwen3, x64=False),
}
