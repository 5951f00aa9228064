"""A line with the progress of a run: live in a terminal; elsewhere after every tenth of the run, and once a minute."""

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

_AT_LEAST_EVERY = 60.0  # seconds between two lines, outside a terminal


class Progress:
    """Steps, steps per second, mean return of the last episodes, elapsed and remaining time."""

    def __init__(self, total_steps: int, num_seeds: int, first_step: int = 0):
        self.total, self.num_seeds, self.first = total_steps, num_seeds, first_step
        self.started = self.said = time.perf_counter()
        self.next_line = 0.0
        console = Console()
        # Notebooks and files keep every line: they cannot redraw one.
        live = console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()
        self.live = Live(console=console, refresh_per_second=4) if live else None
        if self.live:
            self.live.start()

    def show(self, step: int, rate: float, last_return: float | None) -> None:
        """Report `step` environment steps per seed at `rate` steps per second of all seeds together."""
        now, fraction = time.perf_counter(), step / self.total
        passed = now - self.started
        left = passed * (self.total - step) / (step - self.first)
        episode_return = "-" if last_return is None else f"{last_return:.3f}"
        seeds = f" x {self.num_seeds} seeds" if self.num_seeds > 1 else ""
        line = (
            f"{fraction:4.0%}  {step:,}/{self.total:,} steps{seeds}  {rate:,.0f} steps/s  return {episode_return}  "
            f"{hours(passed)} passed, {hours(left)} left, until {clock(time.time() + left)}"
        )
        if self.live:
            self.live.update(Text(line))
        elif fraction >= self.next_line or now - self.said >= _AT_LEAST_EVERY:
            print(line, flush=True)
            self.said = now
            self.next_line = int(fraction * 10 + 1) / 10

    def close(self) -> None:
        """Stop updating and keep the last line."""
        if self.live:
            self.live.stop()


def hours(seconds: float) -> str:
    """A duration as h:mm, rounded."""
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02}"


def clock(moment: float) -> str:
    """A point in time as the local time of day, with the date if it is not today."""
    then = time.localtime(moment)
    today = time.localtime()[:3] == then[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)
