"""The command line. Heavy imports happen in the command that needs them, so that --help and list are instant."""

import os
import shlex
import signal
import sys
import time
from pathlib import Path

from rlformers.errors import UserError

USAGE = """\
usage: rlformers COMMAND ...

  train [KEY=VALUE ...]              train an agent; `rlformers train --help` lists the keys
  train --multirun KEY=V1,V2 ...     train every combination, in one W&B group; one after the other,
                                     or as hydra/launcher=joblib|submitit_slurm says; again, it goes on
                                     with what is not finished, with --new it starts anew
  train resume=RUN_DIR [KEY=VALUE ...]
                                     go on from the last checkpoint; total_steps=... makes a run longer
  evaluate RUN_DIR [KEY=VALUE ...]   returns of the trained agents, on the same or another environment;
                                     `rlformers evaluate --help` lists the keys
  track RUN_DIR... [wandb.KEY=VALUE ...]
                                     upload runs to W&B: the rows that it does not have
  play RUN_DIR [--gif FILE] [KEY=VALUE ...]
                                     episodes of one agent, step by step: as text, or as an animated picture of what
                                     it sees, does and expects; `rlformers play --help` lists the keys
  inspect RUN_DIR [--out DIR] [KEY=VALUE ...]
                                     figures of its memory: influence of the past, attention, time scales, state norms;
                                     `rlformers inspect --help` lists the keys
  report RUN_DIR... --out DIR        a page, tables and figures that compare runs, with confidence intervals
  list cores|envs|experiments        what KEY=VALUE can name, and what each core costs; `list envs popgym` for one suite
  benchmark [KEY=V1,V2 ...] [--json FILE]
                                     steps per second of training on this machine, and seconds to compile, with the
                                     keys of `train`; without core=... for three cores
  check ENV                          whether an environment keeps the protocol, point by point
  --version

example: rlformers train env=popgym/RepeatPreviousEasy core=s5 seeds=3 total_steps=1e6
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    The exit code is 2 for bad input, 1 if a run met numbers that are not finite, a run of a sweep failed, or files
    cannot be written or read, 75 if a training was stopped by a signal and can be resumed or begun again, 130 after
    Ctrl-C elsewhere, 141 if the reader of a pipe has gone.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if argv is None:  # a program of our own: SIGTERM unwinds like Ctrl-C, so that files and W&B runs are finished
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except ValueError as error:
        print(f"rlformers: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of `rlformers list cores | head` has gone
        # Python flushes once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"rlformers: {where}", file=sys.stderr)
        return 1
    except ArithmeticError as error:
        from rlformers.experiment.training.stop_request import Failed

        if not isinstance(error, Failed):
            raise
        print(f"rlformers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        from rlformers.experiment.training.stop_request import EXIT_CODE, Interrupted

        if isinstance(error, Interrupted):
            print(f"rlformers: {error}", file=sys.stderr)
            return EXIT_CODE
        return 130


def _run(arguments: list[str]) -> int:
    match arguments:
        case [] | ["-h" | "--help"]:
            print(USAGE, end="")
            return 0
        case ["--version"]:
            from rlformers import __version__

            print(__version__)
            return 0
        case ["list", "cores", *sizes]:
            from rlformers.command.tables import list_cores

            return list_cores(sizes)
        case ["list", "envs", *prefix] if len(prefix) < 2:
            return _list_envs(*prefix)
        case ["list", *what]:
            return _list(" ".join(what))
        case ["check", env]:
            return _check(env)
        case ["train", *rest] if "--help" in rest or "-h" in rest:
            from rlformers.command.tables import train_help

            return train_help()
        case ["train", *rest]:
            sweep = [word for word in rest if word in ("-m", "--multirun")]
            overrides = [word for word in rest if word not in (*sweep, "--new")]
            if not sweep and "--new" in rest:
                raise UserError(
                    "--new: applies to --multirun only; a single run starts anew unless run_dir= says where"
                )
            from rlformers.experiment.training.stop_request import StopRequest

            # From here on, since what _train and _multirun import takes seconds: who sends a signal then, such as a
            # scheduler, gets the exit code that says "again" too.
            with StopRequest(idle=True):
                return _multirun(overrides, "--new" in rest) if sweep else _train(overrides)
        case ["evaluate", *rest] if "--help" in rest or "-h" in rest:
            from rlformers.command.tables import evaluate_help

            return evaluate_help()
        case ["evaluate", *rest]:
            return _evaluate(rest)
        case ["track", *rest]:
            return _track(rest)
        case ["play" | "inspect" as command, *rest] if "--help" in rest or "-h" in rest:
            from rlformers.command.tables import inside_help

            return inside_help(command)
        case ["play", *rest]:
            return _play(rest)
        case ["inspect", *rest]:
            return _inspect(rest)
        case ["benchmark", *rest] if "--help" in rest or "-h" in rest:
            from rlformers.command.tables import benchmark_help

            return benchmark_help()
        case ["benchmark", *rest]:
            return _benchmark(rest)
        case ["report", *rest]:
            return _report(rest)
    raise UserError(f"{' '.join(arguments)!r}: unknown command; see rlformers --help")


def _list(what: str) -> int:
    if what == "experiments":
        from rlformers.config.experiments import table

        print(*table(), sep="\n")
    else:
        raise UserError(f"list: need one of cores, envs, experiments, got {what!r}")
    return 0


def _list_envs(prefix: str = "") -> int:
    from rlformers.envs.listing import LEGEND, table

    print(*table(prefix), "", LEGEND, sep="\n")
    return 0


def _check(env: str) -> int:
    from rlformers.envs import check

    report = check(env)
    print(report)
    return 0 if report.ok else 1


def _train(overrides: list[str]) -> int:
    from rlformers.config.compose import asked_for

    config, resumed = asked_for(overrides)

    from rlformers.experiment.program.build import check
    from rlformers.experiment.run_files.run_dir import create_run_dir
    from rlformers.experiment.training.train import train

    check(config)
    run_dir = resumed or create_run_dir(config)
    print(f"training {config.core.name} on {config.env}, seeds {config.seed}..{config.seed + config.seeds - 1}")
    summary = train(config, run_dir, group=f"{config.env} {time.strftime('%Y-%m-%d %H:%M:%S')}")
    print(_outcome(summary) + f"  {run_dir}")
    return 0


def _evaluate(words: list[str]) -> int:
    if not words or "=" in words[0]:
        raise UserError("evaluate: need a run directory; usage: rlformers evaluate RUN_DIR [KEY=VALUE ...]")

    from rlformers.experiment.evaluation.episode_statistics import table
    from rlformers.experiment.evaluation.evaluate import evaluate

    result = evaluate(words[0], words[1:], show=lambda result: print(table(result)))
    if result["warning"]:
        print(f"rlformers: warning: {result['warning']}", file=sys.stderr)
    print(result["path"])
    return 0


def _track(words: list[str]) -> int:
    settings = [word for word in words if "=" in word]
    run_dirs = [Path(word) for word in words if "=" not in word]
    if not run_dirs:
        raise UserError("track: need a run directory; usage: rlformers track RUN_DIR... [wandb.KEY=VALUE ...]")

    from rlformers.experiment.tracking.upload import track

    for run_dir in run_dirs:
        tracked = track(run_dir, settings)
        print(f"{run_dir}: {tracked.added} of {tracked.rows} rows added {tracked.mode}")
    return 0


def _play(words: list[str]) -> int:
    gif, words = _file_option("play", "--gif FILE", words)

    from rlformers.experiment.inspection.play import play

    print(*play(words[0], gif, words[1:]), sep="\n")
    return 0


def _inspect(words: list[str]) -> int:
    out, words = _file_option("inspect", "--out DIR", words)

    from rlformers.experiment.inspection.inspect_memory import inspect

    print(*inspect(words[0], out, words[1:]), sep="\n")
    return 0


def _file_option(command: str, option: str, words: list[str]) -> tuple[str | None, list[str]]:
    """What an option such as `--out DIR` names, if it is given, and the other words: RUN_DIR and KEY=VALUE."""
    usage = f"usage: rlformers {command} RUN_DIR [{option}] [KEY=VALUE ...]"
    flag, what = option.split()
    given = flag in words
    value, words = _take(flag, words)
    if given and (value is None or "=" in value):
        raise UserError(f"{command}: {flag} needs a {what}; {usage}")
    if not words or "=" in words[0]:
        raise UserError(f"{command}: need a run directory; {usage}")
    return value, words


def _take(flag: str, words: list[str]) -> tuple[str | None, list[str]]:
    """The word behind a flag, None if there is none, and the words without both."""
    if flag not in words:
        return None, words
    at = words.index(flag)
    return (words[at + 1] if at + 1 < len(words) else None), words[:at] + words[at + 2 :]


def _multirun(overrides: list[str], new: bool) -> int:
    from rlformers.experiment.sweeps.multirun import multirun
    from rlformers.experiment.training.stop_request import Interrupted

    directory, results = multirun(overrides, new)
    finished = [result for result in results if result.summary]
    failed = [result for result in results if result.status == "failed"]
    print(f"\n{len(finished)} of {len(results)} runs finished:")
    for result in results:
        what = _outcome(result.summary) if result.summary else result.status
        print(f"{result.name}  {f'FAILED ({result.error})' if result in failed else what}  {result.run_dir}")
    if finished:
        print(f"compare them: rlformers report {shlex.quote(str(directory))} --out report")
    if len(finished) + len(failed) < len(results):
        raise Interrupted(f"the sweep in {directory} is not finished; the same command goes on with it")
    return 1 if failed else 0


def _report(words: list[str]) -> int:
    out, words = _take("--out", words)
    if out is None:
        raise UserError("report: --out DIR is missing; usage: rlformers report RUN_DIR... --out DIR")

    from rlformers.experiment.reports import report

    files = report(words, out)
    print(next(file for file in files if file.name == "table.md").read_text())
    print(*files, sep="\n")
    return 0


def _benchmark(words: list[str]) -> int:
    given = "--json" in words
    out, words = _take("--json", words)
    if given and (out is None or "=" in out):
        raise UserError("benchmark: --json needs a FILE; usage: rlformers benchmark [KEY=V1,V2 ...] [--json FILE]")

    from rlformers.experiment.training.benchmark import benchmark

    for line in benchmark(words, Path(out) if out else None):
        print(line, flush=True)
    return 0


def _outcome(summary: dict) -> str:
    final = summary["final_return"]
    if final["mean"] is None:
        return f"{summary['env']} {summary['core']}: no episode ended in the last tenth of the run"
    interval = "" if final["ci95"] is None else " [{:.3f}, {:.3f}]".format(*final["ci95"])
    worst = min(r for r in final["per_seed"] if r is not None)
    return f"{summary['env']} {summary['core']}: final return IQM {final['iqm']:.3f}{interval}, worst seed {worst:.3f}"


if __name__ == "__main__":
    sys.exit(main())
