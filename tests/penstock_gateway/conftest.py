"""A whole gateway in this process, over real loopback gRPC, with scripted services behind it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fakes.byte_tokenizer import ByteTokenizer
from fakes.gateway_deployment import Deployment, StartDeployment
from fakes.scripted_fleet import ScriptedFleet

from penstock_shared.tls import ReloadingCertificates


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartDeployment]:
    """Starts a deployment; further keyword arguments are settings of the gateway.

    With `certificates`, what stands behind it speaks TLS.
    """
    async with AsyncExitStack() as stack:

        async def start_deployment(
            *,
            num_replicas: int = 1,
            is_ready: bool = True,
            certificates: ReloadingCertificates | None = None,
            **settings: Any,
        ) -> Deployment:
            fleet, tokenizer = ScriptedFleet(certificates), ByteTokenizer(certificates=certificates)
            for service in (fleet, tokenizer):
                await service.start()
                stack.push_async_callback(service.stop)
            deployment = Deployment(fleet, tokenizer, state_dir=tmp_path, settings=settings)
            stack.push_async_callback(deployment.stop_workers)
            for _ in range(num_replicas):
                await deployment.add_worker(certificates=certificates)
            await stack.enter_async_context(deployment.running())
            if is_ready:
                await deployment.until_ready(num_replicas)
            return deployment

        yield start_deployment


@pytest.fixture
async def deployment(start: StartDeployment) -> Deployment:
    """One replica, ready."""
    return await start()


@pytest.fixture
async def pair(start: StartDeployment) -> Deployment:
    """Two replicas, ready."""
    return await start(num_replicas=2)
