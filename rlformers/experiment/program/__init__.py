"""From a configuration to compiled programs on devices."""
