"""How many replicas of a model the load needs. Pure: demand and time are passed in.

Up quickly on what waits, down late on what came, so that nothing flaps:

- More are wanted while more waits or runs than the targets allow, if that holds for the whole `up_window`, what was
  wanted before serves already, and the backlog does not shrink: it says that there were too few, not that there are.
- How many follows from the rate at which sequences come and the rate at which a replica got through them while others
  waited, where that is known.
- Fewer do only where no moment of the whole `down_window` needed more, and where the rate at which sequences come fits:
  a queue that was cured by one more replica would come back without it.
- None, where that is allowed, after `idle_window` without any request; the next request wants one at once.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from penstock_worker.fleet.demand import Demand
from penstock_worker.fleet.spec import Autoscale, WantedModel

# Of what a replica gets through when it is busy all the time.
_USABLE_SHARE = 0.8
# Rates are averages over some seconds: with another number of replicas they mean nothing before.
_SETTLING_S = 6.0
# What was measured so many down windows ago may not hold any more, as when answers have become shorter.
_REMEMBERED_WINDOWS = 60
# A backlog that is smaller by this share than it was shrinks.
_SHRINKING_SHARE = 0.05
_MAX_GROWTH = 4


@dataclass(frozen=True, slots=True)
class _Look:
    """What one moment needs: at least so many replicas, and with fewer than `safe` it would come to need more."""

    at_s: float
    num_sequences: int
    needed: int
    safe: int


class Autoscaler:
    """Of one model.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s = clock()
        self._busy_s = self._began_s  # when there was a request last
        self._looks: deque[_Look] = deque()
        self._capacity: float | None = None  # sequences a second that a busy replica gets through
        self._capacity_s = self._began_s
        self._num_ready = 0
        self._ready_s = self._began_s  # since when there are as many

    def decide(self, model: WantedModel, demand: Demand, num_ready: int) -> int:
        """How many replicas are to be wanted from now on. To be asked regularly.

        Args:
            model: with its `replicas` as wanted now, and `autoscale`.
            demand: of all gateways.
            num_ready: replicas that serve.
        """
        scale = model.autoscale
        assert scale is not None, "the model is to be scaled by its load"
        now_s = self._clock()
        self._note(scale, demand, num_ready, now_s)
        needed = self._needed(scale, demand, model.replicas, now_s)
        safe = max(needed, self._needed_for(demand.placed_per_s))
        self._looks.append(_Look(now_s, _num_sequences(demand), needed, safe))
        while self._looks[0].at_s < now_s - max(scale.up_window_s, scale.down_window_s):
            self._looks.popleft()
        return self._bounded(self._wanted(model.replicas, scale, demand, now_s), model, scale, now_s)

    def _wanted(self, current: int, scale: Autoscale, demand: Demand, now_s: float) -> int:
        if current == 0:
            return min(1, demand.num_requests)
        lasting = min(look.needed for look in self._looks if look.at_s >= now_s - scale.up_window_s)
        if lasting > current and now_s - self._began_s >= scale.up_window_s:
            return lasting
        enough = max(look.safe for look in self._looks if look.at_s >= now_s - scale.down_window_s)
        if enough < current and now_s - self._began_s >= scale.down_window_s:
            return enough
        return current

    def _bounded(self, wanted: int, model: WantedModel, scale: Autoscale, now_s: float) -> int:
        is_idle = now_s - self._busy_s >= scale.idle_window_s
        may_be_none = model.min_replicas == 0 and (model.replicas == 0 or is_idle)
        least = max(model.min_replicas, 0 if may_be_none else 1)
        return min(max(wanted, least), model.max_replicas)

    def _note(self, scale: Autoscale, demand: Demand, num_ready: int, now_s: float) -> None:
        """What is learned from this look."""
        if demand.num_requests or demand.placed_per_s:
            self._busy_s = now_s
        if num_ready != self._num_ready:
            self._num_ready, self._ready_s = num_ready, now_s
        if now_s - self._capacity_s > _REMEMBERED_WINDOWS * scale.down_window_s:
            self._capacity = None
        each = demand.placed_per_s / num_ready if num_ready else 0.0
        is_settled = now_s - self._ready_s >= _SETTLING_S or self._capacity is None
        if demand.num_waiting and each and is_settled:
            self._capacity, self._capacity_s = each, now_s
        elif self._capacity is not None:
            self._capacity = max(self._capacity, each)

    def _needed(self, scale: Autoscale, demand: Demand, current: int, now_s: float) -> int:
        """At this moment, by what runs and waits."""
        num_sequences = _num_sequences(demand)
        if current == 0 or _pressure(scale, demand, current) <= 1:
            return min(current, math.ceil(num_sequences / scale.target_sequences))
        lately = [look for look in self._looks if look.at_s >= now_s - scale.up_window_s]
        most = max((look.num_sequences for look in lately), default=0)
        if self._num_ready < current or num_sequences < (1 - _SHRINKING_SHARE) * most:
            return current
        growth = (num_sequences - lately[0].num_sequences) / (now_s - lately[0].at_s) if lately else 0.0
        for_rate = self._needed_for(demand.placed_per_s + max(0.0, growth))
        return min(max(for_rate, current + 1), _MAX_GROWTH * current)

    def _needed_for(self, rate: float) -> int:
        """Replicas for so many sequences a second; 0 where it is not known what one gets through."""
        return 0 if self._capacity is None else math.ceil(rate / (_USABLE_SHARE * self._capacity))


def _num_sequences(demand: Demand) -> int:
    return demand.num_running + demand.num_waiting


def _pressure(scale: Autoscale, demand: Demand, num_replicas: int) -> float:
    """Above 1 where there is more than the targets allow."""
    return max(
        _num_sequences(demand) / (scale.target_sequences * num_replicas),
        demand.num_waiting_tokens / (scale.target_queued_tokens * num_replicas),
        demand.predicted_wait_s / scale.target_wait_s if demand.num_waiting else 0.0,
    )
