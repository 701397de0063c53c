"""What a command asks of a running supervisor: one line of JSON each way, over a Unix socket in the state directory.

Only the owner of the state directory can open the socket.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

from penstock.local.errors import LocalError

_RESTART = "restart"
_PROBLEM = "problem"
_MAX_LINE_BYTES = 4096

Restart = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def answering(path: Path, restart: Restart) -> AsyncIterator[None]:
    """Answers what is asked at `path` while the block runs.

    Args:
        path: of the socket; one that is left from before is replaced.
        restart: restarts a service; a LocalError is the answer where it cannot.

    Raises:
        LocalError: there can be no socket at `path`.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            writer.write(json.dumps(await _answer(reader, restart)).encode() + b"\n")
            await writer.drain()

    server = await asyncio.start_unix_server(answer, sock=_listen(path), limit=_MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - at the very end; nobody waits


def ask_restart(path: Path, service: str, *, timeout_s: float) -> None:
    """Has the supervisor that answers at `path` restart a service, and returns when that serves again.

    Raises:
        LocalError: it does not; says why.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(path) as short:
            connection.settimeout(timeout_s)
            connection.connect(short)
            connection.sendall(json.dumps({_RESTART: service}).encode() + b"\n")
            answer = connection.makefile().readline()
    except TimeoutError:
        raise LocalError(f"{service} was not restarted within {timeout_s:g} s; see `penstock status`") from None
    except OSError as error:
        raise LocalError(f"the supervisor cannot be asked at {path}: {error.strerror}") from error
    if not answer:
        raise LocalError(f"the stack was stopped before {service} served again")
    problem = json.loads(answer).get(_PROBLEM)
    if problem is not None:
        raise LocalError(problem)


async def _answer(reader: asyncio.StreamReader, restart: Restart) -> dict[str, str]:
    try:
        await restart(str(json.loads(await reader.readline())[_RESTART]))
    except (ValueError, KeyError, TypeError):
        return {_PROBLEM: "not understood: the supervisor is of another version"}
    except LocalError as error:
        return {_PROBLEM: str(error)}
    return {}


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as short:
            listener.bind(short)
        path.chmod(0o600)  # before anybody can connect
        listener.listen()
    except OSError as error:
        listener.close()
        raise LocalError(f"cannot make the socket {path}: {error.strerror}; choose another --state-dir") from error
    listener.setblocking(False)
    return listener


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Another way to write `path`: a socket's may not be longer than 107 bytes."""
    if sys.platform != "linux":
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
