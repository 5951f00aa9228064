"""Comparison of runs: a page, figures and tables about cores by environments, from the files in run directories."""

from rlformers.experiment.reports.groups import Group, curve, group
from rlformers.experiment.reports.runs import Found, Run, find, read
from rlformers.experiment.reports.write import report

__all__ = ["Found", "Group", "Run", "curve", "find", "group", "read", "report"]
