"""Ctrl-C that stops an answer."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

from penstock.client import Stream


class StopOnCtrlC:
    """A context manager inside which Ctrl-C closes a stream, whose reader then sees a cancelled call.

    Python's own way, an exception between any two instructions, can hit gRPC while it starts a thread; the channel is
    of no use after that.

    Attributes:
        is_pressed: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.is_pressed = False
        self._stream: Stream | None = None
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def watch(self, stream: Stream) -> None:
        """Takes the stream to close; at once, if Ctrl-C was faster."""
        self._stream = stream
        if self.is_pressed:
            stream.close()

    def _press(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.is_pressed = True
        if self._stream is not None:
            self._stream.close()
