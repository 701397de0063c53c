"""The driver's part: starts the fleet actor, keeps it running, ends it."""

import asyncio
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from penstock_shared.errors import FailedPreconditionError
from penstock_shared.logs import get_logger
from penstock_worker.fleet.actor import ACTOR_NAME, FleetActor
from penstock_worker.settings import WorkerSettings

_RESTART_POLL_S = 0.1
_STOP_MARGIN_S = 5.0


class FleetDriver:
    """One fleet actor, on this node and gone with this process. Ray restarts it; replicas live on meanwhile.

    Args:
        settings: of the worker.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._bind = settings.fleet_bind
        node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"name": ACTOR_NAME, "max_restarts": -1, "num_cpus": 0, "scheduling_strategy": node}
        maker: Any = ray.remote(FleetActor)
        self._actor: ActorHandle[Any] = maker.options(**options).remote(settings)

    async def run(self) -> None:
        """Keeps the fleet running until cancelled. A restarted one listens where the first one did.

        Raises:
            FailedPreconditionError: it cannot listen, or no replica can load the model; says why.
        """
        while True:
            try:
                await self._start()
                failure = await self._actor.wait_until_settled.remote()
                if failure is not None:
                    raise FailedPreconditionError(failure)
                await self._actor.wait_for_death.remote()
            except RayActorError as error:
                get_logger("fleet").warning("fleet controller died", reason=str(error).partition("\n")[0])
                await asyncio.sleep(_RESTART_POLL_S)

    async def stop(self, limit_s: float) -> None:
        """Has the replicas finish their work for `limit_s` seconds, then ends them."""
        try:
            await asyncio.wait_for(self._actor.stop.remote(limit_s), limit_s + _STOP_MARGIN_S)
        except (RayActorError, TimeoutError) as error:
            get_logger("fleet").warning("fleet did not stop in order", reason=repr(error))

    async def _start(self) -> None:
        try:
            self._bind = await self._actor.start.remote(self._bind)
        except OSError as error:
            raise FailedPreconditionError(str(getattr(error, "cause", error))) from error
