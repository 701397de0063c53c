"""Tells in the directory which models there are, which of their revisions get requests, and which models are asleep."""

from collections.abc import Sequence

from penstock_shared.directory import ModelSpec, OtherRevision, ReplicaState, RevisionKey
from penstock_worker.fleet.catalog import FleetCatalog
from penstock_worker.fleet.directory import FleetDirectory
from penstock_worker.fleet.reconcile import RunningReplica
from penstock_worker.fleet.retirement import RetiredRevisions
from penstock_worker.fleet.revisions import published_revisions
from penstock_worker.fleet.spec import FleetSpec, WantedModel


class ModelPublisher:
    """Publishes what follows from what is wanted and what runs.

    Args:
        directory: published to.
        catalog: knows the revisions.
        retired: told of those that get no new requests.
    """

    def __init__(self, directory: FleetDirectory, catalog: FleetCatalog, retired: RetiredRevisions) -> None:
        self._directory = directory
        self._catalog = catalog
        self._retired = retired

    def publish(self, spec: FleetSpec, running: Sequence[RunningReplica]) -> None:
        """All models, where that is news."""
        models: list[ModelSpec] = []
        others: list[OtherRevision] = []
        retired: set[RevisionKey] = set()
        for wanted in self._catalog.wanted(spec):
            replicas = [replica for replica in running if replica.model == wanted.model]
            published = published_revisions(wanted, replicas)
            models.append(self._catalog.specification(wanted.model, published.current))
            rest = [self._catalog.specification(wanted.model, revision) for revision in published.others]
            others += [OtherRevision(each, published.is_shared) for each in rest]
            retired |= set() if published.is_shared else {each.key for each in rest}
        asleep = [model.name for model in spec.models if _is_asleep(model, running)]
        self._directory.put_models(models, others, asleep)
        self._retired.update(retired, self._directory.current.version)


def _is_asleep(model: WantedModel, running: Sequence[RunningReplica]) -> bool:
    """It has no replica that serves, or that one sees starting, and the first request wants one."""
    states = {replica.state for replica in running if replica.model == model.name}
    unseen = {ReplicaState.DRAINING, ReplicaState.UNSPECIFIED}
    return model.autoscale is not None and model.min_replicas == 0 and states <= unseen
