"""Evaluation of trained agents on whole episodes."""
