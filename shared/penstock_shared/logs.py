"""Structured logs on standard error, with the trace id of the request at hand.

Prompt and answer text never enter a log.
"""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger

from penstock_shared.tracing import current_trace


def configure_logging(service: str, level: str, *, as_json: bool) -> None:
    """Sets up this process's logs.

    Args:
        service: name added to every line.
        level: "debug", "info", "warning" or "error".
        as_json: one JSON object a line instead of text for people.
    """

    def add_context(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        trace = current_trace.get()
        if trace is not None:
            event["trace_id"] = trace.trace_id_hex
        return event

    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            add_context,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _BestEffort(sys.stderr))),
        cache_logger_on_first_use=False,
    )


class _BestEffort:
    """A stream whose disk may be full, or whose reader gone: the line is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger that names its component."""
    return cast("FilteringBoundLogger", structlog.get_logger(component=name))
