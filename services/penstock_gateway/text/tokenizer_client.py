"""The tokenizer service as the gateway uses it: text in, token ids out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_gateway.requests import ChatInput, ChatMessage, Input, TextInput, Tool
from penstock_gateway.text.abandoned_calls import AbandonedCalls
from penstock_gateway.text.vocabulary import Vocabulary
from penstock_shared.channels import RetryBudget, call_with_retries
from penstock_shared.deadlines import Deadline
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    PenstockError,
    UnavailableError,
    from_rpc_error,
)

ResponseT = TypeVar("ResponseT")

_SERVICE = "penstock.tokenizer.v1.TokenizerService"
_VOCABULARY_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 1.0
_RETRY_AFTER_S = 1.0
_MAX_ABANDONED_CALLS = 256
# What the caller can mend, or must wait for; any other failure is the tokenizer's own.
_PASSED_ON = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.NOT_FOUND,
    }
)


class TokenizerClient:
    """Calls `TokenizerService`. Failed calls are tried again within the deadline and a budget shared by all callers."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._budget = RetryBudget()
        self._abandoned = AbandonedCalls(_MAX_ABANDONED_CALLS)

    async def encode(self, given: Input, spec: ModelSpec, deadline: Deadline, *, field: str) -> list[int]:
        """The prompt's token ids.

        Args:
            given: the input.
            spec: of the model that it is for.
            deadline: of the call.
            field: path of the input in the client's request.

        Raises:
            PenstockError: the input cannot be encoded, or the tokenizer is out of reach.
        """
        try:
            if isinstance(given, TextInput):
                return await self._encode_text(given, spec, deadline)
            if isinstance(given, ChatInput):
                return await self._render_chat(given, spec, deadline)
        except PenstockError as error:
            raise _in_clients_words(error, field, given) from error
        return list(given.ids)

    async def fetch_vocabulary(self, spec: ModelSpec) -> Vocabulary:
        """The table that turns ids into bytes.

        Raises:
            PenstockError: the tokenizer has none, is out of reach, or is not the model's.
        """
        request = tokenizer_pb2.GetVocabularyRequest(
            model=spec.name,
            tokenizer_fingerprint=spec.tokenizer_fingerprint,
            template_fingerprint=spec.template_fingerprint,
        )
        header = tokenizer_pb2.VocabularyHeader()
        table: list[bytes] = []
        try:
            async for chunk in self._stub.GetVocabulary(request, timeout=_VOCABULARY_TIMEOUT_S):
                header.MergeFrom(chunk.header)
                table.extend(b"" if entry.is_special else entry.bytes for entry in chunk.entries)
        except grpc.aio.AioRpcError as error:
            raise _mapped(error) from error
        _check_fingerprint(header.tokenizer_fingerprint, spec)
        return Vocabulary(header.tokenizer_fingerprint, tuple(table), header.strips_leading_space)

    async def is_serving(self) -> bool:
        """Whether the service says that it can do its work."""
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=_PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _encode_text(self, given: TextInput, spec: ModelSpec, deadline: Deadline) -> list[int]:
        request = tokenizer_pb2.EncodeRequest(
            model=spec.name,
            texts=[given.text],
            add_special_tokens=True,
            tokenizer_fingerprint=spec.tokenizer_fingerprint,
        )
        response = await self._call(lambda timeout_s: self._stub.Encode(request, timeout=timeout_s), deadline)
        _check_fingerprint(response.tokenizer_fingerprint, spec)
        return list(response.sequences[0].ids)

    async def _render_chat(self, given: ChatInput, spec: ModelSpec, deadline: Deadline) -> list[int]:
        request = tokenizer_pb2.RenderChatRequest(
            model=spec.name,
            messages=[_message_to_proto(message) for message in given.messages],
            tools=[_tool_to_proto(tool) for tool in given.tools],
            add_generation_prompt=True,
            tokenizer_fingerprint=spec.tokenizer_fingerprint,
            template_fingerprint=spec.template_fingerprint,
        )
        response = await self._call(lambda timeout_s: self._stub.RenderChat(request, timeout=timeout_s), deadline)
        _check_fingerprint(response.tokenizer_fingerprint, spec)
        return list(response.tokens.ids)

    async def _call(self, call: Callable[[float], Awaitable[ResponseT]], deadline: Deadline) -> ResponseT:
        """A call that its caller leaves goes on by itself, but is not tried again: the budget is for those who wait."""
        has_left = False
        attempts = call_with_retries(call, deadline=deadline, budget=self._budget, is_wanted=lambda: not has_left)
        try:
            return await self._abandoned.wait_for(attempts)
        except asyncio.CancelledError:
            has_left = True
            raise
        except grpc.aio.AioRpcError as error:
            raise _mapped(error) from error


def _mapped(error: grpc.aio.AioRpcError) -> PenstockError:
    """A failed call as the error that our own caller gets."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError("the deadline passed while the prompt was being tokenized")
    if error.code() in _PASSED_ON:
        return from_rpc_error(error)
    return UnavailableError("the tokenizer service is out of reach", retry_after_s=_RETRY_AFTER_S)


def _in_clients_words(error: PenstockError, field: str, given: Input) -> PenstockError:
    """The same error, where it names a field of the tokenizer's request, with that of the client's in its place."""
    inner = error.field
    if inner is None:
        return error
    error.field = f"{field}.text" if isinstance(given, TextInput) else f"{field}.chat.{inner}"
    error.message = error.message.replace(inner, error.field, 1)
    return error


def _check_fingerprint(found: str, spec: ModelSpec) -> None:
    """Prompts encoded by another tokenizer would be gibberish to the model."""
    if found != spec.tokenizer_fingerprint:
        raise FailedPreconditionError(
            f"the tokenizer service has tokenizer {found[:12]!r} for {spec.name!r},"
            f" the model needs {spec.tokenizer_fingerprint[:12]!r}"
        )


def _message_to_proto(message: ChatMessage) -> types_pb2.ChatMessage:
    return types_pb2.ChatMessage(
        role=message.role,
        content=message.content,
        tool_calls=[
            types_pb2.ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)
            for call in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        name=message.name,
    )


def _tool_to_proto(tool: Tool) -> types_pb2.Tool:
    return types_pb2.Tool(
        name=tool.name, description=tool.description, parameters_json_schema=tool.parameters_json_schema
    )
