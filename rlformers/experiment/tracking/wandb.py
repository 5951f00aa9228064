"""Weights & Biases, online or offline: a view of `metrics.jsonl` with every row once, however often a run is resumed.

A row is handed over only when a checkpoint covers it, so that no resumed run makes it again:
neither an offline file nor the server can take a row back. If a killed process did not bring its
rows to the disk or to the server, the next start hands them over from `metrics.jsonl`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rlformers.config import ExperimentConfig
from rlformers.config.compose import to_dict
from rlformers.errors import first_line, named_line
from rlformers.experiment.run_files.run_dir import finite
from rlformers.experiment.tracking.jsonl import Row
from rlformers.experiment.tracking.wandb_held import (
    X_AXIS,
    local_media,
    mark_uploaded,
    read_back,
    server_media,
    server_steps,
    steps_of,
)
from rlformers.experiment.tracking.wandb_identity import LONGEST_NAME, identity
from rlformers.experiment.tracking.wandb_media import log_checkpoints, log_evaluations, log_media
from rlformers.experiment.tracking.wandb_mode import agent_trial, choose_mode, need_home

_INIT_TIMEOUT = 20  # seconds until W&B goes offline
_FINISH_TIMEOUT = 120  # seconds for the upload of the rest


class WandbSink:
    """One W&B run per seed in one group, with environment steps as x axis. Never prompts and never stops a training.

    Inside `wandb agent` there is only the run of the agent, with the means over seeds: a sweep
    judges a trial by one number. Without a key or a network, online becomes offline. If W&B fails
    altogether, training continues without it. One line says so in each case.

    Args:
        config: The configuration of the run.
        run_dir: Its directory; `wandb/ids.json` keeps group and ids for the next start.
        group: The group, unless the configuration names one.
        rows: The rows in `metrics.jsonl` so far; a checkpoint covers all of them, or they are
            final.
    """

    def __init__(self, config: ExperimentConfig, run_dir: Path, group: str | None, rows: Sequence[Row] = ()):
        self.config, self.run_dir = config, run_dir
        self.series: list[_Series] = []
        self.waiting: list[Row] = []
        self.mode = "disabled"
        self.failure: str | None = None
        try:
            self.mode = choose_mode(config.wandb.mode)
            if self.mode == "disabled":
                return
            need_home(run_dir)
            self.identity = identity(config, run_dir, group)
            for run_id, seeds in self.identity.members(config).items():
                self.series.append(self._start(run_id, seeds, rows))
            self._hand_over(rows)
            if self.mode == "online":
                for series in self.series:
                    mark_uploaded(run_dir, series.run.id)
                    print(f"wandb: {series.run.url}", flush=True)
        except Exception as error:  # of any kind: metrics.jsonl is the record, W&B only a view of it
            self._give_up(error)

    def log(self, row: Row) -> None:
        """Take a row and hand it over when a checkpoint covers it; at once if only the last state is saved."""
        if not self.series:
            return
        self.waiting.append(row)
        if self.config.checkpoint.every == 0:
            self.commit(int(row["step"] or 0))

    def commit(self, step: int) -> None:
        """Hand over the rows that a checkpoint covers."""
        ready = [row for row in self.waiting if int(row["step"] or 0) <= step]
        self.waiting = self.waiting[len(ready) :]
        try:
            self._hand_over(ready)
        except Exception as error:
            self._give_up(error)

    def renew(self, seed: int) -> None:
        """Do nothing: missing rows were handed over when the sink was opened."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Hand over all rows, even those that no checkpoint covers: they show what led to a failure.

        Waits for uploads, but not forever.
        """
        rows, self.waiting = self.waiting, []
        try:
            self._hand_over(rows)
            if self.mode == "offline" and self.series:
                self.identity.rows = {series.run.id: series.total for series in self.series}
                self.identity.save(self.run_dir)
            self._conclude(summary)
            with ThreadPoolExecutor(8) as threads:
                exit_code = 0 if summary["completed"] else 1
                list(threads.map(lambda series: series.run.finish(exit_code=exit_code), self.series))
        except TimeoutError as error:
            self.failure = str(error)
            again = f"rlformers track {self.run_dir} uploads the rest"
            print(f"wandb: the upload was not complete after {_FINISH_TIMEOUT} s; {again}")
        except Exception as error:
            self._give_up(error)
        if self.series and self.mode == "offline":
            print(f"wandb: offline; upload with: wandb sync {self.run_dir}/wandb/offline-run-*")
        self.series = []

    def _conclude(self, summary: dict[str, Any]) -> None:
        """Add everything except rows. If this fails, the runs are finished anyway."""
        try:
            for series in self.series:
                series.conclude(summary, self.run_dir)
            first = self.series[0] if self.series else None  # it also shows what all seeds share
            if first:
                log_media(first.run, self.run_dir, first.media)
            if first and self.config.wandb.checkpoints:
                log_checkpoints(first.run, self.run_dir)
        except Exception as error:
            self.failure = named_line(error)
            print(f"wandb: {self.failure}; all rows are logged")

    def _hand_over(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for series in self.series:
                series.add(row)

    def _give_up(self, error: Exception) -> None:
        self.failure = named_line(error)
        print(f"wandb: {self.failure}; continuing without it; to upload later: rlformers track {self.run_dir}")
        self.series, self.waiting = [], []

    def _start(self, run_id: str, seeds: list[int], rows: Sequence[Row]) -> "_Series":
        import wandb

        # Before this start adds a file of its own.
        local, doubt = read_back(self.run_dir, run_id, (self.identity.rows or {}).get(run_id, 0))
        try:
            run = self._init(run_id, seeds)
        except (wandb.errors.CommError, wandb.errors.UsageError) as error:
            # W&B's process keeps the id of a run that it could not start. Only end the process if
            # nobody uses it.
            if self.mode != "online" or wandb.setup().most_recent_active_run is not None:
                raise
            print(f"wandb: cannot go online ({first_line(error)}); logging offline")
            self.mode = "offline"
            wandb.teardown()
            run = self._init(run_id, seeds)
        run.define_metric(X_AXIS, hidden=True)
        # Without step_sync, W&B would write the last steps into rows of media as well.
        run.define_metric("*", step_metric=X_AXIS, step_sync=False)
        if agent_trial():
            self.identity.project, self.identity.entity = run.project, run.entity or None
            self.identity.save(self.run_dir)
        held = steps_of(local)
        if doubt and (self.mode == "offline" or run.resumed):
            print(f"wandb: cannot read back {self.run_dir}/wandb ({doubt}); assuming that it holds all rows so far")
            held = Counter(int(row["step"] or 0) for row in rows if row["seed"] == seeds[0])
        if self.mode == "offline":
            return _Series(run, seeds, held, local_media(local))
        if not run.resumed:
            return _Series(run, seeds, Counter(), {})
        try:
            held = server_steps(run)
        except Exception as error:
            print(f"wandb: {first_line(error)}; assuming that everything sent from here has arrived")
        return _Series(run, seeds, held, server_media(run))

    def _init(self, run_id: str, seeds: list[int]) -> Any:
        import wandb

        config, trial = self.config, agent_trial()
        mode: Any = self.mode
        resolved = to_dict(config) | {"run_dir": str(self.run_dir)}
        resolved["wandb"]["group"] = self.identity.group
        resolved |= {"seed": seeds[0]} if len(seeds) == 1 else {}
        suffix = "" if self.identity.trial else f"-seed{seeds[0]}"
        name = os.environ.get("WANDB_NAME") or f"{config.core.name}-{self.run_dir.name}"
        tags = [*(config.wandb.tags or os.environ.get("WANDB_TAGS", "").split(",")), config.env, config.core.name]
        place: dict[str, Any] = {}
        if not trial:  # an agent decides itself where its run is and which id it has
            named = config.wandb.project or os.environ.get("WANDB_PROJECT") or "rlformers"
            project = self.identity.project or re.sub(r"[/\\#?%:]", "-", named)[:LONGEST_NAME]
            place = {"project": project, "entity": self.identity.entity or config.wandb.entity, "id": run_id}
        return wandb.init(
            **place,
            group=self.identity.group[:LONGEST_NAME],
            job_type="train",
            name=name[: LONGEST_NAME - len(suffix)] + suffix,
            resume="allow",
            tags=[tag.strip()[:64] for tag in tags if tag.strip()],  # W&B refuses an empty one and a longer one
            config=resolved,
            reinit="create_new",
            settings=wandb.Settings(
                mode=mode,
                console="off",
                silent=True,
                root_dir=str(self.run_dir),
                init_timeout=_INIT_TIMEOUT,
                finish_timeout=_FINISH_TIMEOUT,
                finish_timeout_raises=True,
            ),
        )


class _Series:
    """One W&B run: the rows that it has, and the rows of its seeds that make up the next one."""

    def __init__(self, run: Any, seeds: list[int], held: Counter[int], media: dict[str, str]):
        self.run, self.seeds, self.held, self.media = run, seeds, held, media
        self.before = sum(held.values())
        self.parts: list[Row] = []
        self.latest: dict[str, Any] = {}
        self.added = 0

    def add(self, row: Row) -> None:
        """Take a row; log it, or the mean over the seeds, unless the run has it."""
        if row["seed"] not in self.seeds:
            return
        self.parts.append(row)
        if len(self.parts) < len(self.seeds):
            return
        parts, self.parts = self.parts, []
        step = int(row["step"] or 0)
        values = {X_AXIS: step, **_means(parts)}
        self.latest |= values
        if self.held[step]:
            self.held[step] -= 1
        else:
            self.added += 1
            self.run.log(values)

    @property
    def total(self) -> int:
        """Number of rows that the run has."""
        return self.before + self.added

    def conclude(self, summary: dict[str, Any], run_dir: Path) -> None:
        """Set the summary of the run, with the evaluations in its directory."""
        # By default W&B takes the values logged last, which are not the newest row if a gap has
        # been filled.
        self.run.summary.update(self.latest)
        returns = dict(zip(summary["seeds"], summary["final_return"]["per_seed"], strict=True))
        whole = ("completed", "steps_per_second", "compile_seconds", "num_parameters", "git_commit")
        self.run.summary.update({key: summary[key] for key in whole if key in summary})
        self.run.summary["final_return"] = _mean([returns.get(seed) for seed in self.seeds])
        log_evaluations(self.run, run_dir, self.seeds)


def _means(parts: list[Row]) -> dict[str, float | int]:
    keys = [key for key in parts[0] if key not in ("seed", "step")]
    means = {key: _mean([finite(row.get(key)) for row in parts]) for key in keys}
    return {key: value for key, value in means.items() if value is not None}


def _mean(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return known[0] if known else None
    return float(np.mean(known))
