"""Environments of other packages, in our protocol. Each needs an extra: `pip install 'rlformers[<extra>]'`."""
