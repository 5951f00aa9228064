"""LMU."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.cores.hippo import delay_decoder, delay_memory, delay_system
from rlformers.cores.linear_scan import MATRIX_METHODS, matrix_scan
from rlformers.cores.lmu import ParallelLMU
from rlformers.cores.lmu_cells import RecurrentLMU

from .common import FORMS, KEY, SCAN, Pair, batched, both, no_starts, put


def sizes(d, channels=1) -> tuple[int, tuple[float, ...]]:
    """Order, and the window of every channel."""
    return int(d["order"]), (float(d["theta"]),) * channels


def pad(a, *shape):
    """Zeros behind: ours have inputs of the width of the outputs, and the units that are added stay 0."""
    return jnp.pad(a, [(0, n - m) for n, m in zip(shape, a.shape, strict=True)])


def rows(a, memory, width, columns):
    """The rows of (m, x), those of x padded."""
    return jnp.concatenate([pad(a[:memory], memory, columns), pad(a[memory:], width, columns)])


def lmu_matrices(d) -> Iterator[Pair]:
    order, (theta,) = sizes(d)
    A, B = delay_system(order)
    A_bar, B_bar = (a[0] for a in delay_memory(order, (theta,)))
    yield Pair("A", A / theta)
    yield Pair("B", B[:, None] / theta)
    yield Pair("A_bar", A_bar)
    yield Pair("B_bar", B_bar[:, None])
    yield Pair("A_bar_f32", A_bar.astype(np.float32))
    yield Pair("B_bar_f32", B_bar[:, None].astype(np.float32))
    yield Pair("euler_A", np.eye(order) + A / theta)
    yield Pair("euler_B", B[:, None] / theta)
    yield Pair("decode_matrix", delay_decoder(order, np.asarray(d["decode_r"])))
    A_bar, B_bar = jnp.asarray(A_bar, d["u"].dtype), jnp.asarray(B_bar, d["u"].dtype)
    impulse = jnp.zeros((d["impulse"].shape[1], 1), B_bar.dtype).at[0].set(1)
    for method in MATRIX_METHODS:
        for name, us in (("impulse", impulse), ("m_seq", d["u"])):
            m = jnp.zeros((us.shape[1], order), us.dtype)
            _, ms = matrix_scan(A_bar, us[..., None] * B_bar, jnp.zeros(len(us), bool), m, method)
            yield Pair(name, ms[:, 0].T if name == "impulse" else ms, method)


def lmu_cell_voelker(d) -> Iterator[Pair]:
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
    for suffix, starts in both(d, x):
        for form, run in FORMS:
            state, y = batched(run, core, x, starts)
            yield Pair(f"y{suffix}", y[..., :hidden], form)
            yield Pair(f"h_final{suffix}", state.h[:, :hidden], form)
            yield Pair(f"m_final{suffix}", state.m[:, 0], form)


def lmu_keras_full_cell(d) -> Iterator[Pair]:
    hidden, inputs = len(d["hidden_recurrent"]), d["x"].shape[-1]
    D, (M, C) = max(hidden, inputs), d["recurrent_kernel"].shape
    order, thetas = sizes(d, C)
    core = put(
        RecurrentLMU(D, thetas, order, biases=True, learn_theta=False, key=KEY),
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
    yield Pair("A_bar_T", A[0].T)
    yield Pair("B_bar_T", B[:1])
    x = pad(d["x"], *d["x"].shape[:2], D)
    for suffix, starts in both(d, x):
        for form, run in FORMS:
            yield Pair(f"y{suffix}", batched(run, core, x, starts)[1][..., :hidden], form)


def lmu_keras_parallel(d) -> Iterator[Pair]:
    inputs, hidden = d["x"].shape[-1], len(d["hidden_bias"])
    order, thetas = sizes(d, d["kernel"].shape[1])
    D, M = max(hidden, inputs), order * len(thetas)
    A, B = delay_memory(order, thetas)
    yield Pair("A_bar_T", A[0].T)
    yield Pair("B_bar_T", B[:1])
    x = pad(d["x"], *d["x"].shape[:2], D)
    for method in MATRIX_METHODS:
        core = put(
            ParallelLMU(D, thetas, order, "identity", "relu", method, key=KEY),
            W_u__weight=pad(d["kernel"], D, len(thetas)),
            W_o__weight=rows(d["hidden_kernel"], M, D, D),
            W_o__bias=pad(d["hidden_bias"], D),
        )
        for suffix, starts in both(d, x):
            for form, run in FORMS:
                yield Pair(f"y{suffix}", batched(run, core, x, starts)[1][..., :hidden], f"{method}, {form}")


def lmu_keras_trainable_theta(d) -> Iterator[Pair]:
    """With u = x and y = m: h stays 0, only the memory of the cell counts."""
    order, thetas = sizes(d)
    core = RecurrentLMU(1, thetas, order, biases=False, learn_theta=True, key=KEY)
    zeros = {name: jnp.zeros_like(getattr(core, name)) for name in ("e_h", "e_m", "W_h", "W_m")}
    core = put(core, e_x__weight=jnp.ones((1, 1)), W_x__weight=jnp.zeros((1, 1)), **zeros)
    log_theta = jnp.log(jnp.asarray(thetas, d["x"].dtype))
    starts = no_starts(d["x"])

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
        yield Pair("y", y, form)
        # d/d(1/θ) = -θ d/d(log θ)
        yield Pair("grad_theta_inv", -jnp.exp(log_theta[0]) * gradient[0], form)
    state, _ = batched(SCAN, put(core, log_theta=log_theta), d["x"], starts)
    yield Pair("y", state.m[:, 0], "scan of all", view=lambda y: y[-1])


def memories(core, state, xs, starts):
    """The states after each token."""

    def advance(state, token):
        state, _ = core.step(state, *token)
        return state, state.m

    return jax.lax.scan(advance, state, (xs, starts))


def lmu_parallel_cell(d) -> Iterator[Pair]:
    T, B, _ = d["x"].shape
    for method in MATRIX_METHODS:
        core = parallel(d, method)
        for form, run in FORMS:
            state, y = batched(run, core, d["x"], no_starts(d["x"]))
            yield Pair("y", y, f"{method}, {form}")
            yield Pair("m_seq", state.m.reshape(B, -1), f"{method}, {form}, last", view=lambda m_seq: m_seq[-1])
        _, m_seq = batched(memories, core, d["x"], no_starts(d["x"]))
        yield Pair("m_seq", m_seq.reshape(T, B, -1), f"{method}, step")


def parallel(d, method="auto"):
    """The cell of LMUFormer with the weights of a file."""
    order, thetas = sizes(d, d["Wu"].shape[1])
    return put(
        ParallelLMU(d["x"].shape[-1], thetas, order, "relu", "relu", method, key=KEY),
        **{"W_u__weight": d["Wu"], "W_u__bias": d["bu"], "W_o__weight": d["Wh"], "W_o__bias": d["bh"]},
    )


CHECKS = {
    "lmu_matrices": lmu_matrices,
    "lmu_cell_voelker": lmu_cell_voelker,
    "lmu_keras_full_cell": lmu_keras_full_cell,
    "lmu_keras_parallel": lmu_keras_parallel,
    "lmu_keras_trainable_theta": lmu_keras_trainable_theta,
    "lmu_parallel_cell": lmu_parallel_cell,
}
IGNORED = {"lmu_matrices": {"eig_cond_order_cond": "no core uses a basis of eigenvectors; the largest are rounding"}}
