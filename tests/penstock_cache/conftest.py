"""Stores and services that the tests share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psycopg
import pytest
from fakes.clock import FakeClock
from fakes.postgres_server import PostgresServer, running_postgres

from penstock.cache.v1 import cache_pb2_grpc
from penstock_cache.database import Database
from penstock_cache.database_store import DatabaseStore
from penstock_cache.postgres.database import PostgresDatabase
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.service import CacheServicer
from penstock_cache.sqlite_database import SqliteDatabase
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer

OpenStore = Callable[..., DatabaseStore]
StartService = Callable[..., Awaitable[cache_pb2_grpc.CacheServiceStub]]


@pytest.fixture
def clock() -> FakeClock:
    """The wall clock of the stores."""
    return FakeClock(1000.0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests that do not stop it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def empty_postgres(postgres: PostgresServer) -> PostgresServer:
    """The server, with nothing of the cache in it."""
    with psycopg.connect(postgres.url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS penstock_cache CASCADE")
    return postgres


@pytest.fixture
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[OpenStore]:
    """Opens stores over one database, SQLite where no other is asked for; they are closed at the end."""
    opened = []

    def open_database(max_writes: int) -> Database:
        if getattr(request, "param", "sqlite") == "sqlite":
            return SqliteDatabase(tmp_path / "cache.db", num_readers=2, max_writes=max_writes)
        return PostgresDatabase(url, num_readers=2, max_writes=max_writes)

    def open_it(*, max_bytes: int = 1 << 20, max_pending: int = 64) -> DatabaseStore:
        database = open_database(2 * max_pending)
        store = DatabaseStore(database, max_bytes=max_bytes, max_pending=max_pending, wall_clock=clock)
        opened.append(store)
        return store

    url = request.getfixturevalue("empty_postgres").url if getattr(request, "param", "") == "postgres" else ""
    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
async def start_service(open_store: OpenStore) -> AsyncIterator[StartService]:
    """Serves a store over loopback; keyword arguments are the store's."""
    async with AsyncExitStack() as stack:

        async def start(**options: int) -> cache_pb2_grpc.CacheServiceStub:
            server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("cache"))
            servicer = CacheServicer(open_store(**options), SemanticDoor(), default_ttl_s=60, max_ttl_s=600)
            cache_pb2_grpc.add_CacheServiceServicer_to_server(servicer, server.server)
            port = await server.start()
            stack.push_async_callback(server.server.stop, 0)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            return cache_pb2_grpc.CacheServiceStub(channel)

        yield start


@pytest.fixture
async def stub(start_service: StartService) -> cache_pb2_grpc.CacheServiceStub:
    """A client of a service with a store of a megabyte."""
    return await start_service()
