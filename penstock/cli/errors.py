"""Errors as an operator meets them: one line on standard error, and an exit code that a script can act on."""

import sys

FAILED = 1
NOTHING_THERE = 3
INTERRUPTED = 130


class CommandError(Exception):
    """Ends the command.

    Args:
        message: one line, with the way out.
        exit_code: of the process.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def complain(message: str) -> None:
    """Tells an error on standard error."""
    print(f"error: {message}", file=sys.stderr)  # noqa: T201 - the command line's own voice
