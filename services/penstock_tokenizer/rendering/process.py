"""One render process as the service sees it: started when needed, killed when it does not answer in time."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass

from penstock_tokenizer.rendering.frames import LENGTH_BYTES, frame_length

_WORKER_MODULE = "penstock_tokenizer.rendering.worker"
_START_TIMEOUT_S = 30.0
_MARGIN_S = 1.0  # the process's own alarm comes first


@dataclass(frozen=True, slots=True)
class RenderBounds:
    """What one rendering may use: seconds, address space of its process, characters of output."""

    timeout_s: float = 2.0
    max_memory_bytes: int = 512 * 1024 * 1024
    max_output_chars: int = 4 * 1024 * 1024


class RenderAbortedError(Exception):
    """The process ended without an answer: time or memory ran out; expected of hostile templates."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A process and the socket that is both its standard input and output."""

    process: "subprocess.Popen[bytes]"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class RenderProcess:
    """A process that renders one request at a time.

    It is started by the standard library and not by the event loop: that one forks, and a fork calls gRPC's handlers.

    Args:
        bounds: of each rendering.
    """

    def __init__(self, bounds: RenderBounds) -> None:
        self._bounds = bounds
        self._running: _Running | None = None
        self.known_templates: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The process, where one runs."""
        return self._running.process.pid if self._running else None

    async def start(self) -> None:
        """Starts the process unless it runs.

        Raises:
            RenderAbortedError: it does not come up.
        """
        if self._running is not None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._spawn(theirs)
        self._running = _Running(process, *await asyncio.open_connection(sock=ours))
        await self._bounded(_read_frame(self._running), _START_TIMEOUT_S)

    async def exchange(self, request: bytes) -> bytes:
        """Sends a frame and returns the body of its answer.

        Raises:
            RenderAbortedError: there was no answer; the process is gone, the next exchange starts another.
        """
        await self.start()
        assert self._running is not None
        return await self._bounded(_exchange(self._running, request), self._bounds.timeout_s + _MARGIN_S)

    async def close(self) -> None:
        """Ends the process."""
        await self._end(grace_s=0)

    def _spawn(self, channel: socket.socket) -> "subprocess.Popen[bytes]":
        bounds = self._bounds
        limits = (str(bounds.timeout_s), str(bounds.max_memory_bytes), str(bounds.max_output_chars))
        command = (sys.executable, "-m", _WORKER_MODULE, *limits)
        return subprocess.Popen(command, stdin=channel.fileno(), stdout=channel.fileno())  # noqa: S603 - our own module

    async def _bounded(self, answer: Coroutine[None, None, bytes], timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except (OSError, asyncio.IncompleteReadError) as error:
            # A closed socket: the process is ending by itself. (TimeoutError is an OSError too.)
            grace_s = 0 if isinstance(error, TimeoutError) else _MARGIN_S
            raise RenderAbortedError(await self._end(grace_s)) from error
        except BaseException:
            await asyncio.shield(self._end(grace_s=0))
            raise

    async def _end(self, grace_s: float) -> str:
        """Waits for the process to end, kills it where it does not, and says how it ended."""
        running, self._running = self._running, None
        self.known_templates = set()
        if running is None:
            return "its process was closed"
        running.writer.close()
        code = await asyncio.to_thread(_wait_or_kill, running.process, grace_s)
        if code in (-signal.SIGALRM, -signal.SIGKILL):
            return f"it took longer than {self._bounds.timeout_s:g} s"
        return f"its process ended with code {code}"


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
