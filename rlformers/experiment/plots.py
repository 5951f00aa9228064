"""Learning curves with confidence bands."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
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


def plot(groups: "list[Group]", out: Path) -> list[Path]:
    """Write `learning_curves.png` and `.pdf`: a panel per environment, a line per core with a 95 % band over seeds."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    envs = list(dict.fromkeys(g.env for g in groups))
    labels = list(dict.fromkeys(g.label for g in groups))
    columns = min(3, len(envs))
    lines = -(-len(envs) // columns)
    with matplotlib.rc_context(STYLE):
        # No pyplot: nothing global, no display, nothing to close.
        figure = Figure(figsize=(1.2 + 4.2 * columns, 0.9 + 3.1 * lines), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for env, panel in zip(envs, panels, strict=False):
            panel.set_title(env)
            for g in groups:
                if g.env == env:
                    number = labels.index(g.label)
                    style = {
                        "color": COLOURS[number % len(COLOURS)],
                        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
                    }
                    handles[g.label] = draw(panel, g, style)
            panel.set_xlim(left=0)
            panel.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k, 1M
            panel.set_xlabel("environment steps per seed")
        for panel in panels[len(envs) :]:
            panel.set_axis_off()
        for panel in panels[: len(envs) : columns]:
            panel.set_ylabel("episode return")
        marks = "; ○ unfinished" if any(not run.finished for g in groups for run in g.runs) else ""
        figure.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower center",
            ncols=min(len(labels), 2 * columns),
            frameon=False,
            title="mean over seeds with 95 % bootstrap band; a point is a mean over 2 % of the steps" + marks,
            title_fontsize=8,
        )
        paths = [out / f"learning_curves.{kind}" for kind in ("png", "pdf")]
        for path in paths:
            figure.savefig(path, dpi=160, bbox_inches="tight")
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
