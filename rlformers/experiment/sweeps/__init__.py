"""Sweeps: many runs by one command."""
