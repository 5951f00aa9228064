"""What all figures share: style, colours, and the grid of panels with one legend."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Okabe & Ito 2008, told apart by all common kinds of colour blindness; black and yellow last, as they draw the eye.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
DASHES = ("-", "--", ":", "-.")  # a second sign, and what separates more cores than there are colours
SUFFIXES = (".png", ".pdf")
DPI = 160  # of the PNG files
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "pdf.fonttype": 42,  # text stays text in the PDF
}


def line_styles(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of every label."""
    return {
        label: {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % len(DASHES)]}
        for i, label in enumerate(dict.fromkeys(labels))
    }


def new_figure(width: float, height: float) -> Any:
    """A figure of so many inches. No pyplot: nothing global, no display, nothing to close."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Any, path: Path) -> list[Path]:
    """Write a figure as `.png` and `.pdf`; `path` is without suffix."""
    paths = [path.with_suffix(suffix) for suffix in SUFFIXES]
    figure.savefig(paths[0], dpi=DPI)
    figure.set_layout_engine("none")  # as it is now
    figure.savefig(paths[1])
    return paths


def draw_panels(
    lines: Sequence[tuple[str, str, Callable[[Any, Any], Any]]],
    styles: dict[str, dict[str, Any]],
    finish: Callable[[Any, str], None],
    ylabel: str,
    legend: str,
    path: Path,
    panel_width: float = 4.2,
) -> list[Path]:
    """A figure of one panel per name, with one legend, as `.png` and `.pdf`.

    Args:
        lines: Of each line the name of its panel, its label, and what draws it, given a panel and a style.
        styles: Of every label.
        finish: Sets up a panel that has its lines, given the panel and its name.
        ylabel: Of the panels on the left.
        legend: Says what a line and its band are.
        path: Without suffix.
        panel_width: In inches.
    """
    import matplotlib

    names = list(dict.fromkeys(name for name, _, _ in lines))
    labels = list(dict.fromkeys(label for _, label, _ in lines))
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context(STYLE):
        width = 1.2 + panel_width * columns
        figure = new_figure(width, 0.9 + 3.1 * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for name, panel in zip(names, panels, strict=False):
            panel.set_title(name)
            for where, label, draw in lines:
                if where == name:
                    handles[label] = draw(panel, styles[label])
            finish(panel, name)
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        for panel in panels[: len(names) : columns]:
            panel.set_ylabel(ylabel)
        drawn = figure.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower center",
            ncols=min(len(labels), 3 * columns),
            frameon=False,
            title=textwrap.fill(legend, int(15 * width)),  # a letter is about 1/16 of an inch wide
            title_fontsize=8,
        )
        drawn.get_title().set_multialignment("center")
        return save(figure, path)
