"""The figures of `rlformers inspect`, each with a line that says how to read it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlformers.experiment.inspection.influence import by_lag, lag_that_holds
from rlformers.experiment.inspection.time_scales import time_scales
from rlformers.experiment.reports.figure_grid import COLOURS, STYLE, new_figure, save

NOTHING = "0.85"  # grey for entries that are exactly 0
MOST_POINTS = 4000  # per layer in the complex plane


def draw_influence(matrices: dict[str, np.ndarray], start: np.ndarray, inputs: str, who: str, path: Path) -> list[Path]:
    """Write the influence matrices, on a logarithmic scale of four decades."""
    from matplotlib.colors import LogNorm

    def fill(figure: Any) -> None:
        panels = figure.subplots(1, len(matrices), squeeze=False)[0]
        for panel, (name, matrix) in zip(panels, matrices.items(), strict=True):
            top = float(matrix.max()) or 1.0
            # Entries below the scale that are not 0 get the last colour of the scale.
            shown = np.where(matrix > 0, np.maximum(matrix, 1e-4 * top), np.nan)
            image = _matrix(panel, shown, start, norm=LogNorm(1e-4 * top, top))
            panel.set_title(f"|∂{name}ₜ / ∂ inputₛ|")
            panel.set_xlabel("s: step of the input")
            panel.set_ylabel(f"t: step of the {name}")
            figure.colorbar(image, ax=panel, shrink=0.8)

    how = (
        f"Row t: how much the {inputs} of every step s sways the agent at step t. Grey is exactly 0: the future, and\n"
    )
    how += "steps before a start of the memory (dotted). A bright line k steps below the diagonal: it recalls lag k."
    return _save(fill, (10.0, 4.9), who, how, path)


def draw_horizon(
    profiles: dict[str, np.ndarray], shares: Sequence[float], inputs: str, who: str, path: Path
) -> list[Path]:
    """Write the mean influence by lag."""

    def fill(figure: Any) -> None:
        panels = figure.subplots(1, len(profiles), squeeze=False)[0]
        for panel, (name, profile), colour in zip(panels, profiles.items(), COLOURS, strict=False):
            total = profile.sum() or 1.0
            panel.bar(np.arange(len(profile)), 100 * profile / total, color=colour, width=0.9)
            for share, style in zip(shares, ("--", ":"), strict=False):
                lag = lag_that_holds(profile, share)
                if lag is not None:
                    panel.axvline(lag + 0.5, color="0.3", linestyle=style, label=f"{share:.0%} within lag {lag}")
            panel.set_title(f"gradient through time of the {name}")
            panel.set_xlabel("lag t - s (steps)")
            panel.set_ylabel("share of the influence (%)")
            panel.set_xlim(-0.7, len(profile) - 0.3)
            if panel.lines:
                panel.legend(frameon=False)

    how = f"How far back the agent looks: mean norm of the derivative with respect to the {inputs} at each lag,\n"
    how += "over all pairs of steps that share a memory. Long lags are means over few pairs."
    return _save(fill, (10.0, 3.9), who, how, path)


def draw_attention(layers: Sequence[np.ndarray], start: np.ndarray, who: str, path: Path) -> list[Path]:
    """Write the attention maps, a row per layer and a column per head."""
    from matplotlib.colors import PowerNorm

    rows, columns = len(layers), max(len(layer) for layer in layers)
    scale = PowerNorm(0.5, 0, 1)  # otherwise small weights, which a row can have many of, would be black

    def fill(figure: Any) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        for i, layer in enumerate(layers):
            for panel in panels[i, len(layer) :]:
                panel.set_axis_off()
            for h, (panel, weights) in enumerate(zip(panels[i], layer, strict=False)):
                image = _matrix(panel, np.where(weights > 0, weights, np.nan), start, norm=scale)
                lag = int(np.argmax(by_lag(weights, start)))
                panel.set_title(f"layer {i + 1}, head {h + 1}: peak at lag {lag}", fontsize=9)
                if i == rows - 1:
                    panel.set_xlabel("key: step looked at")
                if h == 0:
                    panel.set_ylabel("query: step that looks")
        figure.colorbar(image, ax=panels, shrink=0.8, label="weight")

    how = (
        "Every row adds up to 1 (unless softmax is clipped): where a step looks. Grey is exactly 0: the future, steps\n"
    )
    how += "outside the window, and steps before a start of the memory (dotted)."
    return _save(fill, (1.2 + 2.7 * columns, 1.2 + 2.6 * rows), who, how, path)


def draw_spectrum(
    layers: Sequence[np.ndarray], before: Sequence[np.ndarray], start: np.ndarray, who: str, path: Path
) -> list[Path]:
    """Write eigenvalues and time scales, a row per layer."""

    def fill(figure: Any) -> None:
        panels = figure.subplots(len(layers), 2, squeeze=False)
        for i, (after, initial) in enumerate(zip(layers, before, strict=True)):
            left, right = panels[i]
            if len(after) > 1 and not np.iscomplex(after).any():
                _scales_over_time(left, after, start)
            else:
                _plane(left, initial, "0.6", "before training")
                _plane(left, after, COLOURS[0], "after")
                left.legend(frameon=False, loc="upper left", fontsize=8)
            left.set_title(f"layer {i + 1}: {left.get_title()}")
            _scales(right, initial, after)

    how = "One step multiplies a part of the state by λ. After the time scale of -1/log|λ| steps, 1/e of it is left.\n"
    how += "Angles are oscillations. A memory of k steps needs time scales of k and more."
    return _save(fill, (10.0, 0.9 + 3.6 * len(layers)), who, how, path)


def draw_state(norms: dict[str, np.ndarray], start: np.ndarray, who: str, path: Path) -> list[Path]:
    """Write the norm of every part of the state over the steps."""
    columns = min(3, len(norms))
    rows = -(-len(norms) // columns)

    def fill(figure: Any) -> None:
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for panel, (name, norm) in zip(panels, norms.items(), strict=False):
            panel.plot(np.arange(1, len(norm) + 1), norm, color=COLOURS[0], linewidth=1.4)
            panel.set_title(name, fontsize=9, family="monospace")
            panel.set_ylim(bottom=min(0, float(norm.min())))
            for first in np.flatnonzero(start):
                panel.axvline(first + 1, color=COLOURS[1], linestyle=":", linewidth=1)
        for panel in panels[len(norms) :]:
            panel.set_axis_off()
        for panel in panels[max(0, len(norms) - columns) : len(norms)]:
            panel.set_xlabel("step")
            panel.tick_params(labelbottom=True)

    how = "Euclidean norm of every part of the memory after each step (of a counter: the number). Dotted: a start,\n"
    how += "where the memory is emptied. A memory that keeps growing within an episode does not fit long ones."
    return _save(fill, (max(6.5, 1.2 + 3.0 * columns), 1.0 + 2.0 * rows), who, how, path)


def _matrix(panel: Any, matrix: np.ndarray, start: np.ndarray, **scale: Any) -> Any:
    import matplotlib

    T = len(matrix)
    panel.grid(visible=False)
    panel.set_facecolor(NOTHING)
    image = panel.imshow(
        np.ma.masked_invalid(matrix),
        extent=(0.5, T + 0.5, T + 0.5, 0.5),
        interpolation="nearest",
        cmap=matplotlib.colormaps["magma"],
        **scale,
    )
    for first in np.flatnonzero(start)[1:]:
        panel.axhline(first + 0.5, color=COLOURS[4], linestyle=":", linewidth=1)
        panel.axvline(first + 0.5, color=COLOURS[4], linestyle=":", linewidth=1)
    return image


def _plane(panel: Any, eigenvalues: np.ndarray, colour: str, label: str) -> None:
    points = eigenvalues.ravel()
    points = points[:: -(-len(points) // MOST_POINTS)]
    if not panel.patches:
        from matplotlib.patches import Circle

        panel.add_patch(Circle((0, 0), 1, fill=False, color="0.3", linewidth=0.8))
        panel.set_aspect("equal")
        panel.set_title("eigenvalues λ and the unit circle")
        panel.set_xlabel("real part")
        panel.set_ylabel("imaginary part")
    panel.plot(points.real, points.imag, ".", color=colour, markersize=5, alpha=0.7, label=label)


def _scales_over_time(panel: Any, eigenvalues: np.ndarray, start: np.ndarray) -> None:
    scales = np.minimum(time_scales(eigenvalues), 1e6)
    low, median, high = np.percentile(scales, (5, 50, 95), axis=1)
    steps = np.arange(1, len(scales) + 1)
    panel.fill_between(steps, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="5 to 95 % of the units")
    panel.plot(steps, median, color=COLOURS[0], label="median")
    for first in np.flatnonzero(start):
        panel.axvline(first + 1, color=COLOURS[1], linestyle=":", linewidth=1)
    panel.set_yscale("log")
    panel.set_title("time scales that the inputs choose")
    panel.set_xlabel("step (dotted: start)")
    panel.set_ylabel("time scale (steps)")
    panel.legend(frameon=False, fontsize=8)


def _scales(panel: Any, before: np.ndarray, after: np.ndarray) -> None:
    scales = [np.clip(time_scales(values).ravel(), 1e-2, 1e6) for values in (before, after)]
    low, high = min(s.min() for s in scales), max(s.max() for s in scales)
    edges = np.geomspace(low / 1.3, high * 1.3, 25)
    styles = {"histtype": "step", "color": "0.3", "linewidth": 1.3}, {"color": COLOURS[0], "alpha": 0.6}
    for values, style in zip(scales, styles, strict=True):
        panel.hist(values, edges, weights=np.full(len(values), 100 / len(values)), **style)
    panel.set_xscale("log")
    panel.set_title("time scales (outline: before training)")
    panel.set_xlabel("time scale -1/log|λ| (steps)")
    panel.set_ylabel("share of the eigenvalues (%)")


def _save(fill: Callable[[Any], None], size: tuple[float, float], who: str, how: str, path: Path) -> list[Path]:
    """Write a figure in all formats, with a title and a line below that says how to read it."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = new_figure(*size)
        fill(figure)
        figure.suptitle(who, fontsize=10)
        figure.supxlabel(how, fontsize=8)
        return save(figure, path)
