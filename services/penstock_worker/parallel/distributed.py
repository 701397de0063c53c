"""Groups and links over torch.distributed: NCCL on GPUs, gloo between hosts."""

import os
import socket
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.addresses import address_facing
from penstock_worker.models.tensor_group import Alone, TensorGroup
from penstock_worker.parallel.topology import Topology

_JOIN_LIMIT = timedelta(seconds=60)


class DistributedGroup:
    """`TensorGroup` over a process group.

    Args:
        group: of the members, in the order of their ranks.
        rank: this member.
        size: members.
    """

    def __init__(self, group: dist.ProcessGroup, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self._group = group

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """See `TensorGroup`. In the order of the backend's ring, which is the same for all and does not change."""
        dist.all_reduce(tensor, group=self._group)
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """See `TensorGroup`. Narrower parts travel padded to the widest one: NCCL wants equal shapes."""
        widths = self._widths(tensor)
        padded = torch.nn.functional.pad(tensor, (0, max(widths) - tensor.shape[-1])).contiguous()
        parts = [torch.empty_like(padded) for _ in widths]
        dist.all_gather(parts, padded, group=self._group)
        if self.rank:
            return None
        return torch.cat([part[:, :width] for part, width in zip(parts, widths, strict=True)], dim=1)

    def _widths(self, tensor: torch.Tensor) -> list[int]:
        own = torch.tensor([tensor.shape[-1]], device=tensor.device)
        widths = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(widths, own, group=self._group)
        return [int(width) for width in widths]


class DistributedLink:
    """`StageLink` between two ranks.

    Args:
        peer: the other side's rank.
    """

    def __init__(self, peer: int) -> None:
        self._peer = peer

    def send(self, hidden: torch.Tensor) -> None:
        """See `StageLink`."""
        dist.send(hidden, self._peer)

    def receive(self, hidden: torch.Tensor) -> torch.Tensor:
        """See `StageLink`."""
        dist.recv(hidden, self._peer)
        return hidden


def join(
    address: tuple[str, int], topology: Topology, rank: int, *, backend: str, door: socket.socket | None
) -> TensorGroup:
    """Meets all processes of a replica; every one of them calls it. Returns the group of this one's stage.

    Args:
        address: host and port where the leader lets the others in.
        topology: of the replica.
        rank: of this process.
        backend: "gloo" or "nccl".
        door: the leader's, listening at `address`; None for the others.
    """
    host, port = address
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(host if door is not None else address_facing(host, port)))
    store = dist.TCPStore(  # type: ignore[attr-defined]
        host,
        port,
        topology.num_shards,
        is_master=door is not None,
        timeout=_JOIN_LIMIT,
        master_listen_fd=None if door is None else door.detach(),
    )
    dist.init_process_group(backend, store=store, rank=rank, world_size=topology.num_shards)
    if topology.tensor_parallel == 1:
        return Alone()
    own: TensorGroup | None = None
    for first in range(0, topology.num_shards, topology.tensor_parallel):
        ranks = list(range(first, first + topology.tensor_parallel))
        group = dist.new_group(ranks)  # every process makes every group
        if rank in ranks:
            assert isinstance(group, dist.ProcessGroup)
            own = DistributedGroup(group, rank - first, topology.tensor_parallel)
    assert own is not None
    return own


def _interface(address: str) -> str:
    """The network interface of an address of this host: gloo would listen on that of the host's name."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            return name
    raise FailedPreconditionError(f"no network interface of this host has the address {address}")
