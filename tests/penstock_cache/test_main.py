"""The service as a process of its own."""

import asyncio
import hashlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path

import grpc
import pytest
import uvloop
from fakes.cache_process import COMMAND, environment, running
from fakes.certificates import Authority, client_credentials, inner_tls_variables
from fakes.encoder_checkpoints import save_encoder_checkpoint
from fakes.postgres_server import PostgresServer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from threadpoolctl import threadpool_info, threadpool_limits

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_cache import __main__ as cache_main
from penstock_shared.credentials import FleetCredential


def put(number: int) -> cache_pb2.PutRequest:
    """Keeps an answer of 4 kB under a key of its own."""
    choice = cache_pb2.CachedChoice(text=str(number).ljust(4000), finish_reason=types_pb2.FINISH_REASON_STOP)
    answer = cache_pb2.CachedAnswer(choices=[choice], model_revision="r1")
    return cache_pb2.PutRequest(key=key(number), answer=answer)


def key(number: int) -> cache_pb2.CacheKey:
    """A key of its own for each number."""
    return cache_pb2.CacheKey(tenant="acme", exact_digest=number.to_bytes(32))


def test_numpy_has_no_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They spin after each product, on the cores that engines compute on."""
    seen: list[int] = []

    def run(serving: Coroutine[None, None, None]) -> None:
        serving.close()
        seen.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")

    monkeypatch.setattr(cache_main, "configure_logging", lambda *_, **__: None)  # it would be that of all further tests
    monkeypatch.setattr(uvloop, "run", run)
    with threadpool_limits(2, user_api="blas"):
        cache_main.main()
    assert set(seen) == {1}


async def test_it_serves_until_sigterm_and_finds_its_answers_again(tmp_path: Path) -> None:
    """A restart of the whole stack must not cost the answers."""
    async with running(environment(tmp_path)) as (process, channel, _):
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        await cache_pb2_grpc.CacheServiceStub(channel).Put(put(7))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    async with running(environment(tmp_path)) as (_, channel, _):
        found = await cache_pb2_grpc.CacheServiceStub(channel).Lookup(cache_pb2.LookupRequest(key=key(7)))
    assert found.answer.choices[0].text.strip() == "7"


async def test_a_kill_under_load_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    """Every answer that a caller was told is stored is there after a SIGKILL amid writes, and the file is sound."""
    confirmed: list[int] = []

    async def keep_putting(
        stub: cache_pb2_grpc.CacheServiceStub, process: asyncio.subprocess.Process, lane: int
    ) -> None:
        for number in range(lane, 100_000, 8):
            try:
                await stub.Put(put(number))
            except grpc.aio.AioRpcError:
                return
            confirmed.append(number)
            if len(confirmed) == 200:
                process.kill()

    async with running(environment(tmp_path)) as (process, channel, _):
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        await asyncio.gather(*(keep_putting(stub, process, lane) for lane in range(8)))
        assert await process.wait() == -signal.SIGKILL
    assert len(confirmed) >= 200
    connection = sqlite3.connect(tmp_path / "cache.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    counted = connection.execute("SELECT count(*), sum(size_bytes) FROM entries").fetchone()
    assert connection.execute("SELECT num_entries, size_bytes FROM totals").fetchone() == counted
    connection.close()
    async with running(environment(tmp_path)) as (_, channel, _):
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        answers = [await stub.Lookup(cache_pb2.LookupRequest(key=key(number))) for number in confirmed]
    assert [answer.answer.choices[0].text.strip() for answer in answers] == [str(number) for number in confirmed]


async def test_an_answer_put_at_one_instance_is_a_hit_at_another(
    tmp_path: Path, empty_postgres: PostgresServer
) -> None:
    """Gateways may ask any of the instances that share a Postgres."""
    variables = environment(tmp_path, PENSTOCK_CACHE_POSTGRES_URL=empty_postgres.url)
    async with running(variables) as (_, one, _), running(variables) as (_, other, _):
        await cache_pb2_grpc.CacheServiceStub(one).Put(put(7))
        found = await cache_pb2_grpc.CacheServiceStub(other).Lookup(cache_pb2.LookupRequest(key=key(7)))
    assert found.outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    assert found.answer.choices[0].text.strip() == "7"


async def test_expired_answers_are_removed_without_being_asked_for(tmp_path: Path) -> None:
    """Nobody looks up an old answer again; it must not take room for ever."""
    variables = environment(tmp_path, PENSTOCK_CACHE_DEFAULT_TTL_S="0.01", PENSTOCK_CACHE_SWEEP_INTERVAL_S="0.05")
    async with running(variables) as (_, channel, _), asyncio.timeout(10):
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        assert (await stub.Put(put(1))).is_stored
        while (await stub.GetStats(cache_pb2.GetStatsRequest())).num_entries:
            pass


async def test_callers_without_the_fleet_credential_are_turned_away(tmp_path: Path) -> None:
    """The service believes the tenant that a caller names, so only the gateway may call."""
    credential = FleetCredential.create(tmp_path / "credential")
    variables = environment(tmp_path, PENSTOCK_FLEET_CREDENTIAL_FILE=str(tmp_path / "credential"))
    async with running(variables) as (_, channel, _):
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Lookup(cache_pb2.LookupRequest(key=key(1)))
        response = await stub.Lookup(cache_pb2.LookupRequest(key=key(1)), metadata=credential.metadata())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert response.outcome == cache_pb2.LOOKUP_OUTCOME_MISS


async def test_with_certificates_it_speaks_tls_alone(tmp_path: Path) -> None:
    """A service that still took plaintext would be found by whoever scans the network."""
    authority = Authority(tmp_path)
    own = authority.issue("gateway")
    variables = inner_tls_variables(authority.issue("cache"), authority)
    async with running(environment(tmp_path, **variables)) as cache:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await cache_pb2_grpc.CacheServiceStub(cache.channel).Put(put(7))
        async with grpc.aio.secure_channel(cache.address, client_credentials(own, authority)) as channel:
            await cache_pb2_grpc.CacheServiceStub(channel).Put(put(7))


def keyed_prompt(prompt: str) -> cache_pb2.CacheKey:
    """The key of a prompt in some context."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return cache_pb2.CacheKey(tenant="acme", exact_digest=digest, context_digest=bytes(32), prompt=prompt)


async def test_answers_are_found_by_meaning_once_the_encoder_is_loaded(tmp_path: Path) -> None:
    """It takes seconds, and the exact layer does not wait for it."""
    variables = environment(
        tmp_path,
        PENSTOCK_CACHE_SEMANTIC="1",
        PENSTOCK_CACHE_ENCODER_DIR=str(save_encoder_checkpoint(tmp_path / "encoder")),
        PENSTOCK_CACHE_SEMANTIC_BUDGET_S="10",
    )
    choice = cache_pb2.CachedChoice(text="Paris", finish_reason=types_pb2.FINISH_REASON_STOP)
    answer = cache_pb2.CachedAnswer(choices=[choice], model_revision="r1")
    request = cache_pb2.LookupRequest(key=keyed_prompt("paris in france"), max_error_rate=0.1)
    async with running(variables) as (_, channel, _), asyncio.timeout(100):
        stub = cache_pb2_grpc.CacheServiceStub(channel)
        while (await stub.Lookup(request)).reason == "the encoder is being loaded":
            pass
        assert (await stub.Put(cache_pb2.PutRequest(key=keyed_prompt("in france paris"), answer=answer))).is_stored
        found = await stub.Lookup(request)
        assert (found.outcome, found.answer.choices[0].text) == (cache_pb2.LOOKUP_OUTCOME_EXPLORE, "Paris")


def test_a_database_of_a_newer_version_ends_the_start_with_one_line(tmp_path: Path) -> None:
    """After a downgrade."""
    connection = sqlite3.connect(tmp_path / "cache.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    errors = failed_start(environment(tmp_path))
    assert len(errors) == 1
    assert errors[0].startswith("error: the cache database has schema 99 and this version knows 4")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"PENSTOCK_CACHE_MAX_BYTES": "10"}, "error: PENSTOCK_CACHE_MAX_BYTES: got '10'"),
        ({"PENSTOCK_CACHE_BIND": "somewhere"}, "error: PENSTOCK_CACHE_BIND: got 'somewhere'"),
        ({"PENSTOCK_STATE_DIR": "/proc/none"}, "error: [Errno 2]"),
        ({"PENSTOCK_CACHE_POSTGRES_URL": "postgresql://127.0.0.1:1"}, "error: cannot use the cache's Postgres"),
        (
            {"PENSTOCK_CACHE_SEMANTIC": "1", "PENSTOCK_CACHE_ENCODER_DIR": "/nowhere"},
            "error: PENSTOCK_CACHE_ENCODER_DIR: got '/nowhere'; there is no config.json in it",
        ),
    ],
)
def test_a_start_that_fails_says_why_in_one_line(tmp_path: Path, variables: dict[str, str], line: str) -> None:
    """The operator sees it at once, not a traceback."""
    errors = failed_start(environment(tmp_path) | variables)
    assert len(errors) == 1
    assert errors[0].startswith(line)


def failed_start(variables: dict[str, str]) -> list[str]:
    """The lines of a start that fails, without its log."""
    result = subprocess.run(COMMAND, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    return [line for line in result.stderr.splitlines() if not line.startswith("{")]


def test_it_imports_no_torch_no_transformers_and_no_ray() -> None:
    """They cost seconds of start and hundreds of megabytes; a fresh process shows what is really imported."""
    code = "import sys, penstock_cache.__main__; print(*({'torch', 'transformers', 'ray'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
