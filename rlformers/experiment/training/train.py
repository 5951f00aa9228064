"""The outer loop: Python over jitted, buffer-donating updates. It logs, saves, shows progress, and stops on request.

A run is a function of its configuration. How updates are grouped into chunks, when checkpoints are
written, and how often the run is stopped and resumed change neither parameters nor `metrics.jsonl`,
except `perf/steps_per_second`. Environments on the host are another exception: a resumed run starts
new episodes there, and says so.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from rlformers.config import ExperimentConfig
from rlformers.envs.adapters.host import on_host
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.kept_rows import finished, refuse_lost_checkpoints, set_rows_aside
from rlformers.experiment.checkpoints.named_arrays import fetch
from rlformers.experiment.checkpoints.resume import before_failures, common, known_failure, latest, with_new_episodes
from rlformers.experiment.checkpoints.store import Checkpoint, read
from rlformers.experiment.evaluation.during_training import make_player
from rlformers.experiment.program.compiled_update import compile_update
from rlformers.experiment.program.xla_cache import enable_compilation_cache
from rlformers.experiment.run_files.run_dir import given_path, locked, write_config
from rlformers.experiment.run_files.summary import still_reached
from rlformers.experiment.training.first_states import first_states, join
from rlformers.experiment.training.progress_line import Progress
from rlformers.experiment.training.retry import retry_failed
from rlformers.experiment.training.run_record import Member
from rlformers.experiment.training.startup import interruptibly
from rlformers.experiment.training.stop_request import Interrupted, SomeFailed, StopRequest


def train(config: ExperimentConfig, run_dir: Path, group: str | None = None) -> dict[str, Any]:
    """Train all seeds of an experiment, from the last checkpoint in `run_dir` if there is one; return its summary.

    If all seeds have failed, only `retry=failed` trains the run again: from its last checkpoint
    before the failure, or from the start. If some seeds have failed, the run finishes without them;
    `retry.retry_failed` trains them again.

    Writes `metrics.jsonl` (a line per seed and log point), `summary.json`, `checkpoints/` and
    `wandb/` into `run_dir`.

    Args:
        config: The experiment.
        run_dir: A directory made by `create_run_dir`.
        group: Group of the W&B runs, unless the configuration names one.

    Raises:
        UserError: Another process trains in the directory, or it belongs to another configuration.
        CheckpointError: No checkpoint can be read, or the last state cannot be saved.
        Failed: In every seed, a loss, gradient, parameter or observation is not finite; the last
            good state is kept.
        SomeFailed: This happened in some seeds; the others are finished, and the summary says so.
        Interrupted: A signal asked for a stop; everything is saved.
    """
    retry, config = config.retry == "failed", replace(config, retry=None)
    run_dir = given_path(run_dir)
    with locked(run_dir), StopRequest() as stop:
        checkpoint = latest(run_dir, config)
        summary = finished(run_dir, config)
        if summary is not None:
            _say_finished(run_dir, config, checkpoint, summary)
        else:
            failure = known_failure(run_dir, config)
            if failure is not None and not retry:
                raise failure
            if failure is not None:
                checkpoint = before_failures(run_dir, config)
            elif checkpoint is None:
                refuse_lost_checkpoints(run_dir)
            write_config(run_dir, config)
            (outcome,) = Program([config], [run_dir], group, [checkpoint], stop, anew=failure is not None).train(stop)
            if isinstance(outcome, Exception):
                raise outcome
            if not outcome["completed"]:
                done = f"stopped after {outcome['total_steps']:,} steps"
                raise Interrupted(f"{done}; resume={run_dir} continues from there")
            summary = outcome
        if retry and summary.get("failed"):
            summary = retry_failed(config, run_dir, summary, group, train)
    if summary.get("failed"):
        raise SomeFailed(summary["failed"], run_dir, summary)
    return summary


def train_together(
    configs: Sequence[ExperimentConfig], run_dirs: Sequence[Path], group: str | None = None
) -> list[dict[str, Any] | Exception]:
    """Train runs that differ only in `Numbers` in one program; each has its directory as in `train`.

    A run that fails does not stop the others. Each run computes the same numbers as alone; on an
    accelerator the last digits may differ.

    Returns:
        For each run its summary or its error. A run whose checkpoints are gone has a `UserError`;
        the others train without it. If a signal asked for a stop, the summaries are those of
        unfinished runs.

    Raises:
        UserError: As in `train`, or the runs are not after the same update (`resume.common`).
        CheckpointError: As in `train`.
    """
    outcomes: list[dict[str, Any] | Exception | None] = [None] * len(configs)
    with ExitStack() as stack:
        for run_dir in run_dirs:
            stack.enter_context(locked(run_dir))
        stop = stack.enter_context(StopRequest())
        retried, configs = [each.retry for each in configs], [replace(each, retry=None) for each in configs]
        for i, (config, run_dir) in enumerate(zip(configs, run_dirs, strict=True)):
            outcomes[i] = finished(run_dir, config) or (None if retried[i] else known_failure(run_dir, config))
        left = [i for i, outcome in enumerate(outcomes) if outcome is None]
        checkpoints = common([run_dirs[i] for i in left], [configs[i] for i in left])
        if checkpoints is None:
            raise UserError(
                f"run_dir: {', '.join(str(run_dirs[i]) for i in left)} have no checkpoint of the same update, so they "
                "cannot train in one program; leave out vmap_over="
            )
        found = dict(zip(left, checkpoints, strict=True))
        for i in [i for i in left if found[i] is None]:
            try:
                refuse_lost_checkpoints(run_dirs[i])
            except UserError as error:
                outcomes[i] = error
                left.remove(i)
        for i in left:
            write_config(run_dirs[i], configs[i])
        if left:
            chosen = [configs[i] for i in left], [run_dirs[i] for i in left], group, [found[i] for i in left], stop
            for i, trained in zip(left, Program(*chosen).train(stop), strict=True):
                outcomes[i] = trained
        for i, outcome in enumerate(outcomes):
            if retried[i] and isinstance(outcome, dict) and outcome["completed"] and outcome.get("failed"):
                outcomes[i] = retry_failed(configs[i], run_dirs[i], outcome, group, train)
    return [outcome for outcome in outcomes if outcome is not None]


def _say_finished(
    run_dir: Path, config: ExperimentConfig, checkpoint: Checkpoint | None, summary: dict[str, Any]
) -> None:
    reached = still_reached(summary.get("stopped_early"), config.stop_return)
    early = f" early, after {reached['step']:,} steps with return {reached['return']:.3f}" if reached else ""
    print(f"{run_dir} is finished{early}")
    if checkpoint is None:
        print(f"{run_dir} has lost its checkpoints: evaluate, play and inspect cannot use it")
    elif checkpoint.update * config.batch_size < summary["total_steps"]:
        print(f"its last good checkpoint is {checkpoint.path}; to train on from it, remove {run_dir}/summary.json")


def _regrouped(saved: Checkpoint | None, group_size: int) -> bool:
    return saved is not None and saved.meta.get("group_size", group_size) != group_size


def _say(line: str) -> None:
    print(line, flush=True)


class Program:
    """A training between two chunks of updates: everything that changes while it runs.

    It trains the seeds of all its runs: M = runs x seeds agents. For `anew` see
    `kept_rows.set_rows_aside`.
    """

    def __init__(
        self,
        configs: Sequence[ExperimentConfig],
        run_dirs: Sequence[Path],
        group: str | None,
        checkpoints: Sequence[Checkpoint | None],
        stop: StopRequest,
        anew: bool = False,
    ):
        started = time.perf_counter()
        for run_dir in run_dirs:
            print(f"run directory {run_dir}", flush=True)
        enable_compilation_cache()
        config, checkpoint = configs[0], checkpoints[0]
        compiled = interruptibly(partial(compile_update, configs, report=_say), stop, "compiling")
        _say(f"compiled in {compiled.seconds:.1f} s")
        self.config, self.update, self.compile_seconds = config, compiled.update, compiled.seconds
        self._fetched: Any = None  # `states` on the host, if they were fetched after the last update
        self.parts = [slice(i * config.seeds, (i + 1) * config.seeds) for i in range(len(configs))]
        self.states, taken = (
            (compiled.place(join([read(saved, compiled.one) for saved in checkpoints if saved])), None)
            if checkpoint
            else interruptibly(partial(first_states, compiled, config, len(configs)), stop, "compiling")
        )
        self.begun = False  # whether this process has made an update

        self.done = self.saved = checkpoint.update if checkpoint else 0
        if checkpoint:
            print(f"continuing after {self.done * config.batch_size:,} steps")
            before, now = checkpoint.meta.get("num_devices", 1), len(compiled.devices)
            if before != now:
                print(f"resume: from {before} to {now} devices: last digits may differ")
            if _regrouped(checkpoint, compiled.group_size):
                print(f"resume: now with groups of {compiled.group_size} seeds: last digits may differ")
            if on_host(compiled.built.env):
                again = jax.vmap(jax.random.fold_in, (0, None))(compiled.keys, self.done)
                (state,), (fresh,) = self.states, compiled.init(again)
                self.states = [with_new_episodes(state, fresh, config.env)]
        for each, run_dir, saved in zip(configs, run_dirs, checkpoints, strict=True):
            otherwise = anew or on_host(compiled.built.env) or _regrouped(saved, compiled.group_size)
            set_rows_aside(run_dir, each, saved, len(compiled.devices), otherwise)
        # The moment at which the run would have begun if it had never been stopped.
        self.wall_started = started - (checkpoint.meta["wall_seconds"] if checkpoint else 0.0)
        self.loop_seconds = checkpoint.meta["loop_seconds"] if checkpoint else 0.0
        player = make_player(config) if config.eval.every else None
        self.members = [
            Member(each, run_dir, group, saved, compiled.one, player, compiled.devices, compiled.group_size, taken)
            for each, run_dir, saved in zip(configs, run_dirs, checkpoints, strict=True)
        ]

    def train(self, stop: StopRequest) -> list[dict[str, Any] | Exception]:
        """Train to the end, or to the end of the chunk in which a stop is requested.

        Returns:
            The summary of each run, or its failure.
        """
        config, copies = self.config, len(self.members) * self.config.seeds
        progress = Progress(config.num_updates * config.batch_size, copies, self.done * config.batch_size)
        lap = time.perf_counter()
        chunk, save_at = 1, lap + (config.checkpoint.every or float("inf"))
        saves_best = config.checkpoint.every > 0 or config.eval.every > 0
        try:
            while self.done < config.num_updates and not stop.received and self._active:
                keep_at, evaluations = self._next_to_keep(), [member.evaluation for member in self.members]
                first = self.members[0]
                end = min(self.done + chunk, keep_at, first.next_score(self.done), first.next_look(self.done))
                evaluating = sum(evaluation.seconds for evaluation in evaluations)
                count, seconds = self._advance(end - self.done, stop)
                progress.show(self.done * config.batch_size, count * config.batch_size * copies / seconds, self._return)
                chunk = max(1, min(1000, int(config.chunk_seconds / seconds * count)))
                lap, before = time.perf_counter(), lap
                evaluating -= sum(evaluation.seconds for evaluation in evaluations)
                self.loop_seconds += lap - before + evaluating
                for member in self._sound:
                    member.commit()
                idle = not any(member.store.busy for member in self.members)
                best = saves_best and any(member.best() for member in self._active)
                if (lap >= save_at and idle) or self.done == keep_at or best:
                    self._save()
                    save_at = lap + (config.checkpoint.every or float("inf"))
                for member, part in zip(self.members, self.parts, strict=True):
                    if member.failure is not None or member.reached:
                        member.save_last_good(self._states(part), self._clock)
                    if member.reached:  # now, so that it stays finished if the others are killed
                        member.finish({"compile_seconds": self.compile_seconds} | self._clock)
            if self.saved < self.done and self._active:
                self._save()
            for member in self._sound:
                member.store.wait()
        finally:
            progress.close()
            with ExitStack() as stack:
                for member in self.members:
                    stack.callback(member.finish, {"compile_seconds": self.compile_seconds} | self._clock)
        return [member.failure or member.summary for member in self.members]

    def _advance(self, count: int, stop: StopRequest) -> tuple[int, float]:
        """Make up to `count` updates, at least one, and log them; return their number and the seconds they took."""
        started = time.perf_counter()
        compute = partial(self._compute, count, stop)
        fetched = compute() if self.begun else interruptibly(compute, stop, "making the first update")
        self.begun, self._fetched = True, None
        seconds = time.perf_counter() - started
        rate = len(fetched) * self.config.batch_size / seconds
        for metrics in fetched:
            self.done += 1
            for member, part in zip(self.members, self.parts, strict=True):
                if member in self._active:
                    own = jax.tree.map(lambda x, part=part: x[part], metrics)
                    member.after(self.done, own, partial(self._states, part), rate)
            if not self._active:
                break
        return len(fetched), seconds

    def _compute(self, count: int, stop: StopRequest) -> list[dict[str, Any]]:
        """Make up to `count` updates, at least one; return their metrics on the host, leaves [M, ...]."""
        pending: list[list[dict[str, Any]]] = []
        while len(pending) < count and not (pending and stop.received):
            self.states, metrics = self.update(self.states)
            pending.append(metrics)
        return [join(groups) for groups in jax.device_get(pending)]

    @property
    def _sound(self) -> list[Member]:
        """The runs that have not failed."""
        return [member for member in self.members if member.failure is None]

    @property
    def _active(self) -> list[Member]:
        """Those of them that go on: they have not ended early."""
        return [member for member in self._sound if not member.reached]

    @property
    def _return(self) -> float | None:
        """Mean return of the episodes that ended last."""
        known = [member.episodes.last_return for member in self._sound if member.episodes.last_return is not None]
        return sum(known) / len(known) if known else None

    @property
    def _clock(self) -> dict[str, float]:
        return {"loop_seconds": self.loop_seconds, "wall_seconds": time.perf_counter() - self.wall_started}

    def _states(self, part: slice) -> Any:
        """The state of one run, leaves [S, ...], for evaluations and checkpoints.

        If there are several runs or groups, it is a copy on the host: on a device, each slice would
        be a program.
        """
        if len(self.members) == 1 and len(self.states) == 1:
            return self.states[0]
        if self._fetched is None:
            self._fetched = join([fetch(group) for group in self.states])
        return jax.tree.map(lambda x: x[part], self._fetched)

    def _next_to_keep(self) -> int:
        """The update that reaches the next multiple of `checkpoint.keep_every`, or the last one."""
        batch, every = self.config.batch_size, int(self.config.checkpoint.keep_every)
        steps = (self.done * batch // every + 1) * every if every else self.config.total_steps
        return min(-(-int(steps) // batch), self.config.num_updates)

    def _save(self) -> None:
        for member, part in zip(self.members, self.parts, strict=True):
            if member in self._active:
                member.save(self._states(part), self._clock)
        self.saved = self.done
