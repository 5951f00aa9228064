"""The checker of environments, `rlformers.envs.check`."""
