"""What becomes of the calls to the tokenizer service."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from fakes.byte_tokenizer import ByteTokenizer
from fakes.gateway_deployment import SPEC

from penstock_gateway.requests import TextInput
from penstock_gateway.text.tokenizer_client import TokenizerClient
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import UnavailableError


@pytest.fixture
async def tokenizer() -> AsyncIterator[ByteTokenizer]:
    """A service that runs."""
    service = ByteTokenizer()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def client(tokenizer: ByteTokenizer) -> AsyncIterator[TokenizerClient]:
    """The gateway's side."""
    async with grpc.aio.insecure_channel(tokenizer.address) as channel:
        yield TokenizerClient(channel)


async def _encode(client: TokenizerClient) -> list[int]:
    return await client.encode(TextInput("Hi"), SPEC, Deadline.after(10), field="input")


async def test_a_call_that_its_caller_has_left_is_not_tried_again(
    tokenizer: ByteTokenizer, client: TokenizerClient
) -> None:
    """Cache hits leave their tokenizing behind: its retries would be taken from those who wait for theirs."""
    tokenizer.gate.clear()
    left = [asyncio.create_task(_encode(client)) for _ in range(12)]
    await tokenizer.until(lambda: tokenizer.num_calls == len(left))
    for call in left:
        call.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    tokenizer.failures = [UnavailableError("too busy")] * (len(left) + 1)
    tokenizer.gate.set()
    await tokenizer.until(lambda: len(tokenizer.failures) == 1)
    assert await _encode(client) == [72, 105]
    assert tokenizer.num_calls == len(left) + 2
