"""Who holds what."""

from penstock_worker.models.shard import Shard
from penstock_worker.parallel.topology import Topology


def test_the_leader_is_the_first_of_the_last_stage() -> None:
    """Tokens are sampled where logits are: nothing of a vocabulary's size crosses to another process."""
    topology = Topology(tensor_parallel=2, pipeline_parallel=3)
    assert topology.num_shards == 6
    assert [topology.shard(rank) for rank in range(6)] == [
        Shard(0, 2, 2, 3),
        Shard(1, 2, 2, 3),
        Shard(0, 2, 1, 3),
        Shard(1, 2, 1, 3),
        Shard(0, 2, 0, 3),
        Shard(1, 2, 0, 3),
    ]
    assert list(topology.follower_ranks) == [1, 2, 3, 4, 5]
