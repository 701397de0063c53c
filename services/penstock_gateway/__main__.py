"""Starts the gateway: `python -m penstock_gateway`."""

import asyncio
import gc
import itertools
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import uvloop

from penstock.admin.v1 import admin_pb2, admin_pb2_grpc
from penstock.inference.v1 import inference_pb2_grpc
from penstock_gateway.admin_messages import status_response
from penstock_gateway.admin_service import SERVICE_NAME as ADMIN_SERVICE_NAME
from penstock_gateway.admin_service import AdminService
from penstock_gateway.cache.answer_cache import AnswerCache
from penstock_gateway.cache.cache_admin import CacheAdmin
from penstock_gateway.cache.cache_client import CacheClient
from penstock_gateway.cache.error_rates import ErrorRates
from penstock_gateway.cache.planner import CachePlanner
from penstock_gateway.capabilities import Limits
from penstock_gateway.constraints.checker import ConstraintChecker
from penstock_gateway.dispatch.demand import DemandMeter
from penstock_gateway.dispatch.demand_reporter import DemandReporter
from penstock_gateway.dispatch.directory_file import DirectoryFile
from penstock_gateway.dispatch.directory_follower import DirectoryFollower
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.replica_pool import ReplicaPool
from penstock_gateway.dispatch.single_flight import SingleFlight
from penstock_gateway.doors import make_doors
from penstock_gateway.embedder import Embedder
from penstock_gateway.http import HttpServer
from penstock_gateway.models import ModelCatalog
from penstock_gateway.pipeline import Pipeline
from penstock_gateway.quotas.admission import Admission, Bounds
from penstock_gateway.quotas.rate_limiter import RateLimiter
from penstock_gateway.readiness import Readiness
from penstock_gateway.running_request import Identifiers
from penstock_gateway.service import SERVICE_NAME, InferenceService
from penstock_gateway.settings import GatewaySettings
from penstock_gateway.telemetry.metrics import GatewayMetrics
from penstock_gateway.text.tokenizer_client import TokenizerClient
from penstock_gateway.text.vocabulary import VocabularyStore
from penstock_gateway.version import server_version
from penstock_shared.channels import open_channel
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import DirectoryWatcher, ModelSpec
from penstock_shared.errors import PenstockError
from penstock_shared.heap import return_large_blocks
from penstock_shared.inner_tls import load_inner_tls
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.server import GrpcServer, serve_until_signalled
from penstock_shared.settings import fail_start, load_settings
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer, make_tracer

_SERVICE = "penstock-gateway"
_TICK_S = 0.25
# Seeds go to clients, and some of them read numbers as doubles.
_SEED_BITS = 53
# Names, no secrets: the system's own randomness would cost a system call for each.
_REQUEST_ID_BITS = 128


def main() -> None:
    """Serves until signalled; ends with code 1 and one line when it cannot start."""
    settings = load_settings(GatewaySettings)
    configure_logging(_SERVICE, settings.log_level, as_json=settings.log_json)
    return_large_blocks()
    try:
        uvloop.run(_serve(settings))
    except (PenstockError, OSError) as error:
        fail_start(str(error))


async def _serve(settings: GatewaySettings) -> None:
    tracer = make_tracer(_SERVICE, settings)
    try:
        gateway = Gateway(settings, tracer)
        async with gateway.running():
            _freeze_what_stays()
            await serve_until_signalled(
                gateway.server, drain_grace_s=settings.drain_grace_s, on_drain=partial(gateway.admin.set_serving, False)
            )
    finally:
        tracer.shutdown()


def _freeze_what_stays() -> None:
    """What there is now stays: no search for cycles needs to walk it.

    They are searched for as often as by default all the same. A refused request stands in the traceback of its error, a
    cycle, and with rarer searches the largest messages piled up.
    """
    gc.collect()
    gc.freeze()


class Gateway:
    """All the parts, wired.

    Attributes:
        server: the gRPC server.
        address: host:port of it, once it runs.
        http_address: host:port of the HTTP side, once it runs.
        admin: the gRPC server for operators.
        admin_address: host:port of that, once it runs.
        missing: what keeps it from serving.
        is_serving: what its health service says.

    Raises:
        FailedPreconditionError: the fleet credential, key, JWKS, tenants or a certificate file cannot be read, or other
            machines would be let in without a credential.
    """

    def __init__(self, settings: GatewaySettings, tracer: Tracer) -> None:
        credential = FleetCredential.load(settings.fleet_credential_file) if settings.fleet_credential_file else None
        self._settings = settings
        self._gateway_id = f"gateway-{uuid.uuid4().hex[:8]}"
        # Without a credential nobody else derives the same salts, and this gateway shares with itself only.
        self._cache_salt = partial((credential or FleetCredential.of_nobody()).derive, "cache salt")
        self._open_channel = partial(
            open_channel,
            credential=credential,
            tracer=tracer,
            tls=load_inner_tls(settings),
            max_message_bytes=settings.max_message_bytes,
        )
        self._doors = make_doors(settings)
        self.server = GrpcServer(
            bind=settings.bind,
            service_names=[SERVICE_NAME],
            tracer=tracer,
            authenticate=self._doors.authenticate,
            observe=self._doors.observe,
            limits=settings.transport_limits,
            reflects=settings.reflection,
            certificates=ReloadingCertificates(settings.tls_files) if settings.tls_files else None,
        )
        self.admin = GrpcServer(
            bind=settings.admin_bind,
            service_names=[ADMIN_SERVICE_NAME],
            tracer=tracer,
            # Not even on loopback: whoever may log in to a machine is not its operator.
            credential=credential or FleetCredential.of_nobody(),
            observe=self._doors.observe,
        )
        self.address = self.http_address = self.admin_address = ""
        self.is_serving = False
        self.missing: Callable[[], list[str]] = lambda: ["not started"]
        self.dispatcher = Dispatcher(
            clock=time.monotonic,
            call_soon=lambda callback: asyncio.get_running_loop().call_soon(callback),
            longest_wait_s=settings.longest_wait_without_replica_s,
        )
        self.flights = SingleFlight(self.dispatcher)
        self.admission = Admission(
            total=Bounds(settings.max_requests, settings.max_prompt_tokens),
            per_tenant=self._doors.tenants.bounds_of,
            clock=time.monotonic,
        )
        self.rates = RateLimiter(self._doors.tenants.rates_of, time.monotonic)
        self._metrics = GatewayMetrics()
        self._metrics.watch(self.admission, self.dispatcher)
        self.models = ModelCatalog(time.time, is_prepared=self._is_prepared)
        self._limits = Limits(
            settings.max_input_bytes, settings.max_output_tokens, max_constraint_bytes=settings.max_constraint_bytes
        )
        self._planner = self._make_planner(settings)
        self._tracer = tracer

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Gateway"]:
        """Serves while the block runs.

        Raises:
            OSError: an address cannot be bound.
        """
        async with AsyncExitStack() as stack:
            if self._doors.audit is not None:
                self._doors.audit.start()
                stack.push_async_callback(asyncio.to_thread, self._doors.audit.close)
            tokenizer_channel = await stack.enter_async_context(self._open_channel(self._settings.tokenizer_address))
            fleet_channel = await stack.enter_async_context(self._open_channel(self._settings.fleet_address))
            tokenizer = TokenizerClient(tokenizer_channel)
            cache_admin = await self._connect_cache(stack)
            self._vocabularies = VocabularyStore(tokenizer.fetch_vocabulary)
            stack.push_async_callback(self._vocabularies.close)
            self._constraints = ConstraintChecker(
                num_processes=self._settings.constraint_processes, cpu_s=self._settings.constraint_cpu_s
            )
            stack.push_async_callback(self._constraints.close)
            pool = ReplicaPool(
                dispatcher=self.dispatcher,
                open_channel=self._open_channel,
                gateway_id=self._gateway_id,
            )
            stack.push_async_callback(pool.close)
            follower = DirectoryFollower(
                DirectoryFile(self._settings.state_dir / "directory.json"),
                models=self.models,
                vocabularies=self._vocabularies,
                dispatcher=self.dispatcher,
                pool=pool,
            )
            stack.callback(follower.close)
            readiness = self._readiness(tokenizer)
            self.missing = readiness.missing
            await self._listen_to_operators(stack, cache_admin)
            await self._listen(stack, tokenizer, readiness)
            follower.restore()
            watcher = DirectoryWatcher(fleet_channel, on_change=follower.take)
            demand = DemandReporter(
                fleet_channel,
                gateway_id=self._gateway_id,
                models=self.models,
                meter=DemandMeter(self.models, self.dispatcher, time.monotonic),
            )
            async with asyncio.TaskGroup() as background:
                runs = (watcher.run, readiness.run, demand.run, self._tick)
                tasks = [background.create_task(run()) for run in runs]
                # After the caller's next step: by then it handles signals, and whoever waits for the line may send one.
                asyncio.get_running_loop().call_soon(self._say_listening)
                yield self
                for task in tasks:
                    task.cancel()

    async def _connect_cache(self, stack: AsyncExitStack) -> CacheAdmin | None:
        """The cache as requests use it, and, returned, as operators do."""
        client = admin = None
        if self._settings.cache_address is not None:
            channel = await stack.enter_async_context(self._open_channel(self._settings.cache_address))
            client = CacheClient(channel, time.monotonic, lookup_budget_s=self._settings.cache_budget_s)
            admin = CacheAdmin(channel)
        self._cache = AnswerCache(client, self._metrics.observe_exploration)
        stack.push_async_callback(self._cache.close)
        return admin

    async def _listen_to_operators(self, stack: AsyncExitStack, cache: CacheAdmin | None) -> None:
        service = AdminService(
            status=self._status, cache=cache, planner=self._planner, models=self.models, limits=self._limits
        )
        admin_pb2_grpc.add_AdminServiceServicer_to_server(service, self.admin.server)
        self.admin_address = _with_port(self._settings.admin_bind, await self.admin.start())
        stack.push_async_callback(self.admin.drain, 0)

    async def _listen(self, stack: AsyncExitStack, tokenizer: TokenizerClient, readiness: Readiness) -> None:
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self._service(tokenizer), self.server.server)
        http = HttpServer(self._settings.http_bind, metrics=self._metrics, missing=readiness.missing)
        stack.push_async_callback(http.close)
        self.http_address = _with_port(self._settings.http_bind, await http.start())
        self.address = _with_port(self._settings.bind, await self.server.start())
        stack.push_async_callback(self.server.drain, 0)

    def _service(self, tokenizer: TokenizerClient) -> InferenceService:
        limits = self._limits
        identifiers = _identifiers()
        embedder = Embedder(
            models=self.models,
            limits=limits,
            admission=self.admission,
            tenants=self._doors.tenants,
            rates=self.rates,
            tokenizer=tokenizer,
            flights=self.flights,
            tracer=self._tracer,
            metrics=self._metrics,
            identifiers=identifiers,
            cache_salt=self._cache_salt,
        )
        pipeline = Pipeline(
            models=self.models,
            limits=limits,
            admission=self.admission,
            tenants=self._doors.tenants,
            rates=self.rates,
            tokenizer=tokenizer,
            vocabularies=self._vocabularies,
            constraints=self._constraints,
            flights=self.flights,
            planner=self._planner,
            cache=self._cache,
            tracer=self._tracer,
            metrics=self._metrics,
            identifiers=identifiers,
            client_buffer_bytes=self._settings.client_buffer_bytes,
            cache_salt=self._cache_salt,
        )
        return InferenceService(
            pipeline,
            embedder,
            models=self.models,
            dispatcher=self.dispatcher,
            limits=limits,
            max_message_bytes=self._settings.max_message_bytes,
            max_request_s=self._settings.max_request_s,
            server_version=server_version(),
        )

    def _make_planner(self, settings: GatewaySettings) -> CachePlanner:
        rates = ErrorRates(
            self._doors.tenants.cache_max_error_rate_of,
            settings.cache_max_error_rate_by_model,
            settings.cache_max_error_rate,
        )
        return CachePlanner(
            rates, has_service=settings.cache_address is not None, max_output_tokens=settings.max_output_tokens
        )

    def _status(self) -> admin_pb2.GetStatusResponse:
        return status_response(
            server_version=server_version(),
            missing=self.missing(),
            models=self.models,
            dispatcher=self.dispatcher,
            admission=self.admission,
        )

    def _readiness(self, tokenizer: TokenizerClient) -> Readiness:
        return Readiness(
            models=self.models,
            tokenizer=tokenizer,
            vocabularies=self._vocabularies,
            dispatcher=self.dispatcher,
            on_change=self._set_serving,
        )

    def _say_listening(self) -> None:
        get_logger("main").info("listening", address=self.address, http=self.http_address, admin=self.admin_address)

    async def _set_serving(self, is_serving: bool) -> None:
        for server in (self.server, self.admin):
            await server.set_serving(is_serving)
        self.is_serving = is_serving

    def _is_prepared(self, spec: ModelSpec) -> bool:
        return self._vocabularies.has(spec)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.dispatcher.tick()


def _identifiers() -> Identifiers:
    sequence_ids = itertools.count(1)
    return Identifiers(
        new_request_id=lambda: f"req-{random.getrandbits(_REQUEST_ID_BITS):032x}",
        new_sequence_id=lambda: next(sequence_ids),
        draw_seed=lambda: random.getrandbits(_SEED_BITS),
    )


def _with_port(bind: str, port: int) -> str:
    return f"{bind.rpartition(':')[0]}:{port}"


if __name__ == "__main__":
    main()
