"""Implementations by others that run beside ours: of each, what it computes and how ours takes its parameters.

Every module has those of a family of cores, listed by name in its `CASES` with the precision that they have.
"""

from . import attention, gated, state_space

CASES = gated.CASES | attention.CASES | state_space.CASES
