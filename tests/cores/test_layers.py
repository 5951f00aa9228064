"""Initialisation."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from rlformers.cores.layers import orthogonal


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_orthogonal(shape):
    q = np.asarray(orthogonal(2.0)(jax.random.key(0), shape), float)
    gram = q @ q.T if shape[0] < shape[1] else q.T @ q
    np.testing.assert_allclose(gram, 4 * np.eye(min(shape)), atol=1e-5)


@pytest.mark.slow
def test_vmapped_orthogonal_matrices_do_not_deadlock():
    """Several batched QR decompositions in one program hung at once on two cores."""
    program = (
        "import jax; from rlformers.cores.layers import orthogonal\n"
        "draw = lambda key: [orthogonal()(k, (64, 64)) for k in jax.random.split(key, 10)]\n"
        "f = jax.jit(jax.vmap(draw))\n"
        "for i in range(50): jax.block_until_ready(f(jax.random.split(jax.random.key(i), 3)))\n"
    )
    environment = {"JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", program], timeout=120, check=True, env=environment)
