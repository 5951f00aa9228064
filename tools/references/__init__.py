"""Policies and optima that know more than an agent: what its return can be measured against."""
