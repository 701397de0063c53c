"""Who gets the next process that is free: tenants in turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable

from penstock_shared.child_process import ChildProcess

_Waiting = asyncio.Future[ChildProcess]


class Turns:
    """Hands processes out, to one who waits of each tenant in turn, and among a tenant's own in their order.

    Args:
        processes: all of them; the one that came back last goes first, for it runs and knows most.
    """

    def __init__(self, processes: Iterable[ChildProcess]) -> None:
        self._idle = list(processes)
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()  # whose turn is next stands first

    def __repr__(self) -> str:
        return f"Turns(idle={len(self._idle)}, waiting={sum(map(len, self._waiting.values()))})"

    async def take(self, tenant: str) -> ChildProcess:
        """A process, which the caller gives back."""
        if self._idle:
            return self._idle.pop()
        turn: _Waiting = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the last moment
                self.give_back(turn.result())
            raise

    def give_back(self, process: ChildProcess) -> None:
        """It is free again."""
        while self._waiting:
            tenant, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[tenant] = turns  # behind all others
            if not turn.done():
                turn.set_result(process)
                return
        self._idle.append(process)
