"""A TokenizerService whose tokens are bytes: id = byte value, and 256 is the end of a sequence."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock_shared.errors import PenstockError
from penstock_shared.server import GrpcServer
from penstock_shared.tls import ReloadingCertificates
from penstock_shared.tracing import Tracer

EOS = 256
VOCAB_SIZE = 257
FINGERPRINT = "byte-tokenizer"
_SERVICE = "penstock.tokenizer.v1.TokenizerService"
_CHUNK = 100

Context = grpc.aio.ServicerContext[Any, Any]


class ByteTokenizer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    """Serves any model.

    Attributes:
        address: host:port, once started.
        fingerprint: what it says that it is.
        failures: raised by the next encoding calls, one each.
        gate: encoding calls wait for it.
        num_calls: encoding calls so far.
    """

    def __init__(self, tracer: Tracer | None = None, certificates: ReloadingCertificates | None = None) -> None:
        self.address = ""
        self.fingerprint = FINGERPRINT
        self.failures: list[PenstockError] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.num_calls = 0
        self.has_caller = asyncio.Event()
        self._changed = asyncio.Condition()
        self._server = GrpcServer(
            bind="127.0.0.1:0",
            service_names=[_SERVICE],
            tracer=tracer or Tracer("tokenizer"),
            certificates=certificates,
        )
        tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(self, self._server.server)

    async def start(self) -> None:
        """Listens and is ready."""
        self.address = f"127.0.0.1:{await self._server.start()}"
        await self._server.set_serving(True)

    async def stop(self) -> None:
        """Breaks everything."""
        await self._server.server.stop(0)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Waits until a call that came or failed makes `condition` true."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(condition)

    async def Encode(  # noqa: N802 - gRPC's naming
        self, request: tokenizer_pb2.EncodeRequest, context: Context
    ) -> tokenizer_pb2.EncodeResponse:
        """Bytes as ids."""
        await self._admit()
        sequences = [tokenizer_pb2.TokenSequence(ids=text.encode()) for text in request.texts]
        return tokenizer_pb2.EncodeResponse(sequences=sequences, tokenizer_fingerprint=self.fingerprint)

    async def RenderChat(  # noqa: N802 - gRPC's naming
        self, request: tokenizer_pb2.RenderChatRequest, context: Context
    ) -> tokenizer_pb2.RenderChatResponse:
        """`role:content;` for each turn, and `assistant:`."""
        await self._admit()
        text = "".join(f"{message.role}:{message.content};" for message in request.messages)
        text += "assistant:" if request.add_generation_prompt else ""
        tokens = tokenizer_pb2.TokenSequence(ids=text.encode())
        return tokenizer_pb2.RenderChatResponse(tokens=tokens, tokenizer_fingerprint=self.fingerprint)

    async def GetVocabulary(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, request: tokenizer_pb2.GetVocabularyRequest, context: Context
    ) -> None:
        """The table in chunks, the header in the first."""
        header = tokenizer_pb2.VocabularyHeader(
            model=request.model, tokenizer_fingerprint=self.fingerprint, num_entries=VOCAB_SIZE
        )
        for start in range(0, VOCAB_SIZE, _CHUNK):
            entries = _entries(range(start, min(start + _CHUNK, VOCAB_SIZE)))
            await context.write(tokenizer_pb2.GetVocabularyResponse(header=None if start else header, entries=entries))

    async def _admit(self) -> None:
        self.num_calls += 1
        self.has_caller.set()
        await self._notify()
        await self.gate.wait()
        if self.failures:
            failure = self.failures.pop(0)
            await self._notify()
            raise failure

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _entries(ids: Sequence[int]) -> list[tokenizer_pb2.VocabularyEntry]:
    return [
        tokenizer_pb2.VocabularyEntry(bytes=b"<eos>", is_special=True)
        if token_id == EOS
        else tokenizer_pb2.VocabularyEntry(bytes=bytes([token_id]))
        for token_id in ids
    ]
