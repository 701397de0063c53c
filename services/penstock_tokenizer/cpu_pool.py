"""A bounded pool of threads for work that holds the CPU; the tokenizers library releases the interpreter's lock."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock_shared.errors import ResourceExhaustedError

T = TypeVar("T")
_RETRY_AFTER_S = 0.1
_SMALL_BYTES = 512


class CpuPool:
    """Runs functions off the event loop.

    Args:
        num_threads: how many run at once.
        max_pending: how many may run or wait; beyond it callers are told at once.
    """

    def __init__(self, *, num_threads: int, max_pending: int) -> None:
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="tokenizer")
        self._max_pending = max_pending
        self._num_pending = 0

    def __repr__(self) -> str:
        return f"CpuPool(pending={self._num_pending}/{self._max_pending})"

    async def run(self, work: Callable[[], T], *, num_bytes: int) -> T:
        """The result of `work`. A cancelled caller leaves; its work is dropped unless it has begun.

        Args:
            work: what to do.
            num_bytes: how much text it is about. A little is done at once, in less time than a thread takes to wake.

        Raises:
            ResourceExhaustedError: too much is pending.
        """
        if num_bytes <= _SMALL_BYTES:
            return work()
        if self._num_pending >= self._max_pending:
            message = f"the tokenizer has {self._num_pending} calls pending, its maximum"
            raise ResourceExhaustedError(message, quota="tokenizer_pending_calls", retry_after_s=_RETRY_AFTER_S)
        self._num_pending += 1
        loop = asyncio.get_running_loop()
        future = self._executor.submit(work)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._forget))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Drops what waits; what runs ends on its own."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _forget(self) -> None:
        self._num_pending -= 1
