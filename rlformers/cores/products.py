"""Products of arrays in the chosen precision, for cores, encoders and heads, forward and backward.

| compute_dtype | jax.default_matmul_precision | operands                              | sums    |
|---------------|------------------------------|---------------------------------------|---------|
| float32       | highest                      | float32                               | float32 |
| tfloat32      | tensorfloat32                | float32, cut by hardware that has it  | float32 |
| bfloat16      | bfloat16                     | rounded to bfloat16, derivatives too  | float32 |

The context is jax's own, which the cache of `jax.jit` knows. By itself it only says what an
accelerator may do with float32 operands. XLA's CPU backend ignores it, so products would differ
between machines. Here bfloat16 means the same everywhere, and arrays between products stay float32.

jax would multiply float32 cotangents by bfloat16 operands. Our own rules in a `jax.custom_vjp`
would, under `vmap`, make the gradient of shared weights for every member of the batch before
summing. Hence a primitive: its derivatives are such products too, and jax makes the batch a part of
the product.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Inexact

PRECISIONS = {"float32": "highest", "tfloat32": "tensorfloat32", "bfloat16": "bfloat16"}

Product = Callable[[Any, Any], Any]  # linear in either array


def precision(compute_dtype: str) -> AbstractContextManager[None]:
    """A context in which traced code multiplies in this type, one of `PRECISIONS`."""
    return jax.default_matmul_precision(PRECISIONS[compute_dtype])


def matmul(a: Inexact[Array, "*left"], b: Inexact[Array, "*right"]) -> Inexact[Array, "*out"]:
    """`a @ b`."""
    return _multiply(jnp.matmul, a, b)


def einsum(subscripts: str, a: Inexact[Array, "*left"], b: Inexact[Array, "*right"]) -> Inexact[Array, "*out"]:
    """`jnp.einsum` of two arrays."""
    return _multiply(_einsum(subscripts), a, b)


def conv(x: Float[Array, "N rows columns i"], kernel: Float[Array, "_ _ i o"], stride: int) -> Float[Array, "N _ _ o"]:
    """Convolution of images, padded so that it sees every pixel."""
    return _multiply(_conv(stride), x, kernel)


def transition(A: Inexact[Array | np.ndarray, "*C N N"], h: Inexact[Array, "*P N"]) -> Inexact[Array, "*P N"]:
    """`A h` of a state h; in bfloat16 h + (A - 1) h, so that the part of the state that stays is not rounded.

    Otherwise decays near 1 would become 1, which is unstable for some A, and h would be a state of
    bfloat16.
    """
    if not _in_bfloat16():
        return einsum("...ij,...j->...i", jnp.asarray(A, h.dtype), h)
    return h + einsum("...ij,...j->...i", jnp.asarray(A - np.eye(A.shape[-1], dtype=A.dtype), h.dtype), h)


def rounded(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x as a product would see it, for sums of products that are written out."""
    return _round(x) if _in_bfloat16() else x


def _round(x: Array) -> Array:
    """Round to 8 significant bits. XLA may leave out conversions to bfloat16 and back."""
    return jax.lax.reduce_precision(x, 8, 7)


def _in_bfloat16() -> bool:
    return jax.config.jax_default_matmul_precision == "bfloat16"  # type: ignore[attr-defined]


@cache
def _einsum(subscripts: str) -> Product:
    return lambda a, b: jnp.einsum(subscripts, a, b)


@cache
def _conv(stride: int) -> Product:
    layout = ("NHWC", "HWIO", "NHWC")
    return lambda x, k: jax.lax.conv_general_dilated(x, k, (stride, stride), "SAME", dimension_numbers=layout)


def _multiply(product: Product, a: Array, b: Array) -> Array:
    dtype = jnp.result_type(a, b)
    if not _in_bfloat16() or jnp.issubdtype(dtype, complex):  # cores build complex products from real ones
        return product(a, b)
    return _bind(product, a.astype(dtype), b.astype(dtype))


# The primitive. Operands and result have one type; the computation between them is in bfloat16.

rounded_product_p = Primitive("rounded_product")


def _bind(product: Product, a: Array, b: Array) -> Array:
    jaxpr = _rounded_jaxpr(product, *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (a, b)))
    return rounded_product_p.bind(a, b, product=product, jaxpr=jaxpr)


@cache
def _rounded_jaxpr(product: Product, *operands: jax.ShapeDtypeStruct) -> ClosedJaxpr:
    """The program that runs for a product, made from its program in float32."""
    wide = jax.make_jaxpr(product)(*(jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in operands))

    def run(*operands: Array) -> Array:
        return _run(wide, *(_round(x).astype(jnp.bfloat16) for x in operands))[0].astype(operands[0].dtype)

    return jax.make_jaxpr(run)(*operands)


def _run(program: ClosedJaxpr, *inputs: Array) -> list[Any]:
    """Run a float32 program on bfloat16 inputs; only its products return float32."""
    values: dict[Any, Any] = dict(zip(program.jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for eqn in program.eqns:
        operands, params = [read(v) for v in eqn.invars], eqn.params
        if isinstance(params.get("jaxpr"), ClosedJaxpr):  # a jitted function of jax
            results = _run(params["jaxpr"], *operands)
        else:
            if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
                params = params | {"precision": None, "preferred_element_type": jnp.dtype(jnp.float32)}
            results = eqn.primitive.bind(*operands, **params)
            results = results if eqn.primitive.multiple_results else [results]
        values |= dict(zip(eqn.outvars, results, strict=True))
    return [read(v) for v in program.jaxpr.outvars]


@cache
def _batched(product: Product, *axes: int | None) -> Product:
    return jax.vmap(product, axes)


@cache
def _transposed(product: Product, which: int, shape: tuple[int, ...]) -> Product:
    """A function from the product's cotangent and the other operand to this operand's cotangent."""

    def transposed(g: Array, other: Array) -> Array:
        def of_this(x: Array) -> Array:
            return product(x, other) if which == 0 else product(other, x)

        return jax.linear_transpose(of_this, jax.ShapeDtypeStruct(shape, g.dtype))(g)[0]

    return transposed


def _evaluate(a: Array, b: Array, *, product: Product, jaxpr: ClosedJaxpr) -> Array:
    del product
    return jaxpr_as_fun(jaxpr)(a, b)[0]


def _evaluate_on_cpu(a: Array, b: Array, *, product: Product, jaxpr: ClosedJaxpr) -> Array:
    """The same numbers in float32, which holds products of bfloat16 without error.

    XLA's CPU backend uses bfloat16 for some shapes and float32 for others, and fails for some:
    "Unsupported element type for DotThunk::Execute: BF16 x BF16 = F32" (jaxlib 0.10.2).
    """
    del jaxpr
    return product(*(_round(x).astype(jnp.float32) for x in (a, b))).astype(a.dtype)


rounded_product_p.def_impl(jax.jit(rounded_product_p.bind, static_argnames=("product", "jaxpr")))
rounded_product_p.def_abstract_eval(lambda a, b, *, product, jaxpr: jaxpr.out_avals[0])
mlir.register_lowering(rounded_product_p, mlir.lower_fun(_evaluate, multiple_results=False))
mlir.register_lowering(rounded_product_p, mlir.lower_fun(_evaluate_on_cpu, multiple_results=False), platform="cpu")
batching.primitive_batchers[rounded_product_p] = lambda operands, axes, *, product, jaxpr: (
    _bind(_batched(product, *axes), *operands),
    0,
)
ad.defbilinear(
    rounded_product_p,
    lambda g, a, b, *, product, jaxpr: _bind(_transposed(product, 0, a.aval.shape), g, b),
    lambda g, a, b, *, product, jaxpr: _bind(_transposed(product, 1, b.aval.shape), g, a),
)
