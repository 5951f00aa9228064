"""Matrix memories: Mamba-2, linear attention, mLSTM."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from rlformers.cores.chunked import memory_scan
from rlformers.cores.linear_attention import Config as LinearAttentionConfig
from rlformers.cores.linear_attention import LinearAttention
from rlformers.cores.mamba2 import Config as Mamba2Config
from rlformers.cores.mamba2 import Mamba2
from rlformers.cores.mlstm import NEVER, Memory, mlstm_scan

from .common import FORMS, KEY, Pair, batched, both, constant, put

CHUNKS = (1, 4, 7, 16)  # 1: token by token


@functools.partial(jax.jit, static_argnums=(0, 1))
def over_batch(f, chunk, tokens, starts, state):
    """`f` for tokens of [T, B, ...], starts of [T, B] and a state of [B, ...]."""

    def one(tokens, starts, state):
        return f(*tokens, starts, state, chunk)

    return jax.vmap(one, (1, 1, 0), (0, 1))(tokens, starts, state)


def mamba2_ssd(d) -> Iterator[Pair]:
    dt = d["dt"][..., None]
    tokens = (d["C"], d["B"], dt * d["X"], d["dt"] * d["A"])
    for suffix, starts in both(d, d["X"]):
        for chunk in CHUNKS:
            S, y = over_batch(memory_scan, chunk, tokens, starts, jnp.swapaxes(d["h0"], -1, -2))
            yield Pair(f"y{suffix}", y, f"chunk {chunk}")
            yield Pair(f"h_final{suffix}", jnp.swapaxes(S, -1, -2), f"chunk {chunk}")


def mamba2_block(d) -> Iterator[Pair]:
    H, P, N, G = (int(d[name]) for name in ("n_heads", "head_dim", "d_state", "n_groups"))
    # All of its arrays are replaced: whatever the width, H * P channels are right.
    core = Mamba2(H * P, Mamba2Config(N, P, groups=G, expand=1, chunk=8), key=KEY)
    core = put(core, **{name: d[name] for name in ("dt_bias", "A_log", "D")})
    core = put(core, W_in__weight=d["in_proj"], W_out__weight=d["out_proj"])
    core = put(core, conv__weight=d["conv_W"], conv__bias=d["conv_b"], norm__scale=d["norm_w"].reshape(G, -1))
    for suffix, starts in both(d, d["x"]):
        for form, run in FORMS:
            state, y = batched(run, core, d["x"], starts)
            yield Pair(f"y{suffix}", y, form)
            yield Pair(f"ssm_state{suffix}", jnp.swapaxes(state.h, -1, -2), form)
            yield Pair(f"conv_state{suffix}", jnp.swapaxes(state.conv, 0, 1), form)


def linear_attention(d) -> Iterator[Pair]:
    """Keys and values are padded to the size of ours: values with 0, keys with a number whose φ is 0, by an input 1."""
    (D, H, K), V = d["Wq"].shape, d["Wv"].shape[-1]
    size = max(K, V)
    width = max(D + 1, H * size)
    config = LinearAttentionConfig(heads=H, head_size=size, decay=False, conv_size=1, chunk=4)
    core = LinearAttention(width, config, key=KEY)

    def pad(W, fill):
        weight = jnp.zeros((width, H, size)).at[:D, :, : W.shape[-1]].set(W)
        return weight.at[-1, :, W.shape[-1] :].set(fill).reshape(width, -1)

    W = [pad(d["Wq"], -1e4), pad(d["Wk"], -1e4), pad(d["Wv"], 0.0)]
    core = put(core, W_qkv__weight=jnp.concatenate(W, axis=1), W_o__weight=jnp.eye(H * size, width))
    x = jnp.pad(d["x"], ((0, 0), (0, 0), (0, width - D))).at[..., -1].set(1)
    for suffix, starts in both(d, x):
        for form, run in FORMS:
            state, y = batched(run, core, x, starts)
            y = y[..., : H * size].reshape(*y.shape[:2], H, size)
            yield Pair(f"y{suffix}", y[..., :V], form)
            yield Pair(f"S_final{suffix}", state.S[..., :K, :V], form)
            yield Pair(f"z_final{suffix}", state.n[..., :K], form)


def mlstm_cell(d) -> Iterator[Pair]:
    constant(d, "eps", 1e-6)
    B, H, K = d["q"].shape[1:]
    zeros = jnp.zeros((B, H, K, d["v"].shape[-1]))
    empty = Memory(zeros, zeros[..., 0], jnp.full((B, H), NEVER))
    tokens = tuple(d[name] for name in ("q", "k", "v", "i_raw", "f_raw"))
    for suffix, starts in both(d, d["q"]):
        for chunk in CHUNKS:
            memory, y = over_batch(mlstm_scan, chunk, tokens, starts, empty)
            yield Pair(f"y{suffix}", y, f"chunk {chunk}")
            for name, value in memory._asdict().items():
                yield Pair(f"{name}_final{suffix}", value, f"chunk {chunk}")


CHECKS = {
    "mamba2_ssd": mamba2_ssd,
    "mamba2_block": mamba2_block,
    "linear_attention": linear_attention,
    "mlstm_cell": mlstm_cell,
}
