"""The messages of `admin.v1`, from and to plain values."""

from collections import Counter
from collections.abc import Sequence

from penstock.admin.v1 import admin_pb2
from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.replica_link import ReplicaLink
from penstock_gateway.models import ModelCatalog, ServedModel
from penstock_gateway.quotas.admission import Admission
from penstock_gateway.requests import Criticality
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.storable import check_storable

_MAX_TAGS = 16
_SELECTORS = ("tags", "all", "entry_id", "model_revision")


def status_response(
    *, server_version: str, missing: Sequence[str], models: ModelCatalog, dispatcher: Dispatcher, admission: Admission
) -> admin_pb2.GetStatusResponse:
    """What a gateway does at this moment."""
    tenants = [
        admin_pb2.TenantStatus(tenant=tenant, num_requests=load.num_requests, num_prompt_tokens=load.num_tokens)
        for tenant, load in admission.by_tenant().items()
    ]
    return admin_pb2.GetStatusResponse(
        server_version=server_version,
        missing=missing,
        models=[_model_status(model, dispatcher) for model in models.served()],
        replicas=[_replica_status(link) for link in dispatcher.links],
        num_requests=admission.num_requests,
        num_prompt_tokens=admission.num_tokens,
        tenants=tenants,
    )


def invalidations(request: admin_pb2.InvalidateCacheRequest) -> list[cache_pb2.InvalidateRequest]:
    """What is asked of the cache: one request for each tag, else one.

    Raises:
        InvalidArgumentError: no tenant is named, or not exactly one of tags, all, entry_id and model_revision; or one
            of them cannot be stored anywhere.
    """
    check_tenant(request.tenant)
    given = [name for name in _SELECTORS if getattr(request, name)]
    if len(given) != 1:
        raise InvalidArgumentError("tags", " and ".join(given) or "nothing", f"exactly one of {', '.join(_SELECTORS)}")
    if len(request.tags) > _MAX_TAGS:
        raise InvalidArgumentError("tags", f"{len(request.tags)} entries", f"at most {_MAX_TAGS} entries")
    for index, tag in enumerate(request.tags):
        check_storable(f"tags[{index}]", tag)
    for name in ("entry_id", "model_revision"):
        check_storable(name, getattr(request, name))
    if request.tags:
        return [cache_pb2.InvalidateRequest(tenant=request.tenant, tag=tag) for tag in request.tags]
    if request.entry_id:
        return [cache_pb2.InvalidateRequest(tenant=request.tenant, entry_id=request.entry_id)]
    if request.model_revision:
        return [cache_pb2.InvalidateRequest(tenant=request.tenant, model_revision=request.model_revision)]
    return [cache_pb2.InvalidateRequest(tenant=request.tenant, all=True)]


def check_tenant(tenant: str) -> None:
    """Raises `InvalidArgumentError` where no tenant is named: nothing goes over all of them by default."""
    if not tenant:
        raise InvalidArgumentError("tenant", "", "the name of a tenant")
    check_storable("tenant", tenant)


def _model_status(model: ServedModel, dispatcher: Dispatcher) -> admin_pb2.ModelStatus:
    name = model.spec.name
    waiting: Counter[Criticality] = Counter()
    for queue in dispatcher.queues_of(name):
        waiting.update(queue.lengths())
    depths = [
        admin_pb2.QueueDepth(criticality=types_pb2.Criticality.ValueType(criticality), num_requests=num_requests)
        for criticality, num_requests in waiting.items()
    ]
    return admin_pb2.ModelStatus(
        name=name,
        revision=model.spec.revision,
        num_ready_replicas=dispatcher.num_ready(name),
        queue=depths,
        has_chat_template=bool(model.spec.template_fingerprint),
    )


def _replica_status(link: ReplicaLink) -> admin_pb2.ReplicaStatus:
    return admin_pb2.ReplicaStatus(
        replica_id=link.replica_id,
        model=link.model,
        is_draining=link.is_draining,
        num_sequences=link.ledger.num_sequences,
        max_sequences=link.ledger.credit.num_sequences,
        load=link.ledger.load,
    )
