"""The commands about runs. Each gets its options, with the other words in `words`, and returns the exit code."""

import shlex
import sys
import time
from argparse import Namespace
from pathlib import Path

from rlformers.command.words import run_and_settings, runs_and_settings
from rlformers.errors import Complaint, UserError


def train(options: Namespace) -> int:
    """`rlformers train`."""
    if options.new and not options.multirun:
        raise UserError(
            "--new: works with --multirun only; a single run starts anew unless run_dir= names an existing run"
        )
    if options.dry_run:
        return _dry_run(options)
    from rlformers.experiment.training.stop_request import StopRequest

    # The imports below take seconds. A signal that arrives meanwhile, for instance from a
    # scheduler, must also lead to the exit code that means "again".
    with StopRequest(idle=True):
        return _multirun(options.words, options.new) if options.multirun else _train(options.words)


def _train(words: list[str]) -> int:
    from rlformers.config.compose import asked_for

    config, resume = asked_for(words)

    from rlformers.experiment.program.build import check
    from rlformers.experiment.run_files.error_file import noting_errors
    from rlformers.experiment.run_files.run_dir import create_run_dir
    from rlformers.experiment.training.stop_request import SomeFailed
    from rlformers.experiment.training.train import train

    check(config, resume)
    run_dir = resume or create_run_dir(config)
    print(f"training {config.core.name} on {config.env}, seeds {config.seed}..{config.seed + config.seeds - 1}")
    group = f"{config.env} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    try:
        with noting_errors([run_dir], "train"):
            summary = train(config, run_dir, group=group)
    except SomeFailed as error:
        print(_outcome(error.summary) + f"  {run_dir}")
        raise
    print(_outcome(summary) + f"  {run_dir}")
    return 0


def _dry_run(options: Namespace) -> int:
    """Print the configuration of each run as YAML, after all checks."""
    from rlformers.config.compose import asked_for, to_yaml
    from rlformers.experiment.program.build import check

    if not options.multirun:
        configs = {"": asked_for(options.words)[0]}
    else:
        from rlformers.config.overrides import parse
        from rlformers.experiment.sweeps.multirun import expand

        # These settings decide how runs are executed, not their configurations.
        words = [word for word in options.words if not word.startswith(("vmap_over=", "hydra/", "hydra."))]
        configs = {job.name: job.config for job in expand(parse(words))[0]}
    for config in configs.values():
        check(config)
    for name, config in configs.items():
        heading = f"--- # {name}\n" if name else ""
        print(heading + to_yaml(config), end="")
    return 0


def _multirun(words: list[str], new: bool) -> int:
    from rlformers.experiment.sweeps.multirun import multirun
    from rlformers.experiment.training.stop_request import Interrupted

    directory, results = multirun(words, new)
    finished = [result for result in results if result.summary]
    failed = [result for result in results if result.status == "failed"]
    print(f"\n{len(finished)} of {len(results)} runs finished:")
    for result in results:
        what = _outcome(result.summary) if result.summary else result.status
        print(f"{result.name}  {f'FAILED ({result.error})' if result in failed else what}  {result.run_dir}")
    if finished:
        print(f"compare them: rlformers report {shlex.quote(str(directory))} --out report")
    if len(finished) + len(failed) < len(results):
        raise Interrupted(f"the sweep in {directory} is not finished; the same command continues it")
    return 1 if failed else 0


def evaluate(options: Namespace) -> int:
    """`rlformers evaluate`. If one of several runs fails, the others are still evaluated."""
    run_dirs, settings = runs_and_settings("evaluate", options.words, "RUN_DIR... [KEY=VALUE ...]")
    if len(run_dirs) == 1:
        _evaluate(run_dirs[0], settings)
        return 0
    from rlformers.experiment.run_files.error_file import described

    failed = 0
    for run_dir in run_dirs:
        try:
            _evaluate(run_dir, settings)
        except Exception as error:  # of any kind: the next run may have another environment
            failed += 1
            line, traceback = described(error, named=not isinstance(error, Complaint))
            print(f"{traceback}rlformers: {run_dir}: {line}", file=sys.stderr)
    print(f"{len(run_dirs) - failed} of {len(run_dirs)} runs evaluated")
    return 1 if failed else 0


def _evaluate(run_dir: Path, settings: list[str]) -> None:
    from rlformers.experiment.evaluation.episode_statistics import table
    from rlformers.experiment.evaluation.evaluate import evaluate
    from rlformers.experiment.run_files.error_file import noting_errors

    with noting_errors([run_dir], "evaluate"):
        result = evaluate(run_dir, settings, show=lambda result: print(table(result)))
    if result["warning"]:
        print(f"rlformers: warning: {result['warning']}", file=sys.stderr)
    print(result["path"], flush=True)


def track(options: Namespace) -> int:
    """`rlformers track`."""
    run_dirs, settings = runs_and_settings("track", options.words, "RUN_DIR... [wandb.KEY=VALUE ...]")

    from rlformers.experiment.tracking.upload import track

    for run_dir in run_dirs:
        tracked = track(run_dir, settings)
        print(f"{run_dir}: {tracked.added} of {tracked.rows} rows added {tracked.mode}")
    return 0


def play(options: Namespace) -> int:
    """`rlformers play`."""
    run_dir, settings = run_and_settings("play", options.words, "RUN_DIR [--gif FILE] [KEY=VALUE ...]")

    from rlformers.experiment.inspection.play import play
    from rlformers.experiment.run_files.error_file import noting_errors

    with noting_errors([run_dir], "play"):
        lines = play(run_dir, options.gif, settings)
    print(*lines, sep="\n")
    return 0


def inspect(options: Namespace) -> int:
    """`rlformers inspect`."""
    run_dir, settings = run_and_settings("inspect", options.words, "RUN_DIR [--out DIR] [KEY=VALUE ...]")

    from rlformers.experiment.inspection.inspect_memory import inspect
    from rlformers.experiment.run_files.error_file import noting_errors

    with noting_errors([run_dir], "inspect"):
        lines = inspect(run_dir, options.out, settings)
    print(*lines, sep="\n")
    return 0


def report(options: Namespace) -> int:
    """`rlformers report`."""
    if options.out is None:
        raise UserError("report: --out DIR is missing; usage: rlformers report RUN_DIR... --out DIR")

    from rlformers.experiment.reports import report

    files = report(options.words, options.out)
    print(next(file for file in files if file.name == "table.md").read_text())
    print(*files, sep="\n")
    return 0


def benchmark(options: Namespace) -> int:
    """`rlformers benchmark`."""
    from rlformers.experiment.training.benchmark import benchmark

    for line in benchmark(options.words, Path(options.json) if options.json else None):
        print(line, flush=True)
    return 0


def _outcome(summary: dict) -> str:
    final = summary["final_return"]
    if final["mean"] is None:
        return f"{summary['env']} {summary['core']}: no episode ended in the last tenth of the run"
    from rlformers.experiment.statistics.over_seeds import spread_in_words

    worst = min(r for r in final["per_seed"] if r is not None)
    parts = [f"final return IQM {final['iqm']:.3f}", spread_in_words(final["per_seed"]), f"worst seed {worst:.3f}"]
    return f"{summary['env']} {summary['core']}: {', '.join(filter(None, parts))}"
