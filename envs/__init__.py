"""Environments: the gymnax 1.x protocol, ports, probes and wrappers. `registry` names them without importing them."""
