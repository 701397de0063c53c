"""The queue that requests wait in until a replica has credit for them.

Order: criticality, then fairness between tenants, then the earlier deadline. Fairness is by virtual token counters
(Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024): each tenant's counter grows by the tokens it was
served, the tenant with the lowest counter is next, and a tenant that was idle is lifted to the level of the active
ones, so that idling saves nothing up.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from penstock_gateway.requests import Criticality

ItemT = TypeVar("ItemT")
_MAX_REMEMBERED_TENANTS = 1024
# A sequence that already streams to a client goes before everything that has not begun.
_RETURNING_RANK = 0
_NEW_RANK = 1


@dataclass(frozen=True, slots=True, order=True)
class _Entry(Generic[ItemT]):
    rank: int
    deadline_s: float
    arrival: int
    key: str = field(compare=False)
    tenant: str = field(compare=False)
    criticality: Criticality = field(compare=False)
    num_tokens: int = field(compare=False)
    item: ItemT = field(compare=False)


class FairQueue(Generic[ItemT]):
    """Waiting items. Admission bounds their number; the queue itself refuses nothing."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[ItemT]] = {}
        self._lanes: dict[Criticality, dict[str, list[_Entry[ItemT]]]] = {
            criticality: {} for criticality in sorted(Criticality, reverse=True)
        }
        self._counters: dict[str, float] = {}
        self._level = 0.0  # where a tenant that was idle comes in: the counter of the one served last
        self._num_arrived = 0
        self._num_tokens = 0

    def __repr__(self) -> str:
        return f"FairQueue(items={len(self)}, tokens={self._num_tokens})"

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def num_tokens(self) -> int:
        """Prompt tokens of all that waits."""
        return self._num_tokens

    def lengths(self) -> dict[Criticality, int]:
        """How many wait at each criticality, the most critical first."""
        return {criticality: sum(map(len, lane.values())) for criticality, lane in self._lanes.items()}

    def push(
        self,
        key: str,
        item: ItemT,
        *,
        tenant: str,
        criticality: Criticality,
        deadline_s: float,
        num_tokens: int,
        is_returning: bool = False,
    ) -> None:
        """Adds an item.

        Args:
            key: names it for `remove`; unique.
            item: what waits.
            tenant: whose turn it takes.
            criticality: higher ones go first.
            deadline_s: the earlier goes first among one tenant's.
            num_tokens: charged to the tenant when the item leaves through `pop`.
            is_returning: it was served before and lost its place: it goes before its tenant's new items.
        """
        assert key not in self._entries, f"{key} waits already"
        self._lift(tenant)
        self._num_arrived += 1
        rank = _RETURNING_RANK if is_returning else _NEW_RANK
        entry = _Entry(rank, deadline_s, self._num_arrived, key, tenant, criticality, num_tokens, item)
        self._num_tokens += num_tokens
        self._put_in(entry)

    def reprioritize(self, key: str, *, criticality: Criticality, deadline_s: float) -> None:
        """An item that waits is worth more, or less, than it was. Nothing where it does not wait."""
        entry = self._entries.get(key)
        if entry is None or (entry.criticality, entry.deadline_s) == (criticality, deadline_s):
            return
        self._take_from_lane(entry)
        self._put_in(replace(entry, criticality=criticality, deadline_s=deadline_s))

    def peek(self) -> ItemT | None:
        """The item whose turn it is."""
        head = self._head()
        return None if head is None else head.item

    def pop(self) -> ItemT:
        """Takes the item whose turn it is, and charges its tenant."""
        head = self._head()
        assert head is not None, "the queue is empty"
        self._level = max(self._level, self._counters[head.tenant])
        self._take_out(head)
        self.charge(head.tenant, head.num_tokens)
        if not self._entries:
            self._level = max(self._level, self._counters[head.tenant])
        return head.item

    def remove(self, key: str) -> bool:
        """Takes an item out of turn (cancelled, expired), uncharged. False where it does not wait."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._take_out(entry)
        return True

    def charge(self, tenant: str, num_tokens: int) -> None:
        """Counts tokens that a tenant was served."""
        self._counters[tenant] = self._counters.get(tenant, self._level) + num_tokens
        if len(self._counters) > _MAX_REMEMBERED_TENANTS:
            self._forget_idle_tenants()

    def items(self) -> list[ItemT]:
        """All that waits, in order of arrival."""
        return [entry.item for entry in self._entries.values()]

    def check_invariants(self) -> None:
        """The lanes hold exactly the known entries, sorted, and every waiting tenant has a counter."""
        in_lanes = [entry for lane in self._lanes.values() for line in lane.values() for entry in line]
        assert sorted(entry.key for entry in in_lanes) == sorted(self._entries)
        assert self._num_tokens == sum(entry.num_tokens for entry in in_lanes)
        for criticality, lane in self._lanes.items():
            for tenant, line in lane.items():
                assert line, "no empty line is kept"
                assert line == sorted(line)
                assert all((entry.tenant, entry.criticality) == (tenant, criticality) for entry in line)
                assert tenant in self._counters

    def _head(self) -> _Entry[ItemT] | None:
        lane = next((lane for lane in self._lanes.values() if lane), None)
        if lane is None:
            return None
        next_tenant = min(lane, key=lambda tenant: (self._counters[tenant], lane[tenant][0]))
        return lane[next_tenant][0]

    def _lift(self, tenant: str) -> None:
        if not self._is_waiting(tenant):
            self._counters[tenant] = max(self._counters.get(tenant, 0.0), self._level)

    def _is_waiting(self, tenant: str) -> bool:
        return any(tenant in lane for lane in self._lanes.values())

    def _put_in(self, entry: _Entry[ItemT]) -> None:
        self._entries[entry.key] = entry
        insort(self._lanes[entry.criticality].setdefault(entry.tenant, []), entry)

    def _take_out(self, entry: _Entry[ItemT]) -> None:
        self._take_from_lane(entry)
        del self._entries[entry.key]
        self._num_tokens -= entry.num_tokens

    def _take_from_lane(self, entry: _Entry[ItemT]) -> None:
        lane = self._lanes[entry.criticality]
        line = lane[entry.tenant]
        del line[bisect_left(line, entry)]
        if not line:
            del lane[entry.tenant]

    def _forget_idle_tenants(self) -> None:
        """Forgets the half that was served least: those lose, or gain, least by coming back at the level."""
        idle = sorted((counter, tenant) for tenant, counter in self._counters.items() if not self._is_waiting(tenant))
        for _, tenant in idle[: len(idle) // 2]:
            del self._counters[tenant]
