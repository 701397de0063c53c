"""Starts the cache service: `python -m penstock_cache`."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from importlib.util import find_spec
from pathlib import Path

import uvloop
from threadpoolctl import threadpool_limits

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock_cache import wiring
from penstock_cache.database import Database
from penstock_cache.database_store import DatabaseStore
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.semantic.reembedding import Reembedding
from penstock_cache.semantic.vector_index import Graphs
from penstock_cache.service import CacheServicer
from penstock_cache.settings import CacheSettings
from penstock_cache.sqlite_database import SqliteDatabase
from penstock_cache.store import Store
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import FailedPreconditionError, PenstockError
from penstock_shared.inner_tls import inner_certificates, load_inner_tls
from penstock_shared.logs import configure_logging, get_logger
from penstock_shared.server import GrpcServer, serve_until_signalled
from penstock_shared.settings import fail_start, load_settings
from penstock_shared.tracing import make_tracer

_SERVICE = "penstock-cache"
_REEMBEDDING_INTERVAL_S = 30.0
_CONTRACT = cache_pb2.DESCRIPTOR.services_by_name["CacheService"].full_name


def main() -> None:
    """Serves until signalled; ends with code 1 and one line when it cannot start."""
    settings = load_settings(CacheSettings)
    configure_logging(_SERVICE, settings.log_level, as_json=settings.log_json)
    # The products here are small, and NumPy's threads spin on a core for tens of milliseconds after each.
    threadpool_limits(1, user_api="blas")
    try:
        uvloop.run(_serve(settings))
    except (PenstockError, OSError) as error:
        fail_start(str(error))


async def _serve(settings: CacheSettings) -> None:
    tracer = make_tracer(_SERVICE, settings)
    credential = FleetCredential.load(settings.fleet_credential_file) if settings.fleet_credential_file else None
    server = GrpcServer(
        bind=settings.bind,
        service_names=[_CONTRACT],
        tracer=tracer,
        credential=credential,
        certificates=inner_certificates(load_inner_tls(settings)),
    )
    is_semantic = wiring.wants_semantic(settings)
    async with AsyncExitStack() as stack:
        stack.callback(tracer.shutdown)
        store = await asyncio.to_thread(_open_store, settings)
        stack.push_async_callback(asyncio.to_thread, store.close)
        door = SemanticDoor()
        servicer = CacheServicer(store, door, default_ttl_s=settings.default_ttl_s, max_ttl_s=settings.max_ttl_s)
        cache_pb2_grpc.add_CacheServiceServicer_to_server(servicer, server.server)
        port = await server.start()
        stack.push_async_callback(server.server.stop, 0)
        await server.set_serving(True)
        background = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [background.create_task(_sweep(store, settings.sweep_interval_s))]
        if is_semantic:
            tasks.append(background.create_task(_run_semantic(store, door, settings)))
        get_logger("main").info("listening", address=f"{settings.bind.rpartition(':')[0]}:{port}")
        await serve_until_signalled(server, drain_grace_s=settings.drain_grace_s)
        for task in tasks:
            task.cancel()


def _open_store(settings: CacheSettings) -> DatabaseStore:
    return DatabaseStore(
        _open_database(settings), max_bytes=settings.max_bytes, max_pending=settings.max_pending, wall_clock=time.time
    )


def _open_database(settings: CacheSettings) -> Database:
    num_readers, max_writes = settings.num_readers, 2 * settings.max_pending
    if settings.postgres_url is not None:
        return _open_postgres(settings.postgres_url.get_secret_value(), num_readers, max_writes)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    make_graphs = _make_graphs() if find_spec("usearch") else None
    return SqliteDatabase(
        settings.state_dir / "cache.db", num_readers=num_readers, max_writes=max_writes, make_graphs=make_graphs
    )


def _open_postgres(url: str, num_readers: int, max_writes: int) -> Database:
    """Of the extra `postgres`."""
    if not find_spec("psycopg"):
        raise FailedPreconditionError("PENSTOCK_CACHE_POSTGRES_URL needs psycopg: pip install 'penstock[postgres]'")
    from penstock_cache.postgres.database import PostgresDatabase  # noqa: PLC0415

    return PostgresDatabase(url, num_readers=num_readers, max_writes=max_writes)


def _make_graphs() -> Callable[[Path], Graphs]:
    """Of the extra `semantic`; without it every vector is compared."""
    from penstock_cache.semantic.graph_files import GraphFiles  # noqa: PLC0415

    return GraphFiles


async def _sweep(store: Store, interval_s: float) -> None:
    """Removes expired answers again and again; a failure is the next round's matter."""
    log = get_logger("sweep")
    while True:
        await asyncio.sleep(interval_s)
        try:
            num_removed = await store.sweep()
        except PenstockError as error:
            log.warning("could not remove expired answers", error=error.message)
        else:
            log.debug("removed expired answers", num_removed=num_removed)


async def _run_semantic(store: Store, door: SemanticDoor, settings: CacheSettings) -> None:
    """Opens the door when the encoder is loaded, and encodes anew what another one has encoded."""
    door.reason = "the encoder is being loaded"
    log = get_logger("semantic")
    with ExitStack() as stack:
        try:
            model, verifier = await asyncio.to_thread(wiring.load_models, settings)
            encoder = wiring.make_encoder(model, stack)
        except Exception as error:
            door.reason = "the encoder or the verifier could not be loaded"
            log.exception(
                "the encoder or the verifier could not be loaded: answers are found exactly only", error=str(error)
            )
            return
        door.open(wiring.make_layer(store, encoder, verifier, settings, stack))
        log.info("answers are found by meaning", encoder=encoder.fingerprint[:16])
        await Reembedding(store, encoder, interval_s=_REEMBEDDING_INTERVAL_S).run()


if __name__ == "__main__":
    main()
