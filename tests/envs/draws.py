"""Tasks drawn in numbers."""

import jax


def tasks(*envs, num=500):
    """Draws of each of some environments."""
    draw = lambda key: [env.sample_task(key, env.default_params) for env in envs]  # noqa: E731
    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), num))


def splits(make, names=("train", "heldout"), **kwargs):
    """Draws of the environments that `make` makes of each split."""
    return tasks(*(make(split=name) for name in names), **kwargs)
