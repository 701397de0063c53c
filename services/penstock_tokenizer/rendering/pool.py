"""A few render processes that take turns."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from penstock_shared.child_process import ChildAbortedError, ChildProcess
from penstock_shared.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PenstockError,
    ResourceExhaustedError,
)
from penstock_shared.frames import Frame, to_frame
from penstock_shared.logs import get_logger
from penstock_tokenizer.rendering.bounds import RenderBounds
from penstock_tokenizer.rendering.refusal import Refusal

_RETRY_AFTER_S = 0.1


class RenderPool:
    """Renders templates in processes that are killed when one does not keep its bounds.

    Args:
        num_processes: how many render at once.
        max_pending: how many renderings may run or wait; beyond it callers are told at once.
        bounds: of each rendering.
    """

    def __init__(self, *, num_processes: int, max_pending: int, bounds: RenderBounds) -> None:
        self._processes = [_process(bounds) for _ in range(num_processes)]
        self._idle: asyncio.LifoQueue[ChildProcess] = asyncio.LifoQueue()
        self._max_pending = max_pending
        self._running: set[asyncio.Task[str]] = set()
        self._log = get_logger("rendering")

    def __repr__(self) -> str:
        return f"RenderPool(idle={self._idle.qsize()}/{len(self._processes)}, pending={len(self._running)})"

    async def start(self) -> None:
        """Starts all processes.

        Raises:
            ChildAbortedError: one does not come up.
        """
        await asyncio.gather(*(process.start() for process in self._processes))
        for process in self._processes:
            self._idle.put_nowait(process)

    async def close(self) -> None:
        """Ends all processes; what runs fails."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(process.close() for process in self._processes))

    async def render(self, source: str, variables: Mapping[str, Any]) -> str:
        """The text that the template makes of `variables`.

        A cancelled caller leaves; its rendering ends on its own, within its bounds.

        Raises:
            InvalidArgumentError: the template refuses these messages.
            FailedPreconditionError: the template is not valid or does not keep its bounds.
            ResourceExhaustedError: too many renderings are pending.
        """
        if len(self._running) >= self._max_pending:
            message = f"{len(self._running)} renderings of chat templates are pending, the maximum"
            raise ResourceExhaustedError(message, quota="tokenizer_pending_renderings", retry_after_s=_RETRY_AFTER_S)
        task = asyncio.create_task(self._render(source, variables))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def _render(self, source: str, variables: Mapping[str, Any]) -> str:
        process = await self._idle.get()
        try:
            answer = await self._exchange(process, source, variables)
        except ChildAbortedError as error:
            self._log.warning("render process ended", reason=str(error))
            raise FailedPreconditionError(f"the chat template cannot be rendered: {error}") from error
        finally:
            self._idle.put_nowait(process)
        if "text" not in answer:
            raise _to_error(Refusal(answer["refusal"]), answer["message"])
        return str(answer["text"])

    async def _exchange(self, process: ChildProcess, source: str, variables: Mapping[str, Any]) -> Frame:
        name = _digest(source)
        request: Frame = {"template": name, "variables": variables}
        if name not in process.known:
            request["source"] = source
        answer: Frame = json.loads(await process.exchange(_checked_frame(request)))
        process.known.add(name)
        return answer

    def _forget(self, task: asyncio.Task[str]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that left does not ask: mark it as seen


def _process(bounds: RenderBounds) -> ChildProcess:
    margin_s = 1.0  # the process's own alarm comes first
    return ChildProcess(bounds.command(), timeout_s=bounds.timeout_s + margin_s, alarm_s=bounds.timeout_s)


@lru_cache(maxsize=256)
def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def _checked_frame(request: Frame) -> bytes:
    try:
        return to_frame(request)
    except UnicodeEncodeError as error:
        raise InvalidArgumentError("messages", "half a surrogate pair", "valid Unicode in JSON arguments") from error


def _to_error(why: Refusal, message: str) -> PenstockError:
    if why is Refusal.TEMPLATE:
        return FailedPreconditionError(f"the chat template is not usable: {message}")
    if why is Refusal.BOUNDS:
        return FailedPreconditionError(f"the chat template cannot be rendered: {message}")
    return InvalidArgumentError("messages", "this conversation", f"what the chat template takes; it says: {message}")
