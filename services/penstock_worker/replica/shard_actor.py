"""The Ray actor of a shard that is not the leader. Importing it needs no torch: the fleet does."""

import os
import threading

from penstock_shared.logs import configure_logging, get_logger
from penstock_worker.parallel.connection import ConnectionLostError
from penstock_worker.parallel.rendezvous import Invitation
from penstock_worker.replica.engine_settings import engine_config, topology_of
from penstock_worker.replica.registration import ProcessInfo
from penstock_worker.settings import WorkerSettings


class ShardActor:
    """Holds one part of a model until its leader ends, and its process with it. Ray starts another."""

    def __init__(self, settings: WorkerSettings, rank: int) -> None:
        configure_logging("worker", settings.log_level, as_json=settings.log_json)
        self._settings = settings
        self._rank = rank
        self._process = ProcessInfo.here()
        self._has_joined = False

    async def process(self) -> ProcessInfo:
        """Answers as soon as the process runs."""
        return self._process

    async def join(self, invitation: Invitation) -> None:
        """Follows that leader from now on. A process that has followed another one ends instead."""
        if self._has_joined:
            os._exit(1)
        self._has_joined = True
        threading.Thread(target=self._follow, args=(invitation,), name="shard", daemon=True).start()

    def _follow(self, invitation: Invitation) -> None:
        from penstock_worker.parallel.process import run_shard  # noqa: PLC0415 - imports torch

        settings = self._settings
        try:
            run_shard(invitation, topology_of(settings), self._rank, settings.model_dir, engine_config(settings))
        except ConnectionLostError as error:
            get_logger("shard").warning("found no leader", rank=self._rank, reason=str(error))
        except Exception:  # noqa: BLE001 - the boundary of the thread: the process must not live on without it
            get_logger("shard").exception("the shard failed", rank=self._rank)
        os._exit(1)
