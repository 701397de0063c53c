"""What tensors travel on between the processes of one replica."""

import platform
import socket
from dataclasses import asdict, dataclass
from typing import Any

import torch

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.models.shard import Shard
from penstock_worker.models.tensor_group import Alone, TensorGroup
from penstock_worker.parallel.shared_memory_group import SharedMemoryGroup
from penstock_worker.parallel.shared_memory_link import SharedMemoryLink
from penstock_worker.parallel.shared_region import Layout, RegionAddress, SharedRegion
from penstock_worker.parallel.stage_link import StageLink
from penstock_worker.parallel.topology import Topology

SHARED_MEMORY, GLOO, NCCL = "shared memory", "gloo", "nccl"
# Large enough that a barrier costs little beside the copy, small enough to stay in a core's cache.
SLOT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wiring:
    """One process' connections.

    Attributes:
        kind: what they are, for logs and the numerics fingerprint.
        group: of its stage.
        below: from the stage below; None at the first.
        above: to the stage above; None at the last.
    """

    kind: str
    group: TensorGroup
    below: StageLink | None = None
    above: StageLink | None = None


def choose_kind(device: torch.device, *, is_one_host: bool) -> str:
    """The fastest that the processes have: NCCL between GPUs, shared memory within a host, gloo between hosts.

    Only x86-64 shows stores to other cores in the order they were made, which shared memory builds on.
    """
    if device.type == "cuda":
        return NCCL
    return SHARED_MEMORY if is_one_host and platform.machine() == "x86_64" else GLOO


class WiringPlan:
    """The leader's side: makes what the others join.

    Args:
        kind: see `choose_kind`.
        topology: of the replica.
        host: of the leader, as the others reach it.
    """

    def __init__(self, kind: str, topology: Topology, host: str) -> None:
        self._kind = kind
        self._topology = topology
        self._region: SharedRegion | None = None
        self._address: tuple[str, int] | None = None
        self._door: socket.socket | None = None
        if kind == SHARED_MEMORY:
            self._region = SharedRegion.create(Layout(topology, SLOT_BYTES))
        else:
            self._door = socket.create_server((host.strip("[]"), 0))
            self._address = (host.strip("[]"), self._door.getsockname()[1])

    @property
    def message(self) -> dict[str, Any]:
        """For `follow`."""
        if self._region is not None:
            return {"kind": self._kind, "region": asdict(self._region.address)}
        return {"kind": self._kind, "address": self._address}

    def lead(self, rank: int) -> Wiring:
        """The leader's own connections."""
        if self._region is not None:
            return _share(self._region, self._topology.shard(rank))
        assert self._address is not None
        return _distribute(self._kind, self._address, self._topology, rank, self._door)

    def seal(self) -> None:
        """All have joined: nobody else can."""
        if self._region is not None:
            self._region.seal()


def follow(message: dict[str, Any], topology: Topology, rank: int) -> Wiring:
    """A shard's connections, as `WiringPlan.message` says.

    Raises:
        FailedPreconditionError: they cannot be had.
    """
    if message["kind"] != SHARED_MEMORY:
        host, port = message["address"]
        return _distribute(message["kind"], (host, port), topology, rank, None)
    try:
        region = SharedRegion.open(RegionAddress(**message["region"]), Layout(topology, SLOT_BYTES))
    except OSError as error:
        raise FailedPreconditionError(f"the leader's shared memory cannot be opened: {error}") from error
    return _share(region, topology.shard(rank))


def _share(region: SharedRegion, shard: Shard) -> Wiring:
    is_alone = shard.tp_size == 1
    return Wiring(
        SHARED_MEMORY,
        Alone() if is_alone else SharedMemoryGroup(region, shard.stage, shard.tp_rank),
        None if shard.is_first_stage else SharedMemoryLink(region, shard.stage - 1, shard.tp_rank),
        None if shard.is_last_stage else SharedMemoryLink(region, shard.stage, shard.tp_rank),
    )


def _distribute(
    kind: str, address: tuple[str, int], topology: Topology, rank: int, door: socket.socket | None
) -> Wiring:
    from penstock_worker.parallel.distributed import DistributedLink, join  # noqa: PLC0415 it takes a second

    group, shard = join(address, topology, rank, backend=kind, door=door), topology.shard(rank)
    below = None if shard.is_first_stage else DistributedLink(rank + topology.tensor_parallel)
    above = None if shard.is_last_stage else DistributedLink(rank - topology.tensor_parallel)
    return Wiring(kind, group, below, above)
