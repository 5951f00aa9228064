"""Schedules by hand."""

import pytest

from rlformers.agents.schedules import linear_decay, linear_warmup


@pytest.mark.parametrize("update,factor", [(0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0), (9, 0.0)])
def test_linear_decay(update, factor):
    assert float(linear_decay(update, 4)) == factor


@pytest.mark.parametrize(
    "update,warmup,factor", [(0, 0.5, 0.25), (1, 0.5, 0.5), (3, 0.5, 1.0), (7, 0.5, 1.0), (0, 0.0, 1.0), (5, 1.0, 0.75)]
)
def test_linear_warmup(update, warmup, factor):
    assert float(linear_warmup(update, warmup, 8)) == factor
