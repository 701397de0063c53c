"""Which services died between two states of a stack."""

import time

from penstock.local.state import ServiceState, StackState, Stage


class DeathWatch:
    """Told of each state in turn, it says in a line what has died since the one before."""

    def __init__(self) -> None:
        self._num_restarts: dict[str, int] = {}

    def take(self, state: StackState) -> list[str]:
        """A line for each service that has died."""
        dead = [
            service
            for service in state.services
            if service.stage is Stage.RESTARTING and service.num_restarts > self._num_restarts.get(service.name, 0)
        ]
        self._num_restarts = {service.name: service.num_restarts for service in state.services}
        return [_line(service) for service in dead]


def _line(service: ServiceState) -> str:
    now = time.time()
    delay_s = max(0.0, (service.next_try_at or now) - now)
    return f"{service.name} {service.detail}; starting it again in {delay_s:.1f} s"
