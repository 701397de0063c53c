"""One render process as the service sees it: started when needed, killed when it does not answer in time."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import PIPE, Process
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


class RenderProcess:
    """A process that renders one request at a time.

    Args:
        bounds: of each rendering.
    """

    def __init__(self, bounds: RenderBounds) -> None:
        self._bounds = bounds
        self._process: Process | None = None
        self.known_templates: set[str] = set()

    @property
    def pid(self) -> int | None:
        """The process, where one runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Starts the process unless it runs.

        Raises:
            RenderAbortedError: it does not come up.
        """
        if self._process is not None:
            return
        bounds = self._bounds
        limits = (str(bounds.timeout_s), str(bounds.max_memory_bytes), str(bounds.max_output_chars))
        command = (sys.executable, "-m", _WORKER_MODULE, *limits)
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        await self._bounded(_read_frame(self._process), _START_TIMEOUT_S)

    async def exchange(self, request: bytes) -> bytes:
        """Sends a frame and returns the body of its answer.

        Raises:
            RenderAbortedError: there was no answer; the process is gone, the next exchange starts another.
        """
        await self.start()
        assert self._process is not None
        return await self._bounded(_exchange(self._process, request), self._bounds.timeout_s + _MARGIN_S)

    async def close(self) -> None:
        """Ends the process."""
        await self._end(grace_s=0)

    async def _bounded(self, answer: Coroutine[None, None, bytes], timeout_s: float) -> bytes:
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except (OSError, asyncio.IncompleteReadError) as error:
            # A closed pipe: the process is ending by itself. (TimeoutError is an OSError too.)
            grace_s = 0 if isinstance(error, TimeoutError) else _MARGIN_S
            raise RenderAbortedError(await self._end(grace_s)) from error
        except BaseException:
            await asyncio.shield(self._end(grace_s=0))
            raise

    async def _end(self, grace_s: float) -> str:
        """Waits for the process to end, kills it where it does not, and says how it ended."""
        process, self._process = self._process, None
        self.known_templates = set()
        if process is None:
            return "its process was closed"
        try:
            async with asyncio.timeout(grace_s):
                code = await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            code = await process.wait()
        if code in (-signal.SIGALRM, -signal.SIGKILL):
            return f"it took longer than {self._bounds.timeout_s:g} s"
        return f"its process ended with code {code}"


async def _exchange(process: Process, request: bytes) -> bytes:
    assert process.stdin is not None
    process.stdin.write(request)
    await process.stdin.drain()
    return await _read_frame(process)


async def _read_frame(process: Process) -> bytes:
    assert process.stdout is not None
    head = await process.stdout.readexactly(LENGTH_BYTES)
    return await process.stdout.readexactly(frame_length(head))
