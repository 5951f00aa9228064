"""Learning and adaptation curves with confidence bands."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rlformers.experiment.adaptation import Curve
    from rlformers.experiment.report import Group

# Okabe & Ito 2008, told apart by all common kinds of colour blindness; black and yellow last, as they draw the eye.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
DASHES = ("-", "--", ":", "-.")  # a second sign, and what separates more cores than there are colours
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "pdf.fonttype": 42,  # text stays text in the PDF
}


def plot_learning(groups: "Sequence[Group]", out: Path) -> list[Path]:
    """Write `learning_curves.png` and `.pdf`: a panel per environment, a line per core with a 95 % band over seeds."""
    from matplotlib.ticker import EngFormatter

    def finish(panel: Any) -> None:
        panel.set_xlim(left=0)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k, 1M
        panel.set_xlabel("environment steps per seed")

    marks = "; ○ unfinished" if any(not run.finished for g in groups for run in g.runs) else ""
    legend = "mean over seeds with 95 % bootstrap band; a point is a mean over 2 % of the steps" + marks
    lines = [(g.env, g.label, lambda panel, style, g=g: draw(panel, g, style)) for g in groups]
    return _panels(lines, finish, "episode return", legend, out / "learning_curves")


def plot_adaptation(curves: "Sequence[Curve]", out: Path) -> list[Path]:
    """Write `adaptation_curves.png` and `.pdf`: a panel per evaluated environment, a line per core over the attempts.

    Attempts beyond those of the trials in training are on grey ground.
    """
    from matplotlib.ticker import MaxNLocator

    def line(curve: "Curve") -> Callable[[Any, Any], Any]:
        def draw(panel: Any, style: Any) -> Any:
            attempts = np.arange(1, len(curve.mean) + 1)
            panel.fill_between(attempts, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)
            if curve.horizon < len(attempts) and not panel.patches:
                panel.axvspan(curve.horizon + 0.5, len(attempts) + 0.5, color="0.5", alpha=0.12, linewidth=0)
            return panel.plot(attempts, curve.mean, linewidth=1.8, marker="o", markersize=3.5, **style)[0]

        return draw

    def finish(panel: Any) -> None:
        panel.set_xlim(0.5, max(len(line.get_xdata()) for line in panel.lines) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("attempt")

    legend = "mean over trials and seeds with 95 % bootstrap band over tasks; grey: more attempts than in training"
    lines = [(curve.panel, curve.label, line(curve)) for curve in curves]
    return _panels(lines, finish, "return of the attempt", legend, out / "adaptation_curves")


def _panels(
    lines: Sequence[tuple[str, str, Callable[[Any, Any], Any]]],
    finish: Callable[[Any], None],
    ylabel: str,
    legend: str,
    path: Path,
) -> list[Path]:
    """A figure of one panel per name, with one legend, as `.png` and `.pdf`.

    Args:
        lines: Of each line the name of its panel, its label, and what draws it, given a panel and a style.
        finish: Sets up a panel that has its lines.
        ylabel: Of the panels on the left.
        legend: Says what a line and its band are.
        path: Without suffix.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for name, _, _ in lines))
    labels = list(dict.fromkeys(label for _, label, _ in lines))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context(STYLE):
        # No pyplot: nothing global, no display, nothing to close.
        figure = Figure(figsize=(1.2 + 4.2 * columns, 0.9 + 3.1 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for name, panel in zip(names, panels, strict=False):
            panel.set_title(name)
            for where, label, draw in lines:
                if where == name:
                    number = labels.index(label)
                    style = {
                        "color": COLOURS[number % len(COLOURS)],
                        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
                    }
                    handles[label] = draw(panel, style)
            finish(panel)
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        for panel in panels[: len(names) : columns]:
            panel.set_ylabel(ylabel)
        figure.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower center",
            ncols=min(len(labels), 2 * columns),
            frameon=False,
            title=legend,
            title_fontsize=8,
        )
        paths = [path.with_suffix(suffix) for suffix in (".png", ".pdf")]
        for file in paths:
            figure.savefig(file, dpi=160, bbox_inches="tight")
    return paths


def draw(panel: Any, g: "Group", style: dict[str, Any]) -> Any:
    """Draw a group into a panel and return its line."""
    from rlformers.experiment.report import curve

    steps, returns = curve(g)
    if not steps.size:
        return panel.plot([], [], **style)[0]
    known = np.isfinite(returns).all(axis=0)  # before the first finished episode of every seed there is no mean
    steps, returns = steps[known], returns[:, known]
    (line,) = panel.plot(steps, returns.mean(axis=0), linewidth=1.8, **style)
    if len(returns) > 1:
        low, high = bootstrap_band(returns)
        panel.fill_between(steps, low, high, color=style["color"], alpha=0.18, linewidth=0)
    if steps.size and not all(run.finished for run in g.runs):
        panel.plot(steps[-1:], returns.mean(axis=0)[-1:], "o", color=style["color"], markerfacecolor="white", zorder=3)
    return line


def bootstrap_band(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile bootstrap interval of the mean over the first axis: [S, K] -> [K], [K]."""
    rng = np.random.default_rng(0)
    index = rng.integers(len(returns), size=(1000, len(returns)))
    # The mean of a resample is a product with how often each seed is in it: K is spared in memory.
    counts = np.stack([(index == seed).mean(axis=1) for seed in range(len(returns))], axis=1)
    low, high = np.quantile(counts @ returns, [0.025, 0.975], axis=0)
    return low, high
