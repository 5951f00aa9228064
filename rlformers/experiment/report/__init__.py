"""Comparison of runs: a page, figures and tables about cores by environments, from the files in run directories."""

from rlformers.experiment.report.groups import Group, curve, group
from rlformers.experiment.report.runs import Found, Run, find, read
from rlformers.experiment.report.write import report

__all__ = ["Found", "Group", "Run", "curve", "find", "group", "read", "report"]
