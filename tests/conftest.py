"""Settings of every test: strict shapes and, so that failures are reproducible, a fixed number of CPU threads."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
