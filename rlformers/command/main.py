"""The command line. Heavy imports happen in the command that needs them, so that --help and list are instant."""

import os
import select
import signal
import sys

from rlformers.command.completers import answer_shell
from rlformers.command.parser import make_parser, parse
from rlformers.errors import Complaint, UserError, foreign


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Exit codes:

    * 2: bad input;
    * 1: a run met numbers that are not finite; one of several runs failed in a sweep or an
      evaluation; files cannot be written or read; or code outside the library raised an error;
    * 75: a signal stopped a training, which can be resumed or started again;
    * 130: Ctrl-C elsewhere;
    * 141: the reader of a pipe has gone.

    The library's own errors are one line. The traceback of any other error is in
    `RUN_DIR/error.txt`, as the line says. Without a run directory it is printed before the line.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if argv is None:  # a program of our own
        # SIGTERM unwinds the stack like Ctrl-C, so that files and W&B runs are finished.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        if os.getcwd() not in sys.path and "" not in sys.path:
            # As with `python -m rlformers`, but last, so that a user's file cannot hide a package.
            sys.path.append(os.getcwd())
        if "_ARGCOMPLETE" in os.environ:
            answer_shell(make_parser()[0])
    try:
        try:
            options = parse(arguments)
        except SystemExit as done:  # help, or the version
            status = int(done.code or 0)
        else:
            status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError as error:  # the reader of `rlformers list cores | head` has gone
        if not _reader_has_gone():
            return _complain(error)
        # Python flushes once more at exit; discard that output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        return _complain(error)
    except KeyboardInterrupt as error:
        from rlformers.experiment.training.stop_request import EXIT_CODE, Interrupted

        if isinstance(error, Interrupted):
            print(f"rlformers: {error}", file=sys.stderr)
            return EXIT_CODE
        return 130


def _complain(error: Exception) -> int:
    """Show an error and return the exit code."""
    if isinstance(error, Complaint) and foreign(error) is None:
        print(f"rlformers: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    from rlformers.experiment.run_files.error_file import described

    line, traceback = described(error)
    print(f"{traceback}rlformers: {line}", file=sys.stderr)
    return 1


def _reader_has_gone() -> bool:
    """Whether nobody reads stdout any more, so that it is the broken pipe."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # 0: errors are always reported
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows, or stdout is not a file
        return False


if __name__ == "__main__":
    sys.exit(main())
