"""The mask process as its replica sees it: a socket that never blocks, and a process that can be killed."""

import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_shared.frames import Frame, to_frame
from penstock_worker.constraints.wire import Reply, unpack_replies

_MODULE = "penstock_worker.constraints.process"
_RECEIVE_BYTES = 1 << 20


class MaskProcessEndedError(Exception):
    """The process is gone: ended by itself, by a limit or by a fault in what it computed."""


@dataclass(frozen=True, slots=True)
class MaskModel:
    """What masks are computed for.

    Attributes:
        tokenizer_file: the checkpoint's tokenizer.json.
        vocab_size: token ids are below it; those that the tokenizer does not have are never allowed.
        eos_token_ids: tokens that end a sequence.
    """

    tokenizer_file: Path
    vocab_size: int
    eos_token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MaskLimits:
    """CPU time that one request may take, in seconds, before the process ends itself.

    Attributes:
        open_s: to compile a grammar, where it is not there yet, and to follow the output so far.
        advance_s: to follow the chosen tokens, and for the mask after them.
    """

    open_s: float = 2.0
    advance_s: float = 0.5


class MaskProcess:
    """A started process. Not thread-safe.

    Args:
        model: what it computes masks for.
        limits: what it may take.

    Raises:
        OSError: the machine has no room for another process.
    """

    def __init__(self, model: MaskModel, limits: MaskLimits) -> None:
        self._socket, theirs = socket.socketpair()
        numbers = (limits.open_s, limits.advance_s, model.vocab_size, *model.eos_token_ids)
        arguments = (str(model.tokenizer_file), *map(str, numbers))
        with theirs:
            channel = theirs.fileno()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    (sys.executable, "-m", _MODULE, *arguments), stdin=channel, stdout=channel
                )
            except OSError:
                self._socket.close()
                raise
        self._socket.setblocking(False)
        self._unsent = bytearray()
        self._received = bytearray()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, requests: Sequence[Frame]) -> None:
        """Queues requests and sends what can be sent at once."""
        for request in requests:
            self._unsent += to_frame(request)
        self._flush()

    def receive(self, timeout_s: float) -> Iterator[Reply]:
        """What has arrived; where that is nothing, what arrives within `timeout_s`.

        Raises:
            MaskProcessEndedError: nothing will arrive any more.
        """
        self._flush()
        if self._take() or (self._wait(timeout_s) and self._take()):
            yield from unpack_replies(self._received)

    def close(self) -> None:
        """Kills the process."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:  # it has ended: whoever receives next is told
            self._unsent.clear()

    def _take(self) -> bool:
        """Whether anything had arrived."""
        num_before = len(self._received)
        try:
            while chunk := self._socket.recv(_RECEIVE_BYTES):
                self._received += chunk
        except BlockingIOError:
            return len(self._received) > num_before
        except OSError as error:
            raise MaskProcessEndedError from error
        if len(self._received) > num_before:
            return True  # its last words; the next call finds the end
        raise MaskProcessEndedError

    def _wait(self, timeout_s: float) -> bool:
        return bool(select.select([self._socket], [], [], timeout_s)[0])
