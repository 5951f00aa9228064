"""Statistics: over seeds, and over several environments."""
