"""The directory as values, across versions of the contract."""

from penstock.fleet.v1 import fleet_pb2
from penstock_shared.directory import (
    Directory,
    ModelSpec,
    ReplicaInfo,
    ReplicaState,
    SamplingDefaults,
    directory_from_proto,
    directory_to_proto,
)

_MODEL = ModelSpec(
    name="pocket",
    revision="r1",
    tokenizer_fingerprint="t1",
    template_fingerprint="c1",
    context_length=1024,
    eos_token_ids=(1, 2),
    sampling_defaults=SamplingDefaults(temperature=0.5, top_k=4, max_tokens=7),
    vocab_size=2048,
    tokenizer_path="/models/pocket",
)
_REPLICA = ReplicaInfo(
    replica_id="pocket-0",
    model="pocket",
    state=ReplicaState.READY,
    address="127.0.0.1:1",
    incarnation=3,
    revision="r1",
    numerics_fingerprint="n1",
    detail="d",
    pid=4,
    num_restarts=5,
)


def test_a_directory_survives_the_wire_with_every_field() -> None:
    """A field that is lost here is a gateway that routes wrong."""
    directory = Directory(version=9, models=(_MODEL,), replicas=(_REPLICA,))
    assert directory_from_proto(directory_to_proto(directory)) == directory


def test_a_state_of_a_newer_fleet_is_no_state_to_give_work_to() -> None:
    """An old gateway must outlive a new fleet."""
    message = fleet_pb2.Directory(replicas=[fleet_pb2.Replica(replica_id="x")])
    message.replicas[0].state = 99
    (replica,) = directory_from_proto(message).replicas
    assert replica.state is ReplicaState.UNSPECIFIED
