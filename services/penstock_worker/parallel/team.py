"""The leader's `Team`: its own part of the model, and the shards that follow it."""

from pathlib import Path

import torch

from penstock_worker.engine.adapter_table import AdapterLoader
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.team import Agreement
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.shard import Shard
from penstock_worker.models.tensor_group import TensorGroup
from penstock_worker.parallel.followers import Followers
from penstock_worker.parallel.runner import ShardedRunner
from penstock_worker.parallel.staged_model import staged
from penstock_worker.parallel.topology import LEADER_RANK
from penstock_worker.parallel.wiring import Wiring


class ShardTeam:
    """See `engine.team.Team`.

    Args:
        followers: the other shards, joined.
    """

    def __init__(self, followers: Followers) -> None:
        self._followers = followers
        self._wiring: Wiring | None = None

    @property
    def shard(self) -> Shard:
        """The leader's."""
        return self._followers.topology.shard(LEADER_RANK)

    def num_sharing_memory(self) -> int:
        """Of this host's."""
        return self._followers.num_sharing_memory()

    def connect(self, device: torch.device) -> TensorGroup:
        """Connects all shards with each other."""
        self._wiring = self._followers.wire(device)
        return self._wiring.group

    def staged(self, model: RunnableModel) -> RunnableModel:
        """See `parallel.staged_model`."""
        assert self._wiring is not None, "connect comes first"
        return staged(model, self._wiring)

    def agree(self, num_blocks: int, weight_bytes: int) -> Agreement:
        """The least blocks, all weights."""
        others = self._followers.wait_until_loaded()
        agreed = Agreement(min(num_blocks, others.num_blocks), weight_bytes + others.weight_bytes)
        self._followers.allocate(agreed.num_blocks)
        return agreed

    def runner(self, runner: ModelRunner) -> ShardedRunner:
        """Runs on all shards."""
        return ShardedRunner(
            runner, num_stages=self.shard.num_stages, tell=self._followers.tell, on_failure=self._followers.fail
        )

    def adapters(self, loader: AdapterLoader | None) -> "TeamAdapters":
        """On all shards."""
        assert loader is not None, "our own decoders take adapters"
        return TeamAdapters(loader, self._followers)


class TeamAdapters:
    """An `AdapterLoader` of all shards: each keeps its part of an adapter.

    Args:
        own: the leader's.
        followers: the other shards.
    """

    def __init__(self, own: AdapterLoader, followers: Followers) -> None:
        self._own = own
        self._followers = followers

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """See `AdapterLoader`. Where one shard cannot, none keeps it."""
        self._own.load(adapter_id, adapter_dir, revision)
        try:
            self._followers.load_adapter(adapter_id, adapter_dir, revision)
        except Exception:
            self._own.drop(adapter_id)
            raise

    def drop(self, adapter_id: int) -> None:
        """See `AdapterLoader`."""
        self._own.drop(adapter_id)
        self._followers.drop_adapter(adapter_id)
