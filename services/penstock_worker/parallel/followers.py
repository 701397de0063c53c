"""The shards that follow a leader: it brings them up together and tells them what to compute."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.engine.plan import StepPlan
from penstock_worker.engine.team import Agreement
from penstock_worker.parallel.connection import Connection, ConnectionLostError, Kind
from penstock_worker.parallel.lifeline import Lifeline
from penstock_worker.parallel.plan_codec import encode_plans
from penstock_worker.parallel.rendezvous import Member, host_name
from penstock_worker.parallel.topology import LEADER_RANK, Topology
from penstock_worker.parallel.wiring import Wiring, WiringPlan, choose_kind


class Followers:
    """All shards of a replica but the leader's own.

    The methods come in their order; `tell` and the adapters' may be called from different threads.

    Args:
        topology: of the replica.
        members: who joined, by rank.
        host: of this process, as the others reach it.
        on_loss: told why when one is gone, hangs, or fails: the replica is beyond use. From any thread.
    """

    def __init__(
        self, topology: Topology, members: Mapping[int, Member], host: str, on_loss: Callable[[str], None]
    ) -> None:
        self.topology = topology
        self._members = dict(sorted(members.items()))
        self._host = host
        self._on_loss = on_loss
        self._adapter_lock = threading.Lock()
        self._lifelines = [
            Lifeline(member.lifeline, lambda why, rank=rank: on_loss(f"shard {rank}: {why}"))  # type: ignore[misc]
            for rank, member in self._members.items()
        ]
        for lifeline in self._lifelines:
            lifeline.start()

    def wire(self, device: torch.device) -> Wiring:
        """Connects all with each other, for tensors on this kind of device; from then on they load."""
        hosts = Counter([host_name(), *(member.host for member in self._members.values())])
        plan = WiringPlan(choose_kind(device, is_one_host=len(hosts) == 1), self.topology, self._host)
        for member in self._members.values():
            member.work.send_json(Kind.TRANSPORT, {"wiring": plan.message, "num_sharing": hosts[member.host]})
        wiring = plan.lead(LEADER_RANK)
        self._collect(Kind.JOINED)
        plan.seal()
        return wiring

    def num_sharing_memory(self) -> int:
        """How many processes of the replica take of this host's memory, the leader among them."""
        return 1 + sum(member.host == host_name() for member in self._members.values())

    def wait_until_loaded(self) -> Agreement:
        """Waits until all have loaded; what they have room for, and hold.

        Raises:
            FailedPreconditionError: one cannot; says why.
        """
        loaded = self._collect(Kind.LOADED)
        blocks = min(int(each["num_blocks"]) for each in loaded.values())
        return Agreement(blocks, sum(int(each["weight_bytes"]) for each in loaded.values()))

    def allocate(self, num_blocks: int) -> None:
        """Has all make their KV caches, and waits until they take steps."""
        for connection in self._connections():
            connection.send_json(Kind.ALLOCATE, {"num_blocks": num_blocks})
        self._collect(Kind.READY)

    def tell(self, plans: list[StepPlan]) -> None:
        """Has all compute the micro-batches of a step."""
        payload = encode_plans(plans)
        for connection in self._connections():
            connection.send(Kind.STEP, payload)

    def load_adapter(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """Has all read an adapter; steps that are told of later may use it.

        Raises:
            FailedPreconditionError: one cannot; says why.
        """
        with self._adapter_lock:
            values = {"adapter_id": adapter_id, "adapter_dir": str(adapter_dir), "revision": revision}
            for connection in self._connections():
                connection.send_json(Kind.LOAD_ADAPTER, values)
            try:
                self._collect(Kind.ADAPTER_LOADED)
            except FailedPreconditionError:
                self.drop_adapter(adapter_id)
                raise

    def drop_adapter(self, adapter_id: int) -> None:
        """Has all forget an adapter, if they have it, after the steps that they were told of."""
        for connection in self._connections():
            connection.send_json(Kind.DROP_ADAPTER, {"adapter_id": adapter_id})

    def fail(self, error: Exception) -> None:
        """A step went wrong here: the shards wait in the middle of theirs."""
        self._on_loss(f"a step failed: {error!r}")

    def close(self) -> None:
        """Lets all go; they end."""
        for lifeline in self._lifelines:
            lifeline.close()
        for connection in self._connections():
            connection.close()

    def _connections(self) -> list[Connection]:
        return [member.work for member in self._members.values()]

    def _collect(self, kind: Kind) -> dict[int, dict[str, Any]]:
        """Each shard's answer, by rank; all are heard before a failure is raised."""
        answers, failures = {}, []
        for rank, member in self._members.items():
            try:
                answer, values = member.work.expect(kind, Kind.FAILED)
            except ConnectionLostError as error:
                self._on_loss(f"shard {rank}: {error}")
                raise FailedPreconditionError(f"shard {rank}: {error}") from error
            if answer is Kind.FAILED:
                failures.append(f"shard {rank}: {values['message']}")
            answers[rank] = values
        if failures:
            raise FailedPreconditionError("; ".join(failures))
        return answers
