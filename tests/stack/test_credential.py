"""Nobody gets into an inner service, or to the gateway's port for operators, without the fleet credential."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from stack.running import RunningStack

from penstock.admin.v1 import admin_pb2
from penstock.cache.v1 import cache_pb2
from penstock.fleet.v1 import fleet_pb2
from penstock.tokenizer.v1 import tokenizer_pb2
from penstock.worker.v1 import worker_pb2

SHOWN = {
    "nothing": (),
    "another secret": (("penstock-fleet-credential", "x" * 43),),
    "an empty one": (("penstock-fleet-credential", ""),),
    "an API key": (("authorization", "Bearer pst_a_b"), ("x-api-key", "pst_a_b")),
}


def inner_services(stack: RunningStack) -> Iterator[tuple[ServiceDescriptor, str]]:
    """Each service and where it listens, every replica by itself."""
    addresses = stack.status["addresses"]
    yield cache_pb2.DESCRIPTOR.services_by_name["CacheService"], addresses["cache"]
    yield tokenizer_pb2.DESCRIPTOR.services_by_name["TokenizerService"], addresses["tokenizer"]
    yield fleet_pb2.DESCRIPTOR.services_by_name["FleetService"], addresses["fleet"]
    yield admin_pb2.DESCRIPTOR.services_by_name["AdminService"], addresses["admin"]
    for replica in stack.replicas():
        yield worker_pb2.DESCRIPTOR.services_by_name["WorkerService"], replica.address


def code_of(channel: grpc.Channel, method: MethodDescriptor, metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
    """How a call with an empty request ends."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    call = channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=20)
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        pass
    return call.code()  # type: ignore[no-any-return]


@pytest.mark.parametrize("shown", SHOWN)
def test_every_rpc_of_every_inner_service_demands_it(stack: RunningStack, shown: str) -> None:
    """One that did not would be a way around the gateway: other tenants' answers, prompts, and free tokens."""
    codes = {}
    for service, address in inner_services(stack):
        with grpc.insecure_channel(address) as channel:
            for method in service.methods:
                codes[f"{address} {method.full_name}"] = code_of(channel, method, SHOWN[shown])
    assert len(codes) > 15
    assert set(codes.values()) == {grpc.StatusCode.UNAUTHENTICATED}, codes


def test_reflection_of_inner_services_demands_it_too(stack: RunningStack) -> None:
    """Strangers need not know what there is."""
    for _, address in inner_services(stack):
        with grpc.insecure_channel(address) as channel:
            call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")(iter([b""]))
            assert call.code() is grpc.StatusCode.UNAUTHENTICATED
