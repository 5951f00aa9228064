"""Learning and adaptation curves."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlformers.envs.scores import Scores
from rlformers.experiment.reports.adaptation import Curve
from rlformers.experiment.reports.figure_grid import draw_panels, line_styles
from rlformers.experiment.reports.groups import Group, curve
from rlformers.experiment.statistics.over_seeds import iqm, iqm_interval

LEARNING = "interquartile mean over seeds{}; a point is a mean over 2 % of the steps"
EVALUATED = "evaluations while training: interquartile mean over seeds{}"
THIN = "thin lines: single seeds (no interval below 8)"
BAND = "band: its 95 % interval (from 8 seeds on)"
ADAPTATION = "mean over trials and seeds{}; grey: more attempts than in training"
ADAPTATION_BAND = "band: 95 % interval over 20 tasks or more"


class MeanCurve(NamedTuple):
    """A learning curve: K points, from where an episode of every seed has ended."""

    steps: np.ndarray
    middle: np.ndarray  # interquartile mean over seeds
    low: np.ndarray  # 95 % interval; nan where there are too few seeds for one
    high: np.ndarray
    seeds: np.ndarray  # [S, K]


def learning_curve(g: Group) -> MeanCurve:
    """The learning curve of a group."""
    return mean_curve(*curve(g))


def mean_curve(steps: np.ndarray, returns: np.ndarray) -> MeanCurve:
    """The interquartile mean over seeds of returns [S, K] at K steps."""
    if not steps.size:
        return MeanCurve(steps, steps, steps, steps, np.zeros((0, 0)))
    known = np.isfinite(returns).all(axis=0)
    steps, returns = steps[known], returns[:, known]
    nothing = np.full(len(steps), np.nan)
    low, high = (iqm_interval(returns) if steps.size else None) or (nothing, nothing)
    return MeanCurve(steps, iqm(returns, axis=0) if steps.size else nothing, low, high, returns)


def legend_of(text: str, curves: Sequence[MeanCurve]) -> str:
    """`LEARNING` or `EVALUATED` with what is drawn about the spread over seeds."""
    drawn = [curve for curve in curves if curve.steps.size and len(curve.seeds) > 1]
    kinds = [BAND] * any(has_band(curve) for curve in drawn) + [THIN] * any(not has_band(curve) for curve in drawn)
    return text.format("".join(f"; {kind}" for kind in kinds))


def has_band(curve: MeanCurve | Curve) -> bool:
    """Whether it has an interval at any point."""
    return bool(np.isfinite(curve.low).any())


def plot_learning(
    groups: Sequence[Group], curves: Sequence[MeanCurve], labels: Sequence[str], path: Path, legend: str
) -> list[Path]:
    """Write `path` as `.png` and `.pdf`: a panel per environment, a line per core, and a band or the seeds.

    Grey lines are what is known of the environment: returns of chance, without memory, the ceiling,
    published ones. `labels` are those of all cores of the report, which keep their colours in every
    figure.
    """
    from matplotlib.ticker import EngFormatter

    scores = {g.env: g.scores for g in groups}

    def finish(panel: Any, env: str) -> None:
        panel.set_xlim(left=0)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k, 1M
        panel.set_xlabel("environment steps per seed")
        known = scores[env]
        if known is not None:
            draw_references(panel, known)

    legend += "; ○ unfinished" * any(not run.finished for g in groups for run in g.runs)
    lines = [
        (g.env, g.label, partial(draw_curve, curve=curve, finished=all(run.finished for run in g.runs)))
        for g, curve in zip(groups, curves, strict=True)
    ]
    width = 4.2 + 1.1 * any(s is not None for s in scores.values())
    return draw_panels(lines, line_styles(labels), finish, "episode return", legend, path, width)


def draw_references(panel: Any, scores: Scores) -> None:
    """Lines across a panel, named at its right; names of close lines share one place or move apart."""
    known = [
        (scores.random, "random", ":"),
        (scores.memoryless, "memoryless", "-."),
        (scores.ceiling, scores.ceiling_of, "--"),
        # The best of what was played; where that is the ceiling, it is there already.
        *((score.value, score.who, (0, (4, 2))) for score in scores.played[:1] if score.value != scores.ceiling),
        *((score.value, score.who, (0, (1, 3))) for score in scores.published),
    ]
    lines = sorted(((value, name, dashes) for value, name, dashes in known if value is not None), key=lambda x: x[0])
    for value, _, dashes in lines:
        panel.axhline(value, color="0.45", linewidth=0.9, linestyle=dashes, zorder=1)
    low, high = panel.get_ylim()
    merged: list[tuple[float, str]] = []
    for value, name, _ in lines:
        if merged and value - merged[-1][0] < 0.02 * (high - low):
            merged[-1] = (merged[-1][0], f"{merged[-1][1]}, {name}")
        else:
            merged.append((value, name))
    places = spread([value for value, _ in merged], 0.065 * (high - low), high)
    for (_, name), place in zip(merged, places, strict=True):
        panel.text(
            1.02,
            place,
            name,
            transform=panel.get_yaxis_transform(),
            fontsize=7.5,
            color="0.35",
            va="center",
            clip_on=False,
        )


def spread(values: Sequence[float], gap: float, top: float) -> list[float]:
    """Ascending values moved apart until neighbours are `gap` away, the last at most at `top`."""
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap) if places else value)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], top if i == len(places) - 1 else places[i + 1] - gap)
    return places


def plot_adaptation(curves: Sequence[Curve], labels: Sequence[str], out: Path) -> list[Path]:
    """Write `adaptation_curves.png` and `.pdf`: a panel per evaluated environment, a line per core over the attempts.

    Attempts beyond those of the trials in training are on grey ground. `labels` are those of the
    learning curves, whose colours are kept.
    """
    from matplotlib.ticker import MaxNLocator

    def line(curve: Curve) -> Callable[[Any, Any], Any]:
        def draw(panel: Any, style: Any) -> Any:
            attempts = np.arange(1, len(curve.mean) + 1)
            panel.fill_between(attempts, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)
            if curve.horizon < len(attempts) and not panel.patches:
                panel.axvspan(curve.horizon + 0.5, len(attempts) + 0.5, color="0.5", alpha=0.12, linewidth=0)
            return panel.plot(attempts, curve.mean, linewidth=1.8, marker="o", markersize=3.5, **style)[0]

        return draw

    def finish(panel: Any, _: str) -> None:
        panel.set_xlim(0.5, max(len(line.get_xdata()) for line in panel.lines) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("attempt")

    lines = [(curve.panel, curve.label, line(curve)) for curve in curves]
    styles = line_styles([*labels, *(curve.label for curve in curves)])
    legend = adaptation_legend(curves)
    return draw_panels(lines, styles, finish, "return of the attempt", legend, out / "adaptation_curves")


def adaptation_legend(curves: Sequence[Curve]) -> str:
    """`ADAPTATION`, with the band where one is drawn."""
    return ADAPTATION.format(f"; {ADAPTATION_BAND}" * any(map(has_band, curves)))


def draw_curve(panel: Any, style: dict[str, Any], curve: MeanCurve, finished: bool) -> Any:
    """Draw a mean curve into a panel and return its line."""
    (line,) = panel.plot(curve.steps, curve.middle, linewidth=1.8, **style)
    if has_band(curve):
        panel.fill_between(curve.steps, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)
    elif len(curve.seeds) > 1:
        panel.plot(curve.steps, curve.seeds.T, color=style["color"], linewidth=0.6, alpha=0.5, zorder=1.5)
    if curve.steps.size and not finished:
        panel.plot(curve.steps[-1:], curve.middle[-1:], "o", color=style["color"], markerfacecolor="white", zorder=3)
    return line


def learning_rows(groups: Sequence[Group], curves: Sequence[MeanCurve]) -> list[dict[str, Any]]:
    """A row per point of every curve, for the CSV file beside the figure."""
    keys = ("step", "return", "ci95_low", "ci95_high", "range_low", "range_high")
    return [
        {"env": g.env, "core": g.label, "seeds": len(curve.seeds)}
        | {key: None if np.isnan(value) else float(value) for key, value in zip(keys, point, strict=True)}
        for g, curve in zip(groups, curves, strict=True)
        if curve.steps.size
        for point in zip(*curve[:4], curve.seeds.min(axis=0), curve.seeds.max(axis=0), strict=True)
    ]
