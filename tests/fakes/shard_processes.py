"""A leader's team of real processes, without Ray."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.parallel.followers import Followers
from penstock_worker.parallel.process import run_shard
from penstock_worker.parallel.rendezvous import Rendezvous
from penstock_worker.parallel.team import ShardTeam
from penstock_worker.parallel.topology import Topology

_JOIN_LIMIT_S = 120.0
_END_LIMIT_S = 30.0


@contextmanager
def shard_team(
    topology: Topology,
    model_dir: Path,
    config: EngineConfig,
    on_loss: Callable[[str], None],
) -> Iterator[tuple[ShardTeam, list[multiprocessing.context.SpawnProcess]]]:
    """The team, and the processes of its shards by rank from 1. All are gone at the end."""
    rendezvous = Rendezvous("127.0.0.1")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=run_shard, args=(rendezvous.invitation, topology, rank, model_dir, config))
        for rank in topology.follower_ranks
    ]
    for process in processes:
        process.start()
    followers = None
    try:
        members = rendezvous.admit(topology.follower_ranks, limit_s=_JOIN_LIMIT_S)
        followers = Followers(topology, members, "127.0.0.1", on_loss)
        yield ShardTeam(followers), processes
    finally:
        if followers is not None:
            followers.close()
        for process in processes:
            process.join(_END_LIMIT_S)
            process.kill()
