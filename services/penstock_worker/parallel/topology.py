"""Which process of a replica holds which part of the model."""

from dataclasses import dataclass

from penstock_worker.models.shard import Shard

LEADER_RANK = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """The processes of one replica, by rank. Rank 0, the leader, is of the last stage: it samples where logits are.

    Attributes:
        tensor_parallel: processes that share each layer.
        pipeline_parallel: stages, each with its own layers.
    """

    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    @property
    def num_shards(self) -> int:
        """Processes, the leader among them."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def follower_ranks(self) -> range:
        """All but the leader's."""
        return range(LEADER_RANK + 1, self.num_shards)

    def shard(self, rank: int) -> Shard:
        """The part that the process of `rank` holds."""
        stages_behind, tp_rank = divmod(rank, self.tensor_parallel)
        stage = self.pipeline_parallel - 1 - stages_behind
        return Shard(tp_rank, self.tensor_parallel, stage, self.pipeline_parallel)
