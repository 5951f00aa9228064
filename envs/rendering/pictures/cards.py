"""Games of cards, and bandits."""

from typing import Any

import numpy as np

from rlformers.envs.rendering.pictures.canvas import BLUE, GOLD, INK, ORANGE, PALE, RED, WHITE, Canvas, Colour

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
SUITS = ("spade", "heart", "club", "diamond")
FELT: Colour = (58, 116, 90)
LEFT: Colour = (150, 194, 172)  # bars on the felt
EMPTY: Colour = (80, 138, 111)


def suit(canvas: Canvas, kind: int, x: float, y: float, size: float) -> None:
    """A spade, heart, club or diamond of some size around (x, y)."""
    name, half = SUITS[kind], size / 2
    colour = RED if name in ("heart", "diamond") else INK
    if name == "diamond":
        canvas.polygon([(x, y - half), (x + 0.75 * half, y), (x, y + half), (x - 0.75 * half, y)], colour)
        return
    if name == "heart":
        turn, middle = 1.0, y
    else:
        turn, middle = -1.0, y - 0.15 * half
        canvas.polygon([(x, y), (x + 0.4 * half, y + half), (x - 0.4 * half, y + half)], colour)
    if name == "club":
        for dx, dy in ((0, -0.45), (-0.45, 0.15), (0.45, 0.15)):
            canvas.circle(x + dx * half, middle + dy * half, 0.42 * half, colour)
        return
    angle = np.linspace(0, 2 * np.pi, 60)
    across = 16 * np.sin(angle) ** 3
    down = -(13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle))
    canvas.polygon(np.stack([x + half * across / 17, middle + turn * half * down / 17], axis=1).tolist(), colour)


def card(
    canvas: Canvas, x: float, y: float, height: float, kind: int | None, num_kinds: int = 4, frame: Colour | None = None
) -> None:
    """A card around (x, y): face down if `kind` is None, else its colour (of 2), suit (of 4) or rank (of 13)."""
    half_width, half, radius = 0.35 * height, 0.5 * height, 0.08 * height
    edge = 0.06 * height if frame else 0.025 * height
    box = (x - half_width, y - half, x + half_width, y + half)
    canvas.rectangle(box[0] - edge, box[1] - edge, box[2] + edge, box[3] + edge, frame or INK, radius + edge)
    canvas.rectangle(*box, BLUE if kind is None else WHITE, radius)
    if kind is None:
        inner = 0.1 * height
        canvas.rectangle(box[0] + inner, box[1] + inner, box[2] - inner, box[3] - inner, (92, 142, 203), radius / 2)
    elif num_kinds == 2:
        canvas.circle(x, y, 0.22 * height, (INK, RED)[kind])
    elif num_kinds == 4:
        suit(canvas, kind, x, y, 0.5 * height)
    else:
        canvas.text(x, y, RANKS[kind], 0.4 * height, INK)


def bars(
    canvas: Canvas, values: Any, top: float, bottom: float, most: int | float, mark: int = -1, on_felt: bool = True
) -> None:
    """Upright bars of values in 0 .. most, one of them marked."""
    colour, empty = (LEFT, EMPTY) if on_felt else (BLUE, PALE)
    width = 0.86 / len(values)
    for index, value in enumerate(np.asarray(values, float)):
        left = 0.07 + index * width
        height = (bottom - top) * np.clip(value / most, 0, 1)
        canvas.rectangle(left + 0.12 * width, top, left + 0.88 * width, bottom, empty)
        shade = GOLD if index == mark else colour
        canvas.rectangle(left + 0.12 * width, bottom - height, left + 0.88 * width, bottom, shade)


def table(canvas: Canvas) -> None:
    """A table to play on."""
    canvas.rectangle(0.0, 0.0, 1.0, 1.0, FELT)


def left_in_deck(canvas: Canvas, remaining: Any, full: int) -> None:
    """How many cards of each kind are left, along the bottom."""
    bars(canvas, remaining, 0.72, 0.9, full)
    for index in range(len(remaining)):
        if len(remaining) == 4:
            suit(canvas, index, 0.07 + 0.86 * (index + 0.5) / 4, 0.81, 0.09)


def spread(canvas: Canvas, kinds: Any, num_kinds: int, top: float, bottom: float, frames: dict[int, Colour]) -> None:
    """Cards in rows that fill a part of the picture; some of them framed. A negative kind lies face down."""
    number, columns = len(kinds), 1
    # Places are 1.35 times as high as they are wide; as few columns as fit make the largest cards.
    while columns < number and -(-number // columns) * 1.35 * 0.92 / columns > bottom - top:
        columns += 1
    rows, pitch = -(-number // columns), 0.92 / columns
    height = min(1.35 * pitch, bottom - top, 0.5) * 0.84
    for index, kind in enumerate(kinds):
        row, column = divmod(index, columns)
        x = 0.5 + pitch * (column - (columns - 1) / 2)
        y = (top + bottom) / 2 + 1.35 * pitch * (row - (rows - 1) / 2)
        card(canvas, x, y, height, None if kind < 0 else int(kind), num_kinds, frames.get(index))


def repeat_first(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The card to remember, and what is left of the deck."""
    table(canvas)
    card(canvas, 0.5, 0.36, 0.5, int(state.first), frame=GOLD)
    left_in_deck(canvas, state.remaining, env.num_cards // 4)


def repeat_previous(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The last k cards, newest last; the one to name is framed."""
    table(canvas)
    shown = env.num_cards - int(state.remaining.sum())
    kinds = np.where(np.arange(env.k) >= env.k - shown, state.recent, -1)
    spread(canvas, kinds, 4, 0.04, 0.68, {0: GOLD})
    left_in_deck(canvas, state.remaining, env.num_cards // 4)


def autoencode(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The cards to recite; while they are recited, the next one is framed."""
    table(canvas)
    playing = not state.remaining.any()
    held = int(state.num_held)
    kinds = np.where(np.arange(env.num_cards) < held, state.shown, -1)
    spread(canvas, kinds, 4, 0.04, 0.96, {held - 1: GOLD if playing else WHITE})


def count_recall(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The card asked for, and how often each kind was shown."""
    table(canvas)
    full = env.num_cards // env.num_kinds
    card(canvas, 0.5, 0.3, 0.44, int(state.query), env.num_kinds)
    canvas.text(0.76, 0.3, "?", 0.2, WHITE)
    counts = full - state.values
    bars(canvas, counts, 0.62, 0.86, full, mark=int(state.query))
    canvas.text(0.5, 0.93, str(int(counts[state.query])), 0.06, GOLD)


def higher_lower(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The last card, and how many of each rank are left."""
    table(canvas)
    card(canvas, 0.5, 0.34, 0.5, int(state.rank), 13)
    bars(canvas, state.remaining, 0.7, 0.93, env.num_cards // 13, mark=int(state.rank))


def concentration(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """The table: cards that stay up, and the first one of a try, framed."""
    table(canvas)
    first = int(state.first)
    up = state.matched | (np.arange(env.num_cards) == first)
    spread(canvas, np.where(up, state.table, -1), env.num_kinds, 0.03, 0.97, {first: GOLD} if first >= 0 else {})


def chances(canvas: Canvas, values: Any) -> None:
    """Bars between 0 and 1 or, if they leave that, around 0; the largest is marked."""
    values = np.asarray(values, float)
    low = min(0.0, float(values.min()))
    most = max(1.0, float(values.max()) - low)
    bars(canvas, values - low, 0.12, 0.88, most, mark=int(values.argmax()), on_felt=False)
    canvas.line((0.05, 0.88 + 0.76 * low / most), (0.95, 0.88 + 0.76 * low / most), 0.008, INK)


def bandit(canvas: Canvas, env: Any, state: Any, params: Any) -> None:
    """What every arm pays; the passing time."""
    chances(canvas, state.payouts if hasattr(state, "payouts") else params.means)
    limit = env.pulls if hasattr(env, "pulls") else params.max_steps_in_episode
    canvas.rectangle(0.07, 0.94, 0.93, 0.96, PALE)
    canvas.rectangle(0.07, 0.94, 0.07 + 0.86 * min(1.0, float(state.time) / float(limit)), 0.96, ORANGE)
