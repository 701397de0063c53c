"""The real gateway among a scripted fleet, tokenizer and replicas."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fakes.byte_tokenizer import EOS, FINGERPRINT, VOCAB_SIZE, ByteTokenizer
from fakes.scripted_fleet import ScriptedFleet
from fakes.scripted_worker import Reply, ScriptedWorker
from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_gateway.__main__ import Gateway
from penstock_gateway.settings import GatewaySettings
from penstock_shared.directory import AdapterSpec, Directory, ModelSpec, ReplicaInfo, SamplingDefaults
from penstock_shared.settings import ServiceSettings
from penstock_shared.tracing import Tracer, make_tracer

MODEL = "pocket"
CONTEXT_LENGTH = 1024
# The flow-control window of a client that does not read stays at its first 64 KiB.
_CLIENT_OPTIONS = [("grpc.http2.bdp_probe", 0)]
SPEC = ModelSpec(
    name=MODEL,
    revision="revision-1",
    tokenizer_fingerprint=FINGERPRINT,
    template_fingerprint="template",
    context_length=CONTEXT_LENGTH,
    eos_token_ids=(EOS,),
    sampling_defaults=SamplingDefaults(temperature=0.7, top_p=0.9),
    vocab_size=VOCAB_SIZE,
    tokenizer_path="/nowhere",
    adapters=(AdapterSpec("law", "law-1"), AdapterSpec("poetry", "poetry-1")),
)


def answer_hello(_group: worker_pb2.SequenceGroup, _choice: worker_pb2.SequenceChoice) -> Sequence[int]:
    """What replicas say unless told otherwise."""
    return b"Hello, world"


StartDeployment = Callable[..., Awaitable["Deployment"]]


class Deployment:
    """A gateway and what it talks to.

    Attributes:
        fleet, tokenizer: the scripted services.
        workers: the scripted replicas.
        gateway: the real thing, while it runs.
        stub: a client of it.
    """

    def __init__(
        self, fleet: ScriptedFleet, tokenizer: ByteTokenizer, *, state_dir: Path, settings: dict[str, Any]
    ) -> None:
        self.fleet = fleet
        self.tokenizer = tokenizer
        self.workers: list[ScriptedWorker] = []
        self.settings = GatewaySettings(
            bind="127.0.0.1:0",
            http_bind="127.0.0.1:0",
            admin_bind="127.0.0.1:0",
            tokenizer_address=tokenizer.address,
            fleet_address=fleet.address,
            state_dir=state_dir,
            **settings,
        )
        self.gateway: Gateway
        self.stub: inference_pb2_grpc.InferenceServiceStub

    async def add_worker(self, reply: Reply | None = answer_hello, **options: Any) -> ScriptedWorker:
        """One more replica, which the fleet announces."""
        options.setdefault("replica_id", f"replica-{len(self.workers)}")
        worker = ScriptedWorker(model=MODEL, tokenizer_fingerprint=FINGERPRINT, reply=reply, **options)
        await worker.start()
        self.workers.append(worker)
        await self.publish([each.info for each in self.workers])
        return worker

    async def publish(self, replicas: Sequence[ReplicaInfo]) -> None:
        """The fleet's directory changes."""
        await self.fleet.publish(Directory(self.fleet.directory.version + 1, (SPEC,), tuple(replicas)))

    async def stop_workers(self) -> None:
        """All replicas die."""
        for worker in self.workers:
            await worker.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Deployment"]:
        """The gateway serves."""
        tracer = self._tracer()
        self.gateway = Gateway(self.settings, tracer)
        async with (
            self.gateway.running(),
            grpc.aio.insecure_channel(self.gateway.address, options=_CLIENT_OPTIONS) as channel,
        ):
            self.stub = inference_pb2_grpc.InferenceServiceStub(channel)
            yield self
        await asyncio.to_thread(tracer.shutdown)

    @property
    def num_queued(self) -> int:
        """Requests in the gateway's queue."""
        return len(self.gateway.dispatcher.queues.get(SPEC.key, ()))

    async def until_ready(self, num_replicas: int = 1) -> None:
        """Waits for that many open sessions, and for the vocabulary."""
        await self.until(
            lambda: self.gateway.dispatcher.num_ready(MODEL) == num_replicas and not self.gateway.missing()
        )

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Waits for something inside the gateway, which has no events for tests."""
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - nothing to wait on
                await asyncio.sleep(0.005)

    async def until_idle(self) -> None:
        """Waits until nothing is left of any request, here and at the replicas."""
        await self.until(lambda: self.gateway.admission.num_requests == 0)
        await self.until(lambda: all(link.ledger.num_sequences == 0 for link in self.gateway.dispatcher.links))
        assert all(len(queue) == 0 for queue in self.gateway.dispatcher.queues.values())
        assert not self.gateway.flights.generations
        self.gateway.dispatcher.check_invariants()
        self.gateway.admission.check_invariants()

    def generate(
        self, text: str = "Hi", *, timeout_s: float = 20, metadata: Sequence[tuple[str, str]] = (), **fields: Any
    ) -> Any:
        """Starts a streaming call."""
        asked = inference_pb2.GenerateRequest(request=request(text, **fields))
        return self.stub.Generate(asked, timeout=timeout_s, metadata=metadata)

    async def complete(
        self, text: str = "Hi", *, timeout_s: float = 20, metadata: Sequence[tuple[str, str]] = (), **fields: Any
    ) -> Any:
        """Makes a unary call."""
        asked = inference_pb2.CompleteRequest(request=request(text, **fields))
        return await self.stub.Complete(asked, timeout=timeout_s, metadata=metadata)

    def _tracer(self) -> Tracer:
        settings: ServiceSettings = self.settings
        return make_tracer("penstock-gateway", settings)


def request(text: str, **fields: Any) -> inference_pb2.GenerationRequest:
    """A request; `sampling` may be a dict."""
    sampling = fields.pop("sampling", {})
    given = fields.pop("input", None) or inference_pb2.Input(text=text)
    fields.setdefault("model", MODEL)
    return inference_pb2.GenerationRequest(input=given, sampling=types_pb2.SamplingParams(**sampling), **fields)


async def collect(call: Any) -> list[inference_pb2.GenerateResponse]:
    """All events of a stream."""
    return [event async for event in call]


async def collect_until_error(call: Any) -> tuple[list[inference_pb2.GenerateResponse], grpc.aio.AioRpcError]:
    """The events of a stream that fails, and its failure."""
    events: list[inference_pb2.GenerateResponse] = []
    try:
        async for event in call:
            events.append(event)  # noqa: PERF401 - what came before the failure counts
    except grpc.aio.AioRpcError as error:
        return events, error
    raise AssertionError("the stream did not fail")


def text_of(events: Sequence[inference_pb2.GenerateResponse], choice: int = 0) -> str:
    """The text of one choice."""
    return "".join(event.delta.text for event in events if event.HasField("delta") and event.delta.choice == choice)


def kinds_of(events: Sequence[inference_pb2.GenerateResponse]) -> list[str]:
    """The kinds of the events, repeated ones once."""
    kinds = [str(event.WhichOneof("event")) for event in events]
    return [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The rich details of a failed call, by their type's name."""
    status = rpc_status.from_call(error)
    found = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        message = getattr(error_details_pb2, name)()
        packed.Unpack(message)
        found[name] = message
    return found
