"""Changes how many replicas are wanted of the models that are scaled by their load."""

from collections.abc import Callable

from penstock_shared.logs import get_logger
from penstock_worker.fleet.autoscaler import Autoscaler
from penstock_worker.fleet.demand import DemandBoard
from penstock_worker.fleet.spec import FleetSpec, WantedModel, changed_model


class Autoscaling:
    """One autoscaler a model.

    Args:
        board: what gateways have to do.
        clock: monotonic seconds.
    """

    def __init__(self, board: DemandBoard, clock: Callable[[], float]) -> None:
        self._board = board
        self._clock = clock
        self._scalers: dict[str, Autoscaler] = {}
        self._log = get_logger("fleet")

    def follow(self, spec: FleetSpec, num_ready: Callable[[str], int]) -> FleetSpec:
        """What is wanted from now on.

        Args:
            spec: what was wanted.
            num_ready: replicas of a model that serve.
        """
        scaled = [model for model in spec.models if model.autoscale is not None]
        self._scalers = {model.name: self._scalers.get(model.name) or Autoscaler(self._clock) for model in scaled}
        for model in scaled:
            count = self._scalers[model.name].decide(model, self._board.total(model.name), num_ready(model.name))
            if count != model.replicas:
                self._log.info("scaled by load", model=model.name, before=model.replicas, after=count)
                spec = spec.replacing(changed_model(model, replicas=count))
        return spec


def keeping_count(model: WantedModel, before: WantedModel | None) -> WantedModel:
    """A model as an operator wants it anew; where the load chooses the number of its replicas, with that it has."""
    if before is None or model.autoscale is None:
        return model
    return changed_model(model, replicas=min(max(before.replicas, model.min_replicas), model.max_replicas))
