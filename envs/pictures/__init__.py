"""Pictures of environments, for `rlformers.envs.render`."""
