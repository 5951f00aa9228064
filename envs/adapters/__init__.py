"""Environments of other packages, each an extra of this one, in our protocol."""
