"""The fleet's directory as the other services see it: plain values, and a watcher that never gives up."""

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_shared.logs import get_logger

# Name and revision of a model.
RevisionKey = tuple[str, str]

_FIRST_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 2.0


class ReplicaState(enum.IntEnum):
    """Where a replica is in its life; the numbers of `fleet.v1.ReplicaState`."""

    UNSPECIFIED = 0
    PLACING = 1
    LOADING = 2
    READY = 3
    DRAINING = 4
    RESTARTING = 5
    FAILED = 6

    @classmethod
    def _missing_(cls, _value: object) -> "ReplicaState":
        """A state of a newer fleet: nothing to give work to."""
        return cls.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """A model's own sampling values; `types.v1.SamplingParams` has units and ranges."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """What an adapter of a model is; the fields of `types.v1.AdapterSpec`."""

    name: str
    revision: str

    @property
    def key(self) -> str:
        """Tells its outputs from those of every other adapter; see `prefix_chain.root_hash`."""
        return f"{self.name}@{self.revision}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a served model is; the fields of `types.v1.ModelSpec`."""

    name: str
    revision: str
    tokenizer_fingerprint: str
    template_fingerprint: str
    context_length: int
    eos_token_ids: tuple[int, ...]
    sampling_defaults: SamplingDefaults
    vocab_size: int
    tokenizer_path: str
    adapters: tuple[AdapterSpec, ...] = ()

    @property
    def key(self) -> RevisionKey:
        """Tells it from other revisions and models."""
        return self.name, self.revision

    def adapter(self, name: str | None) -> AdapterSpec | None:
        """The adapter of that name; None where there is none."""
        return next((each for each in self.adapters if each.name == name), None)


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """One replica; the fields of `fleet.v1.Replica`."""

    replica_id: str
    model: str
    state: ReplicaState
    address: str
    incarnation: int
    revision: str
    numerics_fingerprint: str
    detail: str = ""
    pid: int = 0
    num_restarts: int = 0


@dataclass(frozen=True, slots=True)
class OtherRevision:
    """A revision of a model beside the one of `Directory.models`; see `fleet.v1.OtherRevision`."""

    spec: ModelSpec
    takes_new_requests: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """All models and replicas at one version; see `fleet.v1.Directory`."""

    version: int = 0
    models: tuple[ModelSpec, ...] = ()
    replicas: tuple[ReplicaInfo, ...] = ()
    other_revisions: tuple[OtherRevision, ...] = ()
    asleep: tuple[str, ...] = ()

    @property
    def all_revisions(self) -> tuple[ModelSpec, ...]:
        """The specifications of all revisions of all models."""
        return self.models + tuple(other.spec for other in self.other_revisions)


def directory_from_proto(message: fleet_pb2.Directory) -> Directory:
    """The values of a `Directory` message."""
    return Directory(
        version=message.version,
        models=tuple(_model_from_proto(model) for model in message.models),
        replicas=tuple(_replica_from_proto(replica) for replica in message.replicas),
        other_revisions=tuple(
            OtherRevision(_model_from_proto(other.spec), other.takes_new_requests) for other in message.other_revisions
        ),
        asleep=tuple(message.asleep),
    )


def directory_to_proto(directory: Directory) -> fleet_pb2.Directory:
    """The reverse of `directory_from_proto`."""
    return fleet_pb2.Directory(
        version=directory.version,
        models=[model_to_proto(model) for model in directory.models],
        replicas=[_replica_to_proto(replica) for replica in directory.replicas],
        other_revisions=[
            fleet_pb2.OtherRevision(spec=model_to_proto(other.spec), takes_new_requests=other.takes_new_requests)
            for other in directory.other_revisions
        ],
        asleep=directory.asleep,
    )


def model_to_proto(spec: ModelSpec) -> types_pb2.ModelSpec:
    """One model's specification as a message."""
    defaults = spec.sampling_defaults
    return types_pb2.ModelSpec(
        name=spec.name,
        revision=spec.revision,
        tokenizer_fingerprint=spec.tokenizer_fingerprint,
        template_fingerprint=spec.template_fingerprint,
        context_length=spec.context_length,
        eos_token_ids=spec.eos_token_ids,
        sampling_defaults=types_pb2.SamplingParams(
            temperature=defaults.temperature,
            top_p=defaults.top_p,
            top_k=defaults.top_k,
            min_p=defaults.min_p,
            repetition_penalty=defaults.repetition_penalty,
            presence_penalty=defaults.presence_penalty,
            frequency_penalty=defaults.frequency_penalty,
            max_tokens=defaults.max_tokens,
        ),
        vocab_size=spec.vocab_size,
        tokenizer_path=spec.tokenizer_path,
        adapters=[types_pb2.AdapterSpec(name=each.name, revision=each.revision) for each in spec.adapters],
    )


class DirectoryWatcher:
    """Follows `FleetService.WatchReplicas`; reconnects with back-off for as long as it runs.

    Args:
        channel: to the fleet, with the fleet credential.
        on_change: called with each new directory. One of a lower version than the last is dropped.
    """

    def __init__(self, channel: grpc.aio.Channel, *, on_change: Callable[[Directory], None]) -> None:
        self._stub = fleet_pb2_grpc.FleetServiceStub(channel)
        self._on_change = on_change
        self._log = get_logger("directory")
        self.version = 0
        self.is_connected = False

    async def run(self) -> None:
        """Watches until cancelled."""
        back_off_s = _FIRST_BACK_OFF_S
        while True:
            try:
                async for response in self._stub.WatchReplicas(fleet_pb2.WatchReplicasRequest()):
                    self.is_connected = True
                    back_off_s = _FIRST_BACK_OFF_S
                    self._take(directory_from_proto(response.directory))
            except grpc.aio.AioRpcError as error:
                self._log.debug("fleet watch ended", code=error.code().name)
            self.is_connected = False
            await asyncio.sleep(back_off_s)
            back_off_s = min(_LONGEST_BACK_OFF_S, back_off_s * 2)

    def _take(self, directory: Directory) -> None:
        if directory.version >= self.version:
            self.version = directory.version
            self._on_change(directory)


def _model_from_proto(message: types_pb2.ModelSpec) -> ModelSpec:
    defaults = message.sampling_defaults
    return ModelSpec(
        name=message.name,
        revision=message.revision,
        tokenizer_fingerprint=message.tokenizer_fingerprint,
        template_fingerprint=message.template_fingerprint,
        context_length=message.context_length,
        eos_token_ids=tuple(message.eos_token_ids),
        sampling_defaults=SamplingDefaults(
            temperature=defaults.temperature,
            top_p=defaults.top_p,
            top_k=defaults.top_k,
            min_p=defaults.min_p,
            repetition_penalty=defaults.repetition_penalty,
            presence_penalty=defaults.presence_penalty,
            frequency_penalty=defaults.frequency_penalty,
            max_tokens=defaults.max_tokens if defaults.HasField("max_tokens") else None,
        ),
        vocab_size=message.vocab_size,
        tokenizer_path=message.tokenizer_path,
        adapters=tuple(AdapterSpec(each.name, each.revision) for each in message.adapters),
    )


def _replica_from_proto(message: fleet_pb2.Replica) -> ReplicaInfo:
    return ReplicaInfo(
        replica_id=message.replica_id,
        model=message.model,
        state=ReplicaState(message.state),
        address=message.address,
        incarnation=message.incarnation,
        revision=message.revision,
        numerics_fingerprint=message.numerics_fingerprint,
        detail=message.detail,
        pid=message.pid,
        num_restarts=message.num_restarts,
    )


def _replica_to_proto(replica: ReplicaInfo) -> fleet_pb2.Replica:
    return fleet_pb2.Replica(
        replica_id=replica.replica_id,
        model=replica.model,
        state=fleet_pb2.ReplicaState.ValueType(replica.state.value),
        address=replica.address,
        incarnation=replica.incarnation,
        revision=replica.revision,
        numerics_fingerprint=replica.numerics_fingerprint,
        detail=replica.detail,
        pid=replica.pid,
        num_restarts=replica.num_restarts,
    )
