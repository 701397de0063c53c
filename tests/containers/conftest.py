"""The containers of compose.yaml, built and run once for all tests of this folder."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest
from containers.engine import ROOT, Deployment, Engine

from penstock.local.health import follow_health

_START_TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder; building takes its time."""
    for item in items:
        if "/tests/containers/" in str(item.path):
            item.add_marker(pytest.mark.containers)
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All services, with two workers, ready; gone at the end, with their volumes."""
    engine = Engine.find()
    if engine is None:
        pytest.skip("neither `docker compose` nor podman-compose is here; CONTAINER_COMPOSE names another one")
    engine.build_images()
    secrets = tmp_path_factory.mktemp("containers") / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets", secrets], check=True)
    deployment = Deployment(engine, secrets)
    try:
        deployment.compose("up", "--detach", "--no-build")
        asyncio.run(asyncio.wait_for(wait_until_serving(deployment.address), _START_TIMEOUT_S))
        yield deployment
    except TimeoutError:
        deployment.compose("logs")
        raise
    finally:
        deployment.compose("down", "--volumes")


async def wait_until_serving(address: str) -> None:
    """Returns when the server at `address` says that it can serve."""
    serving = asyncio.Event()
    following = asyncio.create_task(follow_health(address, lambda is_serving: serving.set() if is_serving else None))
    await serving.wait()
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
