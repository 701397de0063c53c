"""A child process that answers one request at a time: started when needed, killed when it does not answer in time.

For work on what may be hostile, which nothing inside an interpreter can bound. The child limits its own memory and sets
an alarm (`SIGALRM` for time, `SIGPROF` for CPU time) whose default action ends it, whatever it is computing.
"""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass

from penstock_shared.frames import LENGTH_BYTES, frame_length

_START_TIMEOUT_S = 30.0
_GRACE_S = 1.0  # for a process that is ending by itself
_OVERTIME = (-signal.SIGALRM, -signal.SIGPROF, -signal.SIGXCPU)
_OVERFLOW = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)


class ChildAbortedError(Exception):
    """The process ended without an answer: time or memory ran out; expected of hostile work.

    Attributes:
        exit_code: how it ended, negative for a signal; None where it was closed.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @property
    def is_overtime(self) -> bool:
        """Whether its own alarm ended it."""
        return self.exit_code in _OVERTIME

    @property
    def is_overflow(self) -> bool:
        """Whether it overflowed its stack or memory. SIGKILL does not say so: it comes from outside."""
        return self.exit_code in _OVERFLOW


@dataclass(frozen=True, slots=True)
class _Running:
    """A process and the socket that is both its standard input and output."""

    process: "subprocess.Popen[bytes]"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class ChildProcess:
    """A process that answers frames, one by one. It writes an empty frame when it is ready.

    It is started by the standard library and not by the event loop: that one forks, and a fork calls gRPC's handlers.

    Args:
        command: what starts it.
        timeout_s: how long one answer may take.
        alarm_s: the time or CPU time after which it ends itself, for the words of the error.

    Attributes:
        known: names of what it has been told and keeps; emptied when it ends.
    """

    def __init__(self, command: Sequence[str], *, timeout_s: float, alarm_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._alarm_s = alarm_s
        self._running: _Running | None = None
        self.known: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The process, where one runs."""
        return self._running.process.pid if self._running else None

    async def start(self) -> None:
        """Starts the process unless it runs.

        Raises:
            ChildAbortedError: it does not come up.
            OSError: the machine has no room for another process.
        """
        if self._running is not None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = self._spawn(theirs)
            except OSError:
                ours.close()
                raise
        self._running = _Running(process, *await asyncio.open_connection(sock=ours))
        await self._bounded(_read_frame(self._running), _START_TIMEOUT_S)

    async def exchange(self, request: bytes) -> bytes:
        """Sends a frame and returns the body of its answer.

        Raises:
            ChildAbortedError: there was no answer; the process is gone, the next exchange starts another.
        """
        await self.start()
        assert self._running is not None
        return await self._bounded(_exchange(self._running, request), self._timeout_s)

    async def close(self) -> None:
        """Ends the process."""
        await self._end(grace_s=0)

    def _spawn(self, channel: socket.socket) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdin=channel.fileno(), stdout=channel.fileno())  # noqa: S603 - our own

    async def _bounded(self, answer: Coroutine[None, None, bytes], timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except (OSError, asyncio.IncompleteReadError) as error:
            # A closed socket: the process is ending by itself. (TimeoutError is an OSError too.)
            grace_s = 0 if isinstance(error, TimeoutError) else _GRACE_S
            raise await self._end(grace_s) from error
        except BaseException:
            await asyncio.shield(self._end(grace_s=0))
            raise

    async def _end(self, grace_s: float) -> ChildAbortedError:
        """Waits for the process to end, kills it where it does not, and says how it ended."""
        running, self._running = self._running, None
        self.known = set()
        if running is None:
            return ChildAbortedError("its process was closed")
        running.writer.close()
        code = await asyncio.to_thread(_wait_or_kill, running.process, grace_s)
        if code in (*_OVERTIME, -signal.SIGKILL):
            return ChildAbortedError(f"it took longer than {self._alarm_s:g} s", code)
        return ChildAbortedError(f"its process ended with code {code}", code)


def _wait_or_kill(process: "subprocess.Popen[bytes]", grace_s: float) -> int:
    try:
        return process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


async def _exchange(running: _Running, request: bytes) -> bytes:
    running.writer.write(request)
    await running.writer.drain()
    return await _read_frame(running)


async def _read_frame(running: _Running) -> bytes:
    head = await running.reader.readexactly(LENGTH_BYTES)
    return await running.reader.readexactly(frame_length(head))
