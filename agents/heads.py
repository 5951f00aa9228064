"""The heads of the agent: hidden layers and a linear output."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from rlformers.agents.activations import ACTIVATIONS
from rlformers.cores.layers import Linear, orthogonal


class Head(eqx.Module):
    """W f(... f(W_1 x + b_1)) + b with any number of hidden layers as wide as the input; linear without any."""

    hidden: tuple[Linear, ...]
    out: Linear
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        num_outputs: int,
        gain: float,
        *,
        key: PRNGKeyArray,
        num_layers: int = 1,
        activation: str = "relu",
    ):
        key_hidden, key_out = jax.random.split(key)
        keys = [jax.random.fold_in(key_hidden, i) if i else key_hidden for i in range(num_layers)]
        self.hidden = tuple(Linear(width, width, key=k, init=orthogonal(2**0.5)) for k in keys)
        self.out = Linear(width, num_outputs, key=key_out, init=orthogonal(gain))
        self.activation = activation

    def __call__(self, x: Float[Array, "*T D"]) -> Float[Array, "*T A"]:
        """Apply to the last axis."""
        for layer in self.hidden:
            x = ACTIVATIONS[self.activation](layer(x))
        return self.out(x)
