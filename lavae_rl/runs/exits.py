"""How our programs end: exit statuses, and one line instead of a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

EXIT_FAILED, EXIT_STOPPED = 1, 130


@contextmanager
def clean_exit(
    console: Console, stopped: str = "stopped", errors: tuple[type[Exception], ...] = (ValueError, OSError)
) -> Iterator[None]:
    """Ends the program with EXIT_STOPPED on Ctrl-C, with EXIT_FAILED on an error that tells what to do.

    Args:
        console: for messages.
        stopped: what to say after Ctrl-C.
        errors: whose message is enough; others are mistakes of ours, and keep their traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        console.print(stopped)
        sys.exit(EXIT_STOPPED)
    except errors as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(EXIT_FAILED)
