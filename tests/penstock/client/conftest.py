"""Both clients behind one asynchronous face, so that one suite holds for both."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fakes.inference_server import ScriptedInference, paris

from penstock import AsyncClient, Client
from penstock.client import Event


class BlockingDriver:
    """Drives `Client` in a thread."""

    def __init__(self, address: str, **arguments: Any) -> None:
        self.client = Client(address, **arguments)

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Calls a unary method."""
        return await asyncio.to_thread(getattr(self.client, method), *args, **options)

    async def events(self, *args: Any, **options: Any) -> list[Event]:
        """All events of a stream."""
        return await asyncio.to_thread(lambda: list(self.client.stream(*args, **options)))

    async def text(self, *args: Any, **options: Any) -> list[str]:
        """The pieces of a stream's text."""
        return await asyncio.to_thread(lambda: list(self.client.stream(*args, **options).text))

    async def stream_answer(self, *args: Any, **options: Any) -> Any:
        """The answer at the end of a stream."""
        return await asyncio.to_thread(lambda: self.client.stream(*args, **options).answer())

    async def leave_early(self, how: str) -> None:
        """Reads one event of a stream, then leaves it in the way that `how` names."""
        stream = self.client.stream("go")
        await asyncio.to_thread(next, stream)
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                pass
        elif how == "drop":
            del stream
        else:
            self.client.close()

    async def read_after_close(self) -> Event:
        """Reads one event, closes, and reads on."""
        stream = self.client.stream("go")
        await asyncio.to_thread(next, stream)
        stream.close()
        return await asyncio.to_thread(next, stream)

    async def close(self) -> None:
        """Closes the client."""
        self.client.close()


class AsyncDriver:
    """Drives `AsyncClient`."""

    def __init__(self, address: str, **arguments: Any) -> None:
        self.client = AsyncClient(address, **arguments)

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Calls a unary method."""
        return await getattr(self.client, method)(*args, **options)

    async def events(self, *args: Any, **options: Any) -> list[Event]:
        """All events of a stream."""
        return [event async for event in self.client.stream(*args, **options)]

    async def text(self, *args: Any, **options: Any) -> list[str]:
        """The pieces of a stream's text."""
        return [piece async for piece in self.client.stream(*args, **options).text]

    async def stream_answer(self, *args: Any, **options: Any) -> Any:
        """The answer at the end of a stream."""
        return await self.client.stream(*args, **options).answer()

    async def leave_early(self, how: str) -> None:
        """Reads one event of a stream, then leaves it in the way that `how` names."""
        stream = self.client.stream("go")
        await anext(stream)
        if how == "close":
            stream.close()
        elif how == "with":
            async with stream:
                pass
        elif how == "drop":
            del stream
        else:
            await self.client.close()

    async def read_after_close(self) -> Event:
        """Reads one event, closes, and reads on."""
        stream = self.client.stream("go")
        await anext(stream)
        stream.close()
        return await anext(stream)

    async def close(self) -> None:
        """Closes the client."""
        await self.client.close()


Driver = BlockingDriver | AsyncDriver


@pytest.fixture
def server() -> Iterator[ScriptedInference]:
    """A server that says "Paris." unless a test gives it another script."""
    with ScriptedInference(script=paris()) as scripted:
        yield scripted


@pytest.fixture(params=[BlockingDriver, AsyncDriver], ids=["sync", "async"])
def driver_class(request: pytest.FixtureRequest) -> type[Driver]:
    """The blocking and the asyncio client in turn."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def driver(server: ScriptedInference, driver_class: type[Driver]) -> AsyncIterator[Driver]:
    """A client of `server`."""
    made = driver_class(server.address)
    yield made
    await made.close()
