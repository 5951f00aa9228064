"""Scripts that measure or write what the library, its docs and its tests state. They are not part of the wheel.

Run them from the root of the repository, e.g. `python -m tools.random_returns meta/DarkRoom`.
"""
