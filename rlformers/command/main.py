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

    The exit code is 2 for bad input, 1 if a run met numbers that are not finite, a run of a sweep or of several that
    are evaluated failed, files cannot be written or read, or code that is not the library's raised an error, 75 if a
    training was stopped by a signal and can be resumed or begun again, 130 after Ctrl-C elsewhere, 141 if the reader of
    a pipe has gone.

    The library's own complaints are one line. The traceback of any other error is in `RUN_DIR/error.txt`, as the line
    says, or before the line where there is no run directory.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if argv is None:  # a program of our own
        # SIGTERM unwinds like Ctrl-C, so that files and W&B runs are finished.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        if os.getcwd() not in sys.path and "" not in sys.path:
            # As with `python -m rlformers`, but last: no file of a user hides a package.
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
        # Python flushes once more at exit; let that go nowhere.
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
    """Show an error; the exit code."""
    if isinstance(error, Complaint) and foreign(error) is None:
        print(f"rlformers: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    from rlformers.experiment.run_files.error_file import described

    line, traceback = described(error)
    print(f"{traceback}rlformers: {line}", file=sys.stderr)
    return 1


def _reader_has_gone() -> bool:
    """Whether nobody reads what is printed any more, so that a broken pipe is that of stdout."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors are reported without being asked for
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows, or a stdout that is no file
        return False


if __name__ == "__main__":
    sys.exit(main())
