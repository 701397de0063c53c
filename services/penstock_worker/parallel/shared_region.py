"""Memory that the processes of one host share: it has no name, and is gone with the last of them."""

import ctypes
import mmap
import os
from dataclasses import dataclass

from penstock_worker.parallel import futex
from penstock_worker.parallel.topology import Topology

_COUNTER_BYTES = 64  # a cache line of its own for each: one writer each
_PAGE_BYTES = 4096
NUM_SLOTS = 2
"""Of a member of a group, and of a link: one is read while the next is written."""
# Some hundred microseconds.
_NUM_SPINS = 500
# Whoever has just gone to sleep may be overlooked, since writer and sleeper do not see each other's writes at once.
_LONGEST_SLEEP_S = 0.001


@dataclass(frozen=True, slots=True)
class Layout:
    """Where what lies.

    Attributes:
        topology: of the replica.
        slot_bytes: of each slot.
    """

    topology: Topology
    slot_bytes: int

    def __post_init__(self) -> None:
        if self.slot_bytes % _PAGE_BYTES:
            raise ValueError(f"slot_bytes {self.slot_bytes} is no multiple of {_PAGE_BYTES}")

    @property
    def num_bytes(self) -> int:
        """Of all."""
        return 2 * self.topology.num_shards * self._area_bytes

    def group_area(self, stage: int, tp_rank: int) -> int:
        """Where a member writes what its group is to read: a counter, then its slots."""
        return (stage * self.topology.tensor_parallel + tp_rank) * self._area_bytes

    def link_area(self, stage: int, tp_rank: int) -> int:
        """Where a member writes what the next stage is to read: two counters, then its slots."""
        return self.topology.num_shards * self._area_bytes + self.group_area(stage, tp_rank)

    @property
    def _area_bytes(self) -> int:
        return _PAGE_BYTES + NUM_SLOTS * self.slot_bytes


@dataclass(frozen=True, slots=True)
class RegionAddress:
    """How another process of this host opens the region: the descriptor `fd` of process `pid`."""

    pid: int
    fd: int


class SharedRegion:
    """Counters and slots in memory that is mapped into several processes. Pages are taken when they are first written.

    Args:
        memory: mapped.
        layout: of it.
        fd: of it in the process that made it.
    """

    def __init__(self, memory: mmap.mmap, layout: Layout, fd: int | None = None) -> None:
        self.memory = memory
        self.layout = layout
        self._fd = fd
        self._counters = memoryview(memory).cast("q")
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    @classmethod
    def create(cls, layout: Layout) -> "SharedRegion":
        """Makes one, zeroed."""
        fd = os.memfd_create("penstock-shards", os.MFD_CLOEXEC)
        os.ftruncate(fd, layout.num_bytes)
        return cls(mmap.mmap(fd, layout.num_bytes), layout, fd)

    @classmethod
    def open(cls, address: RegionAddress, layout: Layout) -> "SharedRegion":
        """Maps that of another process, which is still there.

        Raises:
            OSError: it is not, or is another user's.
        """
        fd = os.open(f"/proc/{address.pid}/fd/{address.fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            return cls(mmap.mmap(fd, layout.num_bytes), layout)
        finally:
            os.close(fd)

    @property
    def address(self) -> RegionAddress:
        """For others; of the process that made it."""
        assert self._fd is not None, "the region was opened, not made"
        return RegionAddress(os.getpid(), self._fd)

    def seal(self) -> None:
        """Lets nobody else in: all have opened it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def counter(self, area: int, index: int = 0) -> "Counter":
        """A counter of the area at that offset."""
        offset = area + index * _COUNTER_BYTES
        return Counter(self._counters, offset // self._counters.itemsize, self._address + offset)

    def slot_offset(self, area: int, index: int) -> int:
        """Where a slot of the area at that offset begins."""
        return area + _PAGE_BYTES + index * self.layout.slot_bytes


class Counter:
    """A number that one process writes, only ever upwards, and others wait for.

    Beside it stands whether one of them sleeps. x86-64 shows writes to all in the order they were made.

    Args:
        numbers: the shared memory, as 64-bit numbers.
        index: of the counter.
        address: of the counter in this process.
    """

    __slots__ = ("_address", "_index", "_numbers")

    def __init__(self, numbers: memoryview, index: int, address: int) -> None:
        self._numbers = numbers
        self._index = index
        self._address = address

    @property
    def value(self) -> int:
        """As last written, by whomever."""
        return int(self._numbers[self._index])

    def set(self, value: int) -> None:
        """To be called by its one writer, after the data that the number speaks of."""
        numbers, index = self._numbers, self._index
        numbers[index] = value
        if numbers[index + 1]:
            numbers[index + 1] = 0
            futex.wake(self._address)

    def wait_for(self, value: int) -> None:
        """Returns once the number is `value` or more. For ever, if need be: a lifeline ends the process.

        A peer that computes the same is done within microseconds, so it is looked for first. Then sleep is better: it
        leaves the core to others, and whoever is woken comes before those who have computed all along.
        """
        numbers, index = self._numbers, self._index
        for _ in range(_NUM_SPINS):
            if numbers[index] >= value:
                return
            os.sched_yield()
        while (found := numbers[index]) < value:
            numbers[index + 1] = 1
            futex.wait(self._address, found, _LONGEST_SLEEP_S)
