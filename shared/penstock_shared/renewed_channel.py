"""A channel that shows a renewed certificate, though gRPC fixes one for a channel's life."""

# ruff: noqa: D102 - the methods of a channel are gRPC's

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc


@dataclass(eq=False, slots=True)
class _Opened:
    """A channel, and how many of its calls run."""

    channel: grpc.aio.Channel
    num_calls: int = 0


class RenewedChannel(grpc.aio.Channel):
    """Opens another channel where the credentials have changed by the next call; calls that run go on over the old one.

    Args:
        credentials: those of now; the same object for as long as they do not change.
        connect: opens a channel with them.
    """

    def __init__(
        self,
        credentials: Callable[[], grpc.ChannelCredentials],
        connect: Callable[[grpc.ChannelCredentials], grpc.aio.Channel],
    ) -> None:
        self._credentials = credentials
        self._connect = connect
        self._shown = credentials()
        self._current = _Opened(connect(self._shown))
        self._old: set[_Opened] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound_late(lambda channel: channel.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound_late(lambda channel: channel.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound_late(lambda channel: channel.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound_late(lambda channel: channel.stream_stream(method, *args, **kwargs))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._renewed().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._renewed().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._renewed().channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        old, self._old = self._old, set()
        await asyncio.gather(*(each.channel.close(grace) for each in (self._current, *old)), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    def _bound_late(self, bind: Callable[[grpc.aio.Channel], Any]) -> Callable[..., Any]:
        """A method of whichever channel is the current one when it is called."""
        opened = self._current
        bound = bind(opened.channel)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal opened, bound
            current = self._renewed()
            if current is not opened:
                opened, bound = current, bind(current.channel)
            started = bound(*args, **kwargs)
            current.num_calls += 1
            started.add_done_callback(lambda _: self._leave(current))
            return started

        return call

    def _renewed(self) -> _Opened:
        credentials = self._credentials()
        if credentials is not self._shown:
            self._shown = credentials
            self._old.add(self._current)
            self._current, replaced = _Opened(self._connect(credentials)), self._current
            self._close_if_unused(replaced)
        return self._current

    def _leave(self, opened: _Opened) -> None:
        opened.num_calls -= 1
        self._close_if_unused(opened)

    def _close_if_unused(self, opened: _Opened) -> None:
        if opened in self._old and opened.num_calls == 0:
            self._old.remove(opened)
            closing = asyncio.ensure_future(opened.channel.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
