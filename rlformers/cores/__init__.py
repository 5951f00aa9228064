"""Sequence cores: one file per paper. `registry` names them without importing them, `core` says what a core is."""
