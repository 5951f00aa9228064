"""Experiments: the outer training loop, run directories, logging and reports."""
