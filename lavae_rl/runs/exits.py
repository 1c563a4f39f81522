"""Beginnings and ends of our programs: parser, console, exit statuses, one line instead of a traceback."""

import argparse
import io
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from lavae_rl.runs.programs import as_typed
from lavae_rl.runs.signals import handling

EXIT_FAILED, EXIT_STOPPED = 1, 130


def program_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser without abbreviated flags that prints the docstring of a program, with commands that work here."""
    as_it_stands = argparse.RawDescriptionHelpFormatter
    description = as_typed(description or "")
    return argparse.ArgumentParser(description=description, formatter_class=as_it_stands, allow_abbrev=False)


def program_console() -> Console:
    """The console of a program; a character that an encoding lacks is written as its number, and ends no run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Console(highlight=False, soft_wrap=True)


@contextmanager
def clean_exit(
    stopped: str = "stopped", errors: tuple[type[Exception], ...] = (ValueError, OSError)
) -> Iterator[Console]:
    """Run a program: exit with EXIT_STOPPED on Ctrl-C or SIGTERM, with EXIT_FAILED on an error that says what to do.

    Args:
        stopped: message after Ctrl-C or SIGTERM, which schedulers and timeout(1) send.
        errors: exceptions whose message is enough; all others are our mistakes and keep their traceback.
    """
    console = program_console()
    hook, threading.excepthook = threading.excepthook, _report_thread
    try:
        with handling(signal.default_int_handler, signal.SIGTERM):
            yield console
    except KeyboardInterrupt:
        console.print(stopped)
        sys.exit(EXIT_STOPPED)
    except errors as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(EXIT_FAILED)
    finally:
        threading.excepthook = hook


def _report_thread(failed: threading.ExceptHookArgs) -> None:
    """Leave errors of the system to the main thread: the logs' threads raise them there again, on a full disk."""
    if not issubclass(failed.exc_type, OSError):
        threading.__excepthook__(failed)
