"""One line that says how far a run is: live in a terminal, every tenth of the run elsewhere."""

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Progress:
    """Steps, steps per second, mean return of the last episodes, and the time that is left."""

    def __init__(self, total_steps: int, num_seeds: int, first_step: int = 0):
        self.total, self.num_seeds, self.first = total_steps, num_seeds, first_step
        self.started = time.perf_counter()
        self.next_line = 0.0
        console = Console()
        self.live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        if self.live:
            self.live.start()

    def show(self, step: int, rate: float, last_return: float | None) -> None:
        """Report `step` environment steps per seed at `rate` steps per second of all seeds together."""
        fraction = step / self.total
        left = (time.perf_counter() - self.started) * (self.total - step) / (step - self.first)
        episode_return = "-" if last_return is None else f"{last_return:.3f}"
        seeds = f" x {self.num_seeds} seeds" if self.num_seeds > 1 else ""
        line = (
            f"{fraction:4.0%}  {step:,}/{self.total:,} steps{seeds}  {rate:,.0f} steps/s  "
            f"return {episode_return}  {left:.0f} s left"
        )
        if self.live:
            self.live.update(Text(line))
        elif fraction >= self.next_line:
            print(line, flush=True)
            self.next_line = int(fraction * 10 + 1) / 10

    def close(self) -> None:
        """Leave the last line standing."""
        if self.live:
            self.live.stop()
