"""Seeds whose numbers were not finite: each ends alone, and the others of its run continue."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class FailedSeeds:
    """The seeds of a run that have failed, and why.

    Args:
        seeds: S training seeds.
        batch_size: Environment steps of an update, per seed.
        saved: The result of `until` in an earlier process.
    """

    def __init__(self, seeds: Sequence[int], batch_size: int, saved: Sequence[dict[str, Any]] = ()):
        self._seeds, self._batch_size = list(seeds), batch_size
        self.failed: list[dict[str, Any]] = list(saved)  # {"seed", "what", "update", "step"}, in order of updates

    @property
    def sound(self) -> list[bool]:
        """Whether each seed is sound, that is has not failed, [S]."""
        numbers = {failed["seed"] for failed in self.failed}
        return [seed not in numbers for seed in self._seeds]

    def note(self, update: int, found: dict[int, str]) -> list[dict[str, Any]]:
        """Note what the guard found in an update, by index of the seed; return the new failures."""
        sound, step = self.sound, update * self._batch_size
        new = [
            {"seed": self._seeds[i], "what": what, "update": update, "step": step}
            for i, what in found.items()
            if sound[i]
        ]
        self.failed += new
        return new

    def until(self, update: int) -> list[dict[str, Any]]:
        """The failures up to and including update number `update`."""
        return [failed for failed in self.failed if failed["update"] <= update]

    def without(self, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Metrics, leaves [S, ...], with zeros for the seeds that have failed."""
        sound = np.array(self.sound)
        if sound.all():
            return metrics
        return {
            name: np.where(sound.reshape(-1, *[1] * (values.ndim - 1)), values, 0).astype(values.dtype)
            for name, values in metrics.items()
        }


def failed_text(failed: Sequence[dict[str, Any]]) -> str:
    """Failures in a line: "gradient of ... is not finite in update 3, up to step 48, of seed 4"."""
    return "; ".join(
        f"{one['what']} in update {one['update']:,}, up to step {one['step']:,}, of seed {one['seed']}"
        for one in failed
    )


def failed_note(failed: Sequence[dict[str, Any]]) -> str:
    """The same in short: "seed 4 failed (gradient of ... is not finite in update 3)"."""
    return "; ".join(f"seed {one['seed']} failed ({one['what']} in update {one['update']:,})" for one in failed)
