"""A shard's side: loads its part, then computes what the leader tells it, until either is gone."""

import json
import threading
from pathlib import Path
from typing import Protocol

from penstock_shared.errors import PenstockError
from penstock_worker.engine.plan import StepPlan
from penstock_worker.models.shard import Shard
from penstock_worker.parallel.connection import Connection, Kind
from penstock_worker.parallel.plan_codec import decode_plans
from penstock_worker.parallel.topology import Topology
from penstock_worker.parallel.wiring import Wiring, follow

# A leader that waits for this shard's part of something hears nothing until this shard is gone.
_LET_GO_LIMIT_S = 60.0


class ShardModel(Protocol):
    """The part of a model that a shard holds."""

    @property
    def num_blocks(self) -> int:
        """KV blocks that there is room for."""

    @property
    def weight_bytes(self) -> int:
        """Memory of its weights."""

    def allocate(self, num_blocks: int) -> None:
        """Makes the KV cache."""

    def run(self, plan: StepPlan) -> None:
        """Computes its part of a micro-batch."""

    def load_adapter(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """Reads its part of an adapter. May run beside a step."""

    def drop_adapter(self, adapter_id: int) -> None:
        """Forgets an adapter, if it is there."""


class ShardLoader(Protocol):
    """Loads the part of a model that a shard holds."""

    def __call__(self, shard: Shard, wiring: Wiring, *, num_sharing: int) -> ShardModel:
        """Loads it beside so many processes, itself among them, that share this host's memory.

        Raises:
            PenstockError: the checkpoint or a setting is not supported.
        """


class Follower:
    """One shard that is not the leader.

    Args:
        topology: of the replica.
        rank: of this shard.
        work: to the leader.
        load: loads its part.
    """

    def __init__(self, topology: Topology, rank: int, work: Connection, load: ShardLoader) -> None:
        self._topology = topology
        self._rank = rank
        self._work = work
        self._load = load

    def run(self) -> None:
        """Works until the leader lets go.

        Raises:
            ConnectionLostError: it has.
        """
        try:
            model = self._bring_up()
        except (PenstockError, OSError) as error:
            self._work.send_json(Kind.FAILED, {"message": str(error)})
            self._work.set_timeout(_LET_GO_LIMIT_S)
            self._work.receive()  # until the leader, which tells why, lets go
            return
        while True:
            kind, payload = self._work.receive()
            if kind is Kind.STEP:
                for plan in decode_plans(payload):
                    model.run(plan)
            elif kind is Kind.LOAD_ADAPTER:
                threading.Thread(target=self._load_adapter, args=(model, json.loads(payload)), daemon=True).start()
            elif kind is Kind.DROP_ADAPTER:
                model.drop_adapter(**json.loads(payload))

    def _bring_up(self) -> ShardModel:
        _, transport = self._work.expect(Kind.TRANSPORT)
        wiring = follow(transport["wiring"], self._topology, self._rank)
        self._work.send_json(Kind.JOINED, {})
        shard, num_sharing = self._topology.shard(self._rank), int(transport["num_sharing"])
        model = self._load(shard, wiring, num_sharing=num_sharing)
        self._work.send_json(Kind.LOADED, {"num_blocks": model.num_blocks, "weight_bytes": model.weight_bytes})
        _, allocation = self._work.expect(Kind.ALLOCATE)
        model.allocate(int(allocation["num_blocks"]))
        self._work.send_json(Kind.READY, {})
        return model

    def _load_adapter(self, model: ShardModel, values: dict[str, str | int]) -> None:
        adapter_id = int(values["adapter_id"])
        try:
            model.load_adapter(adapter_id, Path(str(values["adapter_dir"])), str(values["revision"]))
        except Exception as error:  # noqa: BLE001 - a lack of memory, say: the leader tells, and serves on without it
            self._work.send_json(Kind.FAILED, {"message": f"{error}"})
        else:
            self._work.send_json(Kind.ADAPTER_LOADED, {"adapter_id": adapter_id})
