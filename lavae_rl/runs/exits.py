"""Beginnings and ends of our programs: parser, console, exit statuses, one line instead of a traceback."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

EXIT_FAILED, EXIT_STOPPED = 1, 130


def program_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser without abbreviated flags that prints the docstring of a program as it stands."""
    as_it_stands = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=as_it_stands, allow_abbrev=False)


@contextmanager
def clean_exit(
    stopped: str = "stopped", errors: tuple[type[Exception], ...] = (ValueError, OSError)
) -> Iterator[Console]:
    """Run a program: exit with EXIT_STOPPED on Ctrl-C or SIGTERM, with EXIT_FAILED on an error that says what to do.

    Args:
        stopped: message after Ctrl-C or SIGTERM, which schedulers and timeout(1) send.
        errors: exceptions whose message is enough; all others are our mistakes and keep their traceback.
    """
    console = Console(highlight=False, soft_wrap=True)
    main = threading.current_thread() is threading.main_thread()  # no other may set handlers
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    hook, threading.excepthook = threading.excepthook, _report_thread
    try:
        yield console
    except KeyboardInterrupt:
        console.print(stopped)
        sys.exit(EXIT_STOPPED)
    except errors as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(EXIT_FAILED)
    finally:
        threading.excepthook = hook
        if main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _report_thread(failed: threading.ExceptHookArgs) -> None:
    """Leave errors of the system to the main thread: the logs' threads raise them there again, on a full disk."""
    if not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)
