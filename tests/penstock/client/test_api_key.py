"""What both clients do with an API key."""

from typing import Any

import pytest
from fakes.inference_server import ScriptedInference


async def test_the_key_goes_along_with_every_call(server: ScriptedInference, driver_class: Any) -> None:
    """Beside the trace."""
    driver = driver_class(server.address, api_key="pst_a_b")
    await driver.call("generate", "Hi")
    await driver.events("Hi", traceparent="00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
    for method in ("list_models", "capabilities"):
        await driver.call(method)
    await driver.call("count_tokens", "Hi")
    await driver.close()
    shown = [(seen.method, seen.metadata["authorization"]) for seen in server.seen]
    methods = ["Complete", "Generate", "ListModels", "GetCapabilities", "CountTokens"]
    assert shown == [(method, "Bearer pst_a_b") for method in methods]
    assert "traceparent" in server.seen[1].metadata


async def test_without_a_key_none_is_shown(server: ScriptedInference, driver: Any) -> None:
    """An empty header would be refused."""
    await driver.call("generate", "Hi")
    assert "authorization" not in server.seen[0].metadata


@pytest.mark.parametrize("address", ["192.0.2.1:50051", "gateway.example:50051", "dns:///gateway.example:50051"])
async def test_it_is_not_sent_unencrypted_to_another_machine(driver_class: Any, address: str) -> None:
    """Unless the caller says so; and the error does not repeat it."""
    with pytest.raises(ValueError, match=f"unencrypted to {address}") as caught:
        driver_class(address, api_key="pst_a_secret")
    assert "secret" not in str(caught.value)
    await driver_class(address, api_key="pst_a_b", insecure=True).close()
    await driver_class(address).close()


@pytest.mark.parametrize("key", ["pst_a_b\n", "schlüssel"])
async def test_what_cannot_be_a_header_is_refused_by_name(driver_class: Any, key: str) -> None:
    """A file's line end is the usual case; gRPC's own error would say nothing."""
    with pytest.raises(ValueError, match="API key holds characters") as caught:
        driver_class("127.0.0.1:1", api_key=key)
    assert key not in str(caught.value)
