"""Sends a workload and notes what comes back."""

import asyncio
import time
from collections.abc import Iterator
from itertools import count

from penstock.bench.pacing import Budget
from penstock.bench.record import RecordInProgress, RequestRecord
from penstock.bench.workload import Conversation, Turn, Workload
from penstock.client import AsyncClient, PenstockError


class LoadGenerator:
    """One run. Its clock starts when it is made.

    Args:
        client: of the gateway.
        model: a served model.
        workload: what to send.
        budget: how much of it.
        timeout_s: deadline of each request, from its sending.
        uses_cache: whether answers may come from the cache.

    Attributes:
        records: of the requests that have ended, in the order of their ends.
        num_sent: requests sent so far.
        num_cut: conversations that the context had no room for.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        model: str,
        workload: Workload,
        budget: Budget,
        timeout_s: float,
        uses_cache: bool,
    ) -> None:
        self._client = client
        self._model = model
        self._workload = workload
        self._budget = budget
        self._timeout_s = timeout_s
        self._uses_cache = uses_cache
        self._began_s = time.monotonic()
        self.records: list[RequestRecord] = []
        self.num_sent = 0
        self.num_cut = 0

    @property
    def num_running(self) -> int:
        """Requests that were sent and have not ended."""
        return self.num_sent - len(self.records)

    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    async def run_closed(self, concurrency: int) -> None:
        """Keeps `concurrency` conversations going: who gets an answer sends the next request at once."""
        numbers = count()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(self._user(numbers))

    async def run_open(self, arrivals_s: Iterator[float]) -> None:
        """Begins a conversation at each of `arrivals_s`, however long the server takes for those before."""
        async with asyncio.TaskGroup() as tasks:
            for number, due_s in enumerate(arrivals_s):
                if not self._budget.take(due_s):
                    await self._sleep_until(self._budget.end_s(due_s))
                    return
                conversation = self._take(number)
                await self._sleep_until(due_s)
                tasks.create_task(self._converse(conversation, due_s))

    async def _sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.now_s()))

    async def _user(self, numbers: Iterator[int]) -> None:
        while self._budget.take(due_s := self.now_s()):
            await self._converse(self._take(next(numbers)), due_s)

    def _take(self, number: int) -> Conversation:
        conversation = self._workload.conversation(number)
        self.num_cut += conversation.is_cut
        return conversation

    async def _converse(self, conversation: Conversation, due_s: float) -> None:
        """Sends the turns one after the other; the first is in the budget already. An error ends the conversation."""
        history: list[int] = []
        for number, turn in enumerate(conversation.turns):
            if number:
                due_s = self.now_s()
                if not self._budget.take(due_s):
                    return
            history += turn.new_token_ids
            answer = await self._request(history, turn, due_s)
            if answer is None:
                return
            history += answer

    async def _request(self, token_ids: list[int], turn: Turn, due_s: float) -> list[int] | None:
        """The tokens of the answer; None where there was an error."""
        progress = RecordInProgress(due_s, self.now_s(), len(token_ids))
        failure: PenstockError | None = None
        self.num_sent += 1
        try:
            await self._stream(token_ids, turn, progress)
        except PenstockError as error:
            failure = error
        self.records.append(progress.end(self.now_s(), failure))
        return progress.output_token_ids if failure is None else None

    async def _stream(self, token_ids: list[int], turn: Turn, progress: RecordInProgress) -> None:
        stream = self._client.stream(
            model=self._model,
            token_ids=token_ids,
            max_tokens=turn.num_output_tokens,
            ignore_eos=True,
            seed=turn.sampling_seed,
            return_token_ids=True,
            cache="use" if self._uses_cache else "bypass",
            timeout_s=self._timeout_s,
        )
        async with stream:
            async for event in stream:
                progress.take(event, self.now_s())
