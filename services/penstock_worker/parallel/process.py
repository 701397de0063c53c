"""The life of a shard's process, whoever starts it."""

import os
from functools import partial
from pathlib import Path

from penstock_shared.logs import get_logger
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.parallel.connection import ConnectionLostError
from penstock_worker.parallel.follower import Follower
from penstock_worker.parallel.lifeline import Lifeline
from penstock_worker.parallel.model_part import ModelPart
from penstock_worker.parallel.rendezvous import Invitation, join
from penstock_worker.parallel.topology import Topology


def run_shard(invitation: Invitation, topology: Topology, rank: int, model_dir: Path, config: EngineConfig) -> None:
    """Joins a leader and works for it. The process ends with the leader, or at the first error.

    Raises:
        ConnectionLostError: there is no such leader.
    """
    log = get_logger("shard").bind(rank=rank)
    member = join(invitation, rank)
    Lifeline(member.lifeline, partial(_end, rank)).start()
    load = partial(ModelPart, model_dir, config)
    try:
        Follower(topology, rank, member.work, load).run()
    except ConnectionLostError as error:
        log.info("the leader let go", reason=str(error))
    except Exception:
        log.exception("a step failed")
    os._exit(1)


def _end(rank: int, why: str) -> None:
    get_logger("shard").warning("ends with its leader", rank=rank, reason=why)
    os._exit(1)
