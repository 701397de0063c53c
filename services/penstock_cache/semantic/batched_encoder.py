"""Prompts of many requests in one pass of the encoder, on a thread of its own."""

import asyncio
from collections import deque
from concurrent.futures import Executor
from dataclasses import dataclass

from penstock_cache.semantic.encoder import EncoderError, EncoderModel, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_shared.logs import get_logger

_Result = list[EncodedPrompt | UnreadablePromptError]


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    done: asyncio.Future[EncodedPrompt]


class BatchedEncoder:
    """Runs what waits as one batch as soon as the last one has ended; nobody waits for a batch to fill.

    Args:
        model: runs one batch at a time.
        executor: where it runs.
        max_batch: prompts in one pass. What is not urgent goes one at a time, for a lookup that comes waits for it.
        max_waiting: how many may wait, urgent and others each; more are turned away at once.
        max_chars: what is longer is not even cut into tokens, which takes long enough to be noticed by others.

    Attributes:
        fingerprint, dimension: the model's.
    """

    def __init__(
        self,
        model: EncoderModel,
        executor: Executor,
        *,
        max_batch: int = 8,
        max_waiting: int = 64,
        max_chars: int = 4096,
    ) -> None:
        self.fingerprint = model.fingerprint
        self.dimension = model.dimension
        self._model = model
        self._executor = executor
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_chars = max_chars
        self._urgent: deque[_Waiting] = deque()
        self._patient: deque[_Waiting] = deque()
        self._running: asyncio.Future[_Result] | None = None
        self._log = get_logger("encoder")

    def __repr__(self) -> str:
        return f"BatchedEncoder(urgent={len(self._urgent)}, patient={len(self._patient)}, busy={bool(self._running)})"

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
        """The prompt's vector and detail; `Encoder` has the contract."""
        if len(text) > self._max_chars:
            raise UnreadablePromptError(f"the prompt is longer than the {self._max_chars} characters that are compared")
        queue = self._urgent if is_urgent else self._patient
        if len(queue) >= self._max_waiting:
            raise EncoderError("the encoder has too much to do")
        waiting = _Waiting(text, asyncio.get_running_loop().create_future())
        queue.append(waiting)
        self._begin_batch()
        return await waiting.done

    def _begin_batch(self) -> None:
        if self._running is not None:
            return
        batch = self._take_batch()
        if not batch:
            return
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._executor, self._model.run, [waiting.text for waiting in batch])
        self._running.add_done_callback(lambda running: self._end_batch(batch, running))

    def _take_batch(self) -> list[_Waiting]:
        """The next batch, without those whose callers have left."""
        queue, limit = (self._urgent, self._max_batch) if self._urgent else (self._patient, 1)
        batch: list[_Waiting] = []
        while queue and len(batch) < limit:
            waiting = queue.popleft()
            if not waiting.done.done():
                batch.append(waiting)
        if not batch and self._patient:  # only callers that have left were urgent
            return self._take_batch()
        return batch

    def _end_batch(self, batch: list[_Waiting], running: asyncio.Future[_Result]) -> None:
        self._running = None
        try:
            results: list[EncodedPrompt | Exception] = list(running.result())
        except Exception:  # noqa: BLE001 - whatever the model fails by, each caller is told
            self._log.exception("the encoder failed", num_prompts=len(batch))
            results = [EncoderError("the encoder failed") for _ in batch]
        for waiting, result in zip(batch, results, strict=True):
            if waiting.done.done():
                continue
            if isinstance(result, Exception):
                waiting.done.set_exception(result)
            else:
                waiting.done.set_result(result)
        self._begin_batch()
