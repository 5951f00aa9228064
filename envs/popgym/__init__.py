"""Ports of POPGym (Morad et al. 2023, "POPGym: Benchmarking Partially Observable Reinforcement Learning").

The rules are those of popgym 1.0.7 (MIT), quirks included; `tests/conformance/replay_popgym.py`
replays its episodes.
"""
