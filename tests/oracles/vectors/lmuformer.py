"""LMUFormer and its spiking form."""

import functools
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from rlformers.cores.conv import dense_conv
from rlformers.cores.lmuformer import Block, Config, Embedding, FrozenBatchNorm
from rlformers.cores.spiking_lmuformer import ALPHA, SpikingLMU, lif
from rlformers.cores.spiking_lmuformer import Config as SpikingConfig

from .common import KEY, Pair, both, constant, no_starts, put
from .lmu import pad, parallel, sizes


def frozen(d, name):
    return FrozenBatchNorm.of(*(d[f"{name}_{part}"] for part in ("mean", "var", "scale", "bias")))


def whole(module, state, xs, starts):
    return module.scan(state, xs, starts)


def token_by_token(module, state, xs, starts):
    """For parts that are no cores and have no `step`: segments of one token."""

    def advance(state, token):
        state, ys = module.scan(state, token[0][None], token[1][None])
        return state, ys[0]

    return jax.lax.scan(advance, state, (xs, starts))


FORMS = (("scan", whole), ("step", token_by_token))


@functools.partial(jax.jit, static_argnums=0)
def run_batch(run, module, state, x, starts):
    """`run` for tokens [T, B, ...] and starts [T, B], from the same state."""
    return jax.vmap(run, (None, None, 1, 1), (0, 1))(module, state, x, starts)


def lmuformer_block(d) -> Iterator[Pair]:
    x = d["x"]
    # All arrays are replaced: its own hidden width does not matter.
    block = put(
        Block(x.shape[-1], Config(channels=1, norm="frozen_bn"), key=KEY),
        lmu=parallel(d),
        W_p__weight=d["Wproj"],
        W_p__bias=d["bproj"],
        norm_p=frozen(d, "bnproj"),
        W_1__weight=d["W1"],
        W_1__bias=d["b1"],
        norm_1=frozen(d, "bn1"),
        W_2__weight=d["W2"],
        W_2__bias=d["b2"],
        norm_2=frozen(d, "bn2"),
    )
    empty = block.lmu.initial_state()
    for form, run in FORMS:
        yield Pair("y", run_batch(run, block, empty, x, no_starts(x))[1], form)
    branch = block.norm_p(block.W_p(run_batch(whole, block.lmu, empty, x, no_starts(x))[1]))
    yield Pair("y_lmu_branch", branch)
    yield Pair("y_ffn_branch", block.mix(x + branch))


def lmuformer_conv_embed(d) -> Iterator[Pair]:
    """Ours has one width: channels that others do not have are 0."""
    n = sum(bool(re.fullmatch(r"conv\d+_W", name)) for name in d)
    kernels = [*(d[f"conv{i}_W"] for i in range(n)), d["rpe_W"]]
    D, width = max(max(kernel.shape[1:]) for kernel in kernels), d["rpe_W"].shape[-1]
    norms = [frozen(d, f"bn{i}") for i in range(n)]
    embedding = put(
        Embedding(D, "frozen_bn", key=KEY),
        convs=tuple(pad(kernel, 3, D, D) for kernel in kernels[:-1]),
        norms=tuple(FrozenBatchNorm(pad(norm.scale, D), pad(norm.bias, D)) for norm in norms),
        rpe=pad(kernels[-1], 3, D, D),
    )
    x = pad(d["x"], *d["x"].shape[:2], D)
    for suffix, starts in both(d, x):
        for form, run in FORMS:
            y = run_batch(run, embedding, embedding.initial_state(), x, starts)[1]
            yield Pair(f"y_causal{suffix}", y[..., :width], form)
    y = run_batch(symmetric, embedding, embedding.initial_state(), x, no_starts(x))[1]
    yield Pair("y_official_noncausal", y[..., :width])


def symmetric(embedding, state, xs, starts):
    """The official form out of our convolutions: each looks one token ahead, which a causal one sees a token later."""

    def conv(buffer, xs, kernel):
        later = jnp.concatenate([xs, jnp.zeros_like(xs[:1])])
        return dense_conv(buffer, later, jnp.zeros(len(later), bool), kernel)[1][1:]

    for buffer, kernel, norm in zip(state[:-1], embedding.convs, embedding.norms, strict=True):
        xs = norm(jax.nn.relu(conv(buffer, xs, kernel)))
    return state, xs + conv(state[-1], xs, embedding.rpe)


def lmuformer_lif(d) -> Iterator[Pair]:
    """Spikes are 0 or 1: any tolerance below 1 asks for the same ones."""
    tau = float(d["tau"])
    constant(d, "surrogate_alpha", ALPHA)

    @functools.partial(jax.jit, static_argnums=1)
    def run(x, threshold):
        def advance(v, x):
            v, s = lif(v, x, tau, threshold)
            return v, (s, v)

        return jax.lax.scan(advance, jnp.zeros_like(x[0]), x)[1]

    spikes, v = run(d["x"], 1.0)
    yield Pair("spikes", spikes)
    yield Pair("v_after", v)
    yield Pair("spikes_thr05", run(d["x"], 0.5)[0])
    yield Pair("grad_x", jax.grad(lambda x: (run(x, 1.0)[0] * d["cotangent"]).sum())(d["x"]))


def lmuformer_spiking_lmu(d) -> Iterator[Pair]:
    C = d["Wu"].shape[1]
    order, (theta, *_) = sizes(d, C)
    config = SpikingConfig(channels=C, order=order, theta_min=theta, theta_max=theta, norm="frozen_bn")
    cell = put(
        SpikingLMU(d["x"].shape[-1], config, key=KEY),
        W_u__weight=d["Wu"],
        W_u__bias=d["bu"],
        norm_u=frozen(d, "bnu"),
        norm_m=frozen(d, "bnm"),
        W_h__weight=d["Wh"],
        W_h__bias=d["bh"],
        norm_h=frozen(d, "bnh"),
    )
    step = jax.jit(jax.vmap(lambda cell, state, x: cell.step(state, x), (None, 0, 0)))
    states = jax.tree.map(lambda a: jnp.broadcast_to(a, (d["x"].shape[1], *a.shape)), cell.initial_state())
    yield Pair("y", jax.jit(lambda: jax.lax.scan(lambda s, x: step(cell, s, x), states, d["x"])[1])(), "scan")
    ys = []
    for x in d["x"]:
        states, y = step(cell, states, x)
        ys.append(y)
    yield Pair("y", jnp.stack(ys), "step")


CHECKS = {
    "lmuformer_block": lmuformer_block,
    "lmuformer_conv_embed": lmuformer_conv_embed,
    "lmuformer_lif": lmuformer_lif,
    "lmuformer_spiking_lmu": lmuformer_spiking_lmu,
}
IGNORED = {"lmuformer_spiking_lmu": {"min_threshold_margin": "how far rounding is from flipping a spike"}}
