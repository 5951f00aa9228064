"""The agent, one token of one environment at a time. autograd can differentiate all of it.

A memory is what each layer remembers: a GRU its h, a layer of GTrXL a list of its last inputs. Parameters are read
from our modules by name.
"""

import autograd.numpy as np
import naive
from naive import dense, f64


def empty(agent):
    """The memory at the start of an episode."""
    return [[] if hasattr(layer, "M") else np.zeros(len(layer.c_n)) for layer in agent.core.layers]


def step(agent, memory, obs, start):
    """The memory after an observation, {action: log π} of the actions that are possible, and V."""
    masked = isinstance(obs, dict)
    y = f64(obs["obs"] if masked else obs)
    for layer in agent.encoder.layers:
        y = relu(dense(layer, y))
    new = []
    for layer, remembered in zip(agent.core.layers, empty(agent) if start else memory, strict=True):
        if hasattr(layer, "M"):
            tokens = [*remembered, y]
            new.append(tokens[-layer.M :])
            y = naive.gtrxl_layer(layer, tokens)
        else:
            (y,), h = naive.gru(layer, [y], [False], remembered)
            new.append(h)
    y = naive.layer_norm(agent.final_norm, y)
    logits = head(agent.actor, y)
    possible = np.flatnonzero(obs["action_mask"]) if masked else range(len(logits))
    total = np.log(sum(np.exp(logits[action]) for action in possible))
    return new, {action: logits[action] - total for action in possible}, head(agent.critic, y)[0]


def head(module, y):
    for layer in module.hidden:
        y = relu(dense(layer, y))
    return dense(module.out, y)


def relu(x):
    return np.where(x > 0, x, 0.0)
