"""Pictures of environments, for `rlformers.envs.rendering.render`."""
