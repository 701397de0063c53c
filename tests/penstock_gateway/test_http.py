"""What probes and Prometheus see."""

import aiohttp
import grpc
import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families


async def get(deployment: Deployment, path: str) -> tuple[int, str]:
    """Status and body."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{deployment.gateway.http_address}{path}") as response,
    ):
        return response.status, await response.text()


async def health_of(deployment: Deployment) -> int:
    """What the standard health service says."""
    async with grpc.aio.insecure_channel(deployment.gateway.address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="penstock.inference.v1.InferenceService")
        )
        return int(answer.status)


async def test_health_is_good_only_when_requests_can_be_served(start: StartDeployment) -> None:
    """A healthy probe before a dead engine hides an outage; the body says what is missing."""
    deployment = await start(num_replicas=0, is_ready=False)
    status, body = await get(deployment, "/healthz")
    assert status == 503
    assert "no model is known" in body
    assert await health_of(deployment) == health_pb2.HealthCheckResponse.NOT_SERVING
    worker = await deployment.add_worker()
    await deployment.until_ready()
    assert await get(deployment, "/healthz") == (200, '{"status": "serving", "missing": []}')
    serving = health_pb2.HealthCheckResponse.SERVING
    await deployment.until(lambda: deployment.gateway.is_serving)
    assert await health_of(deployment) == serving
    await worker.stop()
    await deployment.until(lambda: not deployment.gateway.is_serving)
    assert await get(deployment, "/healthz") == (
        503,
        '{"status": "not serving", "missing": ["no session to a ready replica is open"]}',
    )


async def test_metrics_count_requests_as_they_end(deployment: Deployment) -> None:
    """The names of the GenAI conventions, and our gauges."""
    await collect(deployment.generate("Hi"))
    with pytest.raises(grpc.aio.AioRpcError):
        await deployment.complete("Hi", model="nobody")
    await deployment.until_idle()
    _, text = await get(deployment, "/metrics")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["gen_ai_server_request_duration_seconds_count", "", "pocket", "text_completion"] == 1
    assert samples["gen_ai_server_request_duration_seconds_count", "NOT_FOUND", "text_completion", "unknown"] == 1
    assert samples["gen_ai_server_time_to_first_token_seconds_count", "pocket", "text_completion"] == 1
    assert samples["gen_ai_server_time_per_output_token_seconds_count", "pocket", "text_completion"] == 1
    assert samples["penstock_gateway_tokens_total", "output", "pocket", "text_completion"] == 12
    assert samples["penstock_gateway_queue_requests", "pocket"] == 0
    assert samples["penstock_gateway_credit_sequences", "pocket", "replica-0"] == 8
    assert samples["penstock_gateway_running_sequences", "pocket", "replica-0"] == 0
    assert samples[("penstock_gateway_admitted_requests",)] == 0
