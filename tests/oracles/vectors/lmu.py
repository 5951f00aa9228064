"""LMU, LMUFormer and its spiking form."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.cores.hippo import delay_decoder, delay_memory, delay_system
from rlformers.cores.linear_scan import MATRIX_METHODS, matrix_scan
from rlformers.cores.lmu import ParallelLMU
from rlformers.cores.lmu_cells import RecurrentLMU
from rlformers.cores.lmuformer import Block, Config, Embedding, FrozenBatchNorm
from rlformers.cores.spiking_lmuformer import Config as SpikingConfig
from rlformers.cores.spiking_lmuformer import SpikingLMU, lif

from .common import KEY, LOOP, SCAN, Pair, batched, both, put

FORMS = (("scan", SCAN), ("step", LOOP))


def sizes(d) -> tuple[int, tuple[float, ...]]:
    """Order, and the window of every channel."""
    return int(d["order"]), (float(d["theta"]),) * int(d.get("memory_d", 1))


def pad(a, *shape):
    """Zeros behind: ours have inputs of the width of the outputs, and the units that are added stay 0."""
    return jnp.pad(a, [(0, n - m) for n, m in zip(shape, a.shape, strict=True)])


def rows(a, memory, width, columns):
    """The rows of (m, x), those of x padded."""
    return jnp.concatenate([pad(a[:memory], memory, columns), pad(a[memory:], width, columns)])


def frozen(d, name):
    return FrozenBatchNorm.of(*(d[f"{name}_{part}"] for part in ("mean", "var", "scale", "bias")))


def lmu_matrices(d, _) -> Iterator[Pair]:
    order, (theta,) = sizes(d)
    A, B = delay_system(order)
    A_bar, B_bar = (a[0] for a in delay_memory(order, (theta,)))
    yield Pair("A", A / theta, d["A"])
    yield Pair("B", B / theta, d["B"][:, 0])
    yield Pair("A_bar", A_bar, d["A_bar"])
    yield Pair("B_bar", B_bar, d["B_bar"][:, 0])
    yield Pair("A_bar_f32", A_bar.astype(np.float32), d["A_bar_f32"])
    yield Pair("B_bar_f32", B_bar.astype(np.float32), d["B_bar_f32"][:, 0])
    yield Pair("decode_matrix", delay_decoder(order, np.asarray(d["decode_r"])), d["decode_matrix"])
    A_bar, B_bar = jnp.asarray(A_bar, d["u"].dtype), jnp.asarray(B_bar, d["u"].dtype)
    impulse = jnp.zeros((d["impulse"].shape[1], 1), B_bar.dtype).at[0].set(1)
    for method in MATRIX_METHODS:
        for name, us, expected in (("impulse", impulse, d["impulse"].T[:, None]), ("m_seq", d["u"], d["m_seq"])):
            m = jnp.zeros((us.shape[1], order), us.dtype)
            _, ms = matrix_scan(A_bar, us[..., None] * B_bar, jnp.zeros(len(us), bool), m, method)
            yield Pair(f"{name} ({method})", ms, expected)


def lmu_cell_voelker(d, _) -> Iterator[Pair]:
    hidden, inputs = d["W_x"].shape
    D, M = max(hidden, inputs), d["e_m"].shape[1]
    core = put(
        RecurrentLMU(D, sizes(d)[1], sizes(d)[0], biases=False, learn_theta=False, key=KEY),
        e_x__weight=pad(d["e_x"].T, D, 1),
        e_h=pad(d["e_h"].T, D, 1),
        e_m=d["e_m"].T,
        W_x__weight=pad(d["W_x"].T, D, D),
        W_h=pad(d["W_h"].T, D, D),
        W_m=pad(d["W_m"].T, M, D),
    )
    x = pad(d["x"], *d["x"].shape[:2], D)
    for suffix, starts in both(d):
        for form, run in FORMS:
            state, y = batched(run, core, x, starts)
            yield Pair(f"y{suffix} ({form})", y[..., :hidden], d[f"y{suffix}"])
            yield Pair(f"h_final{suffix} ({form})", state.h[:, :hidden], d[f"h_final{suffix}"])
            yield Pair(f"m_final{suffix} ({form})", state.m[:, 0], d[f"m_final{suffix}"])


def lmu_keras_full_cell(d, _) -> Iterator[Pair]:
    hidden, inputs = len(d["hidden_recurrent"]), d["x"].shape[-1]
    D, (M, C) = max(hidden, inputs), d["recurrent_kernel"].shape
    core = put(
        RecurrentLMU(D, sizes(d)[1], sizes(d)[0], biases=True, learn_theta=False, key=KEY),
        e_x__weight=pad(d["kernel"][:inputs], D, C),
        e_x__bias=d["bias"],
        e_h=pad(d["kernel"][inputs:], D, C),
        e_m=d["recurrent_kernel"],
        W_x__weight=pad(d["hidden_kernel"][M:], D, D),
        W_x__bias=pad(d["hidden_bias"], D),
        W_h=pad(d["hidden_recurrent"], D, D),
        W_m=pad(d["hidden_kernel"][:M], M, D),
    )
    A, B = jax.jit(RecurrentLMU.memory)(core)
    yield Pair("A_bar_T", A[0].T, d["A_bar_T"])
    yield Pair("B_bar_T", B[:1], d["B_bar_T"])
    x = pad(d["x"], *d["x"].shape[:2], D)
    for suffix, starts in both(d):
        for form, run in FORMS:
            yield Pair(f"y{suffix} ({form})", batched(run, core, x, starts)[1][..., :hidden], d[f"y{suffix}"])


def lmu_keras_parallel(d, _) -> Iterator[Pair]:
    inputs, hidden = d["x"].shape[-1], len(d["hidden_bias"])
    order, thetas = sizes(d)
    D, M = max(hidden, inputs), order * len(thetas)
    A, B = delay_memory(order, thetas)
    yield Pair("A_bar_T", A[0].T, d["A_bar_T"])
    yield Pair("B_bar_T", B[:1], d["B_bar_T"])
    x = pad(d["x"], *d["x"].shape[:2], D)
    for method in MATRIX_METHODS:
        core = put(
            ParallelLMU(D, thetas, order, "identity", "relu", method, key=KEY),
            W_u__weight=pad(d["kernel"], D, len(thetas)),
            W_o__weight=rows(d["hidden_kernel"], M, D, D),
            W_o__bias=pad(d["hidden_bias"], D),
        )
        for suffix, starts in both(d):
            for form, run in FORMS:
                y = batched(run, core, x, starts)[1][..., :hidden]
                yield Pair(f"y{suffix} ({method}, {form})", y, d[f"y{suffix}"])


def lmu_keras_trainable_theta(d, _) -> Iterator[Pair]:
    """With u = x and y = m: h stays 0, only the memory of the cell counts."""
    order, thetas = sizes(d)
    core = RecurrentLMU(1, thetas, order, biases=False, learn_theta=True, key=KEY)
    zeros = {name: jnp.zeros_like(getattr(core, name)) for name in ("e_h", "e_m", "W_h", "W_m")}
    core = put(core, e_x__weight=jnp.ones((1, 1)), W_x__weight=jnp.zeros((1, 1)), **zeros)
    log_theta = jnp.log(jnp.asarray(thetas, d["x"].dtype))
    starts = jnp.zeros(len(d["x"]), bool)

    def loss(log_theta, run):
        learned = put(core, log_theta=log_theta)

        def advance(states, x):  # segments of one token: the last state is all that is seen of a memory
            states, _ = batched(run, learned, x[None], starts[:1], states)
            return states, states.m[:, 0]

        states = jax.tree.map(lambda a: jnp.broadcast_to(a, (d["x"].shape[1], *a.shape)), learned.initial_state())
        _, y = jax.lax.scan(advance, states, d["x"])
        return (y * d["cotangent"]).sum(), y

    for form, run in FORMS:
        (_, y), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)(log_theta, run)
        yield Pair(f"y ({form})", y, d["y"])
        # d/d(1/θ) = -θ d/d(log θ)
        yield Pair(f"grad_theta_inv ({form})", -jnp.exp(log_theta[0]) * gradient[0], d["grad_theta_inv"])
    state, _ = batched(SCAN, put(core, log_theta=log_theta), d["x"], starts)
    yield Pair("y[-1] (scan)", state.m[:, 0], d["y"][-1])


def lmu_parallel_cell(d, _) -> Iterator[Pair]:
    for method in MATRIX_METHODS:
        core = parallel(d, method)
        for form, run in FORMS:
            state, y = batched(run, core, d["x"], jnp.zeros(len(d["x"]), bool))
            yield Pair(f"y ({method}, {form})", y, d["y"])
            yield Pair(f"m_seq[-1] ({method}, {form})", state.m[:, 0], d["m_seq"][-1])


def parallel(d, method="auto"):
    """The cell of LMUFormer with the weights of a file."""
    order, thetas = sizes(d)
    return put(
        ParallelLMU(d["x"].shape[-1], thetas, order, "relu", "relu", method, key=KEY),
        **{"W_u__weight": d["Wu"], "W_u__bias": d["bu"], "W_o__weight": d["Wh"], "W_o__bias": d["bh"]},
    )


def lmuformer_block(d, _) -> Iterator[Pair]:
    D, F = d["W1"].shape
    block = put(
        Block(D, Config(channels=1, order=int(d["order"]), ffn=F // D, norm="frozen_bn"), key=KEY),
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
    for form, run in (("scan", whole), ("step", token_by_token)):
        x = run_batch(run, block, block.lmu.initial_state(), d["x"], jnp.zeros(len(d["x"]), bool))[1]
        yield Pair(f"y ({form})", x, d["y"])
    _, ys = run_batch(whole, block.lmu, block.lmu.initial_state(), d["x"], jnp.zeros(len(d["x"]), bool))
    branch = block.norm_p(block.W_p(ys))
    yield Pair("y_lmu_branch", branch, d["y_lmu_branch"])
    yield Pair("y_ffn_branch", block.mix(d["x"] + branch), d["y_ffn_branch"])


def whole(module, state, xs, starts):
    return module.scan(state, xs, starts)


def token_by_token(module, state, xs, starts):
    """For parts that are no cores and have no `step`: segments of one token."""

    def advance(state, token):
        state, ys = module.scan(state, token[0][None], token[1][None])
        return state, ys[0]

    return jax.lax.scan(advance, state, (xs, starts))


@functools.partial(jax.jit, static_argnums=0)
def run_batch(run, module, state, x, starts):
    return jax.vmap(run, (None, None, 1, None), (0, 1))(module, state, x, starts)


def lmuformer_conv_embed(d, _) -> Iterator[Pair]:
    inputs, width = d["conv0_W"].shape[1:]
    D = max(inputs, width)
    kernels = [pad(d[f"conv{i}_W"], 3, D, D) for i in range(4)]
    embedding = put(
        Embedding(D, "frozen_bn", key=KEY),
        convs=tuple(kernels),
        norms=tuple(FrozenBatchNorm(pad(n.scale, D), pad(n.bias, D)) for n in (frozen(d, f"bn{i}") for i in range(4))),
        rpe=pad(d["rpe_W"], 3, D, D),
    )
    x = pad(d["x"], *d["x"].shape[:2], D)
    for suffix, starts in both(d):
        for form, run in (("scan", whole), ("step", token_by_token)):
            y = run_batch(run, embedding, embedding.initial_state(), x, starts)[1]
            yield Pair(f"y_causal{suffix} ({form})", y[..., :width], d[f"y_causal{suffix}"])


def lmuformer_lif(d, _) -> Iterator[Pair]:
    """Spikes are 0 or 1: any tolerance below 1 asks for the same ones."""
    tau = float(d["tau"])

    @functools.partial(jax.jit, static_argnums=1)
    def run(x, threshold):
        def advance(v, x):
            v, s = lif(v, x, tau, threshold)
            return v, (s, v)

        return jax.lax.scan(advance, jnp.zeros_like(x[0]), x)[1]

    spikes, v = run(d["x"], 1.0)
    yield Pair("spikes", spikes, d["spikes"])
    yield Pair("v_after", v, d["v_after"])
    yield Pair("spikes_thr05", run(d["x"], 0.5)[0], d["spikes_thr05"])
    yield Pair("grad_x", jax.grad(lambda x: (run(x, 1.0)[0] * d["cotangent"]).sum())(d["x"]), d["grad_x"])


def lmuformer_spiking_lmu(d, _) -> Iterator[Pair]:
    order, (theta,) = sizes(d)
    config = SpikingConfig(channels=1, order=order, theta_min=theta, theta_max=theta, norm="frozen_bn")
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
    yield Pair("y (scan)", jax.jit(lambda: jax.lax.scan(lambda s, x: step(cell, s, x), states, d["x"])[1])(), d["y"])
    ys = []
    for x in d["x"]:
        states, y = step(cell, states, x)
        ys.append(y)
    yield Pair("y (step)", jnp.stack(ys), d["y"])


CHECKS = {
    "lmu_matrices": lmu_matrices,
    "lmu_cell_voelker": lmu_cell_voelker,
    "lmu_keras_full_cell": lmu_keras_full_cell,
    "lmu_keras_parallel": lmu_keras_parallel,
    "lmu_keras_trainable_theta": lmu_keras_trainable_theta,
    "lmu_parallel_cell": lmu_parallel_cell,
    "lmuformer_block": lmuformer_block,
    "lmuformer_conv_embed": lmuformer_conv_embed,
    "lmuformer_lif": lmuformer_lif,
    "lmuformer_spiking_lmu": lmuformer_spiking_lmu,
}
