"""Layers that several cores and the agent share. Every leaf is an array; every call accepts leading axes."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float, PRNGKeyArray

from rlformers.cores.products import matmul

Initializer = Callable[[PRNGKeyArray, tuple[int, ...]], Array]

lecun_normal: Initializer = initializers.lecun_normal()
xavier_uniform: Initializer = initializers.xavier_uniform()


# One matrix at a time: jaxlib's batched QR (as of 0.10.2) waits for threads of the pool it runs in.
# Two at once, as under vmapped seeds, deadlock on a machine with two cores.
_qr = jax.custom_batching.sequential_vmap(lambda matrix: tuple(jnp.linalg.qr(matrix)))


def orthogonal(gain: float = 1.0) -> Initializer:
    """Orthogonal initialisation (Saxe et al. 2014), uniform over the orthogonal matrices (Mezzadri 2007)."""

    def initialise(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
        rows, columns = shape
        q, r = _qr(jax.random.normal(key, (max(shape), min(shape))))
        q = gain * q * jnp.sign(jnp.diagonal(r))
        return q if rows >= columns else q.T

    return initialise


def per_gate(init: Initializer, num_gates: int) -> Initializer:
    """Initialise each gate's matrix by itself and put them side by side."""

    def initialise(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
        keys = jax.random.split(key, num_gates)
        return jnp.concatenate([init(k, (shape[0], shape[1] // num_gates)) for k in keys], axis=1)

    return initialise


class Linear(eqx.Module):
    """`y = x W + b`, W stored as (in, out)."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"] | None

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        init: Initializer = lecun_normal,
        use_bias: bool = True,
    ):
        self.weight = init(key, (in_size, out_size))
        self.bias = jnp.zeros(out_size) if use_bias else None

    def __call__(self, x: Float[Array, "*batch i"]) -> Float[Array, "*batch o"]:
        """Apply to the last axis."""
        y = matmul(x, self.weight)
        return y if self.bias is None else y + self.bias


def standardize(x: Float[Array, "*batch D"], eps: float = 1e-5) -> Float[Array, "*batch D"]:
    """Mean 0 and variance 1 over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + eps)


class LayerNorm(eqx.Module):
    """Normalise the last axis to mean 0 and variance 1, then scale and shift (Ba et al. 2016).

    If the width is a shape, axes before the last have their own parameters.
    """

    scale: Float[Array, "*groups D"]
    bias: Float[Array, "*groups D"]
    eps: float = eqx.field(static=True)

    def __init__(self, width: int | tuple[int, ...], eps: float = 1e-5):
        self.scale = jnp.ones(width)
        self.bias = jnp.zeros(width)
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Apply to the last axis."""
        return standardize(x, self.eps) * self.scale + self.bias


class RMSNorm(eqx.Module):
    """Divide the last axis by its root mean square, then scale (Zhang & Sennrich 2019)."""

    scale: Float[Array, "*groups D"]
    eps: float = eqx.field(static=True)

    def __init__(self, width: int | tuple[int, ...], eps: float = 1e-5):
        self.scale = jnp.ones(width)
        self.eps = eps

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Apply to the last axis."""
        return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.eps) * self.scale


class NoNorm(eqx.Module):
    """No norm."""

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """The input."""
        return x


Norm = LayerNorm | RMSNorm | NoNorm
NORMS = ("layer", "rms", "none")


def make_norm(kind: str, width: int, eps: float = 1e-5) -> Norm:
    """One of `NORMS`; scale starts at 1 and bias at 0."""
    match kind:
        case "layer":
            return LayerNorm(width, eps)
        case "rms":
            return RMSNorm(width, eps)
    return NoNorm()


FEED_FORWARD = ("gelu", "swiglu", "geglu")


class FeedForward(eqx.Module):
    """W_2 gelu(W_1 x), or gated (Shazeer 2020): W_2 (f(W_a x) ⊙ W_b x), f = silu (swiglu) or gelu (geglu)."""

    W_1: Linear  # (W_a, W_b) if gated
    W_2: Linear
    kind: str = eqx.field(static=True)

    def __init__(self, width: int, hidden: int, kind: str, *, key: PRNGKeyArray, init_2: Initializer = xavier_uniform):
        key_1, key_2 = jax.random.split(key)
        num = 1 if kind == "gelu" else 2
        self.W_1 = Linear(width, num * hidden, key=key_1, init=per_gate(xavier_uniform, num))
        self.W_2 = Linear(hidden, width, key=key_2, init=init_2)
        self.kind = kind

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Apply to the last axis."""
        h = self.W_1(x)
        if self.kind == "gelu":
            return self.W_2(jax.nn.gelu(h, approximate=False))
        a, b = jnp.split(h, 2, axis=-1)
        return self.W_2((jax.nn.silu(a) if self.kind == "swiglu" else jax.nn.gelu(a, approximate=False)) * b)


class GLU(eqx.Module):
    """Gated linear unit: (W_a x + b_a) ⊙ σ(W_b x + b_b) (Dauphin et al. 2017)."""

    W: Linear  # (W_a, W_b)

    def __init__(self, width: int, *, key: PRNGKeyArray):
        self.W = Linear(width, 2 * width, key=key, init=per_gate(lecun_normal, 2))

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Apply to the last axis."""
        a, b = jnp.split(self.W(x), 2, axis=-1)
        return a * jax.nn.sigmoid(b)
