"""Poles, pendulums, cars and points."""

import math
from typing import Any

import numpy as np

from rlformers.envs.rendering.pictures.canvas import BLUE, GOLD, GREEN, GREY, INK, ORANGE, PALE, RED, Canvas


def cartpole(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """Track, cart and pole."""
    reach = float(params.x_threshold)
    scale, ground = 0.44 / (1.15 * reach), 0.72
    x = 0.5 + scale * float(np.clip(state.x, -1.1 * reach, 1.1 * reach))
    canvas.line((0.04, ground + 0.09), (0.96, ground + 0.09), 0.012, GREY)
    for end in (-reach, reach):
        canvas.line((0.5 + scale * end, ground + 0.06), (0.5 + scale * end, ground + 0.12), 0.012, RED)
    canvas.rectangle(x - 0.1, ground - 0.045, x + 0.1, ground + 0.045, INK, 0.015)
    for side in (-0.06, 0.06):
        canvas.circle(x + side, ground + 0.055, 0.032, GREY)
    length = 0.5 * float(params.length) / 0.5
    theta = float(state.theta)
    tip = (x + length * math.sin(theta), ground - 0.03 - length * math.cos(theta))
    canvas.line((x, ground - 0.03), tip, 0.036, ORANGE)
    canvas.circle(x, ground - 0.03, 0.022, PALE)


def pendulum(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """A rod around the centre; the arc shows its velocity."""
    theta, velocity = float(state.theta), float(state.theta_dot)
    canvas.circle(0.5, 0.5, 0.44, PALE)
    canvas.circle(0.5, 0.5, 0.425, (250, 249, 245))
    sweep = np.linspace(0, velocity / 8 * math.pi, 40)
    for angle in sweep:
        canvas.circle(0.5 + 0.43 * math.sin(theta + angle), 0.5 - 0.43 * math.cos(theta + angle), 0.014, BLUE)
    tip = (0.5 + 0.36 * math.sin(theta), 0.5 - 0.36 * math.cos(theta))
    canvas.line((0.5, 0.5), tip, 0.06, ORANGE)
    canvas.circle(*tip, 0.05, RED)
    canvas.circle(0.5, 0.5, 0.035, INK)


def pendulum_of_gymnax(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The same, whose angles are arrays of one number or none."""
    from types import SimpleNamespace

    theta, velocity = (float(np.ravel(part)[0]) for part in (state.theta, state.theta_dot))
    pendulum(canvas, env, SimpleNamespace(theta=theta, theta_dot=velocity), params)


def acrobot(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """Two links, and the line that the tip shall reach."""
    scale = 0.2
    first = float(state.joint_angle1)
    second = first + float(state.joint_angle2)
    elbow = (0.5 + scale * math.sin(first), 0.5 + scale * math.cos(first))
    tip = (elbow[0] + scale * math.sin(second), elbow[1] + scale * math.cos(second))
    canvas.line((0.05, 0.5 - scale), (0.95, 0.5 - scale), 0.01, GREEN)
    canvas.line((0.5, 0.5), elbow, 0.05, BLUE)
    canvas.line(elbow, tip, 0.05, ORANGE)
    for joint in ((0.5, 0.5), elbow):
        canvas.circle(*joint, 0.022, INK)


def mountain_car(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The valley, the car and the flag."""
    low, high = float(params.min_position), float(params.max_position)

    def place(position: float) -> tuple[float, float]:
        return (position - low) / (high - low), 0.62 - 0.24 * math.sin(3 * position)

    slope = [place(position) for position in np.linspace(low, high, 80)]
    canvas.polygon([*slope, (1.0, 1.0), (0.0, 1.0)], (186, 205, 170))
    x, y = place(float(params.goal_position))
    canvas.line((x, y), (x, y - 0.16), 0.012, INK)
    canvas.polygon([(x, y - 0.16), (x + 0.08, y - 0.13), (x, y - 0.1)], RED)
    position = float(np.ravel(state.position)[0])
    x, y = place(position)
    # The picture's slope dy/dx, y pointing down.
    angle = math.atan(-0.72 * math.cos(3 * position) * (high - low))
    along, up = (math.cos(angle), math.sin(angle)), (math.sin(angle), -math.cos(angle))
    corners = [(-0.055, 0.025), (0.055, 0.025), (0.05, 0.06), (0.02, 0.085), (-0.03, 0.085), (-0.055, 0.06)]
    canvas.polygon([(x + a * along[0] + h * up[0], y + a * along[1] + h * up[1]) for a, h in corners], ORANGE)
    for a in (-0.03, 0.03):
        canvas.circle(x + a * along[0] + 0.02 * up[0], y + a * along[1] + 0.02 * up[1], 0.02, INK)


def point_robot(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The half circle, the hidden goal on it, and the point; in gymnax the goal is part of the state."""
    position = state.pos if hasattr(state, "pos") else state.position

    def place(x: float, y: float) -> tuple[float, float]:
        return 0.5 + 0.36 * x, 0.66 - 0.36 * y

    for angle in np.linspace(0, math.pi, 90):
        canvas.circle(*place(math.cos(angle), math.sin(angle)), 0.006, GREY)
    goal = place(*(float(part) for part in (params if hasattr(params, "goal") else state).goal))
    canvas.circle(*goal, 0.36 * 0.2, (250, 224, 150))
    canvas.circle(*goal, 0.02, GOLD)
    canvas.circle(*place(0.0, 0.0), 0.012, GREY)
    canvas.circle(*place(*(float(np.clip(part, -1.35, 1.35)) for part in position)), 0.03, BLUE)


def localisation(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The start, the walker as it looks, and the sector to name, on a scale that fits."""
    position, sectors = np.asarray(state.position, float), env.num_answers
    reach = 1.2 * max(float(np.abs(position).max()), 1.0)
    bearing = math.atan2(position[1], position[0]) % (2 * math.pi)
    sector = min(int(bearing * sectors / (2 * math.pi)), sectors - 1)
    rim = [2 * math.pi * (sector + part) / sectors for part in np.linspace(0, 1, 20)]
    canvas.polygon([(0.5, 0.5), *((0.5 + 0.47 * math.cos(a), 0.5 - 0.47 * math.sin(a)) for a in rim)], (250, 234, 190))
    for index in range(sectors):
        angle = 2 * math.pi * index / sectors
        canvas.line((0.5, 0.5), (0.5 + 0.47 * math.cos(angle), 0.5 - 0.47 * math.sin(angle)), 0.004, PALE)
    x, y = 0.5 + 0.46 * position[0] / reach, 0.5 - 0.46 * position[1] / reach
    canvas.line((0.5, 0.5), (x, y), 0.01, GREY)
    canvas.circle(0.5, 0.5, 0.02, INK)
    heading = float(state.heading)
    nose = (x + 0.06 * math.cos(heading), y - 0.06 * math.sin(heading))
    canvas.line((x, y), nose, 0.02, ORANGE)
    canvas.circle(x, y, 0.03, BLUE)
