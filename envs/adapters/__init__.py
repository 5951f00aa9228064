"""Environments of other packages, each an optional dependency that its own module imports."""
