"""Figures of the comparison over all environments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlformers.experiment.reports.figure_grid import STYLE, line_styles, new_figure, save
from rlformers.experiment.reports.table_formats import Table


def plot_aggregate(table: Table, labels: Sequence[str], out: Path) -> list[Path]:
    """Write `aggregate.png` and `.pdf`: a point per core, with its interval where there is one, the best on top."""
    import matplotlib

    styles = line_styles(labels)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(6.4, 1.0 + 0.38 * len(table.rows))
        panel = figure.subplots()
        for place, row in enumerate(reversed(table.rows)):
            colour = styles[row["core"]]["color"]
            if row["ci95_low"] is not None:
                panel.plot(
                    [row["ci95_low"], row["ci95_high"]],
                    [place] * 2,
                    color=colour,
                    linewidth=7,
                    alpha=0.35,
                    solid_capstyle="butt",
                )
            panel.plot(row["iqm"], place, "o", color=colour, markersize=6)
        with_interval = any(row["ci95_low"] is not None for row in table.rows)
        panel.set_yticks(range(len(table.rows)), [row["core"] for row in reversed(table.rows)])
        panel.set_ylim(-0.6, len(table.rows) - 0.4)
        panel.grid(axis="y", visible=False)
        panel.axvline(0, color="0.45", linewidth=0.9, linestyle=":")
        panel.axvline(1, color="0.45", linewidth=0.9, linestyle="--")
        panel.set_xlabel("normalised return, IQM" + " with 95 % interval" * with_interval + " (0: chance, 1: ceiling)")
        return save(figure, out / "aggregate")


def plot_profile(table: Table, labels: Sequence[str], out: Path) -> list[Path]:
    """Write `performance_profile.png` and `.pdf`: the share of runs above every threshold, a line per core."""
    import matplotlib

    styles = line_styles(labels)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(6.4, 3.8)
        panel = figure.subplots()
        for label in dict.fromkeys(row["core"] for row in table.rows):
            rows = [row for row in table.rows if row["core"] == label]
            taus, shares, low, high = (
                np.array([row[key] for row in rows], float) for key in ("threshold", "share", "ci95_low", "ci95_high")
            )
            panel.plot(taus, shares, linewidth=1.8, label=label, **styles[label])
            panel.fill_between(taus, low, high, color=styles[label]["color"], alpha=0.15, linewidth=0)
        panel.set_ylim(-0.02, 1.02)
        panel.set_xlabel("normalised return τ (0: chance, 1: ceiling)")
        panel.set_ylabel("share of runs above τ")
        figure.legend(loc="outside lower center", ncols=min(len(styles), 4), frameon=False)
        return save(figure, out / "performance_profile")


def plot_improvement(table: Table, out: Path) -> list[Path]:
    """Write `probability_of_improvement.png` and `.pdf`: a square per pair of cores, with p and the runs in it."""
    import matplotlib

    labels = list(dict.fromkeys(row["core"] for row in table.rows))
    values = np.full((len(labels), len(labels)), np.nan)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        size = max(0.75, min(1.1, 12 / len(labels)))
        figure = new_figure(2.6 + size * len(labels), 1.4 + size * 0.8 * len(labels))
        panel = figure.subplots()
        for row in table.rows:
            i, j = labels.index(row["core"]), labels.index(row["over"])
            values[i, j] = row["probability"]
            panel.text(j, i, _text(row), ha="center", va="center", fontsize=8, color=_ink(row["probability"]))
        image = panel.imshow(values, vmin=0, vmax=1, cmap="PuOr", aspect="auto")
        slanted = max(map(len, labels)) > 8
        panel.set_xticks(range(len(labels)), labels, rotation=30 * slanted, ha="right" if slanted else "center")
        panel.set_yticks(range(len(labels)), labels)
        panel.set_xlabel("core Y")
        panel.set_ylabel("core X")
        for spine in panel.spines.values():
            spine.set_visible(False)
        figure.colorbar(image, ax=panel, label="P(X > Y)", shrink=0.9)
        return save(figure, out / "probability_of_improvement")


def _text(row: dict[str, Any]) -> str:
    return f"{row['probability']:.2f}\np = {row['p_value']:.2g}\nn = {row['runs']}, {row['over_runs']}"


def _ink(probability: float) -> str:
    return "black" if 0.12 < probability < 0.75 else "white"
