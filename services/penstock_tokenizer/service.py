"""TokenizerService of protos/penstock/tokenizer/v1."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc

from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_tokenizer.catalog import Catalog, TextModel
from penstock_tokenizer.convert import chat_from_proto, sequences_to_proto, vocabulary_to_proto
from penstock_tokenizer.cpu_pool import CpuPool
from penstock_tokenizer.detokenizer import IncrementalDecoder
from penstock_tokenizer.limits import RequestLimits, check_ids
from penstock_tokenizer.prompt import PromptWriter
from penstock_tokenizer.rendering.pool import RenderPool

_BYTES_PER_TOKEN = 4

Context = grpc.aio.ServicerContext[Any, Any]


class TokenizerServicer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    """Answers for the models of a catalog.

    Args:
        catalog: the models.
        cpu_pool: runs what holds the CPU.
        render_pool: renders chat templates.
        limits: bounds of a request.
    """

    def __init__(self, catalog: Catalog, cpu_pool: CpuPool, render_pool: RenderPool, limits: RequestLimits) -> None:
        self._catalog = catalog
        self._cpu_pool = cpu_pool
        self._render_pool = render_pool
        self._limits = limits

    async def Encode(  # noqa: N802 - the contract's name
        self, request: tokenizer_pb2.EncodeRequest, _context: Context
    ) -> tokenizer_pb2.EncodeResponse:
        """Encodes texts."""
        model = self._catalog.get(request.model, tokenizer=request.tokenizer_fingerprint)
        num_bytes = self._limits.check_texts("texts", request.texts)
        encode = partial(
            model.tokenizer.encode_texts,
            list(request.texts),
            add_special_tokens=request.add_special_tokens,
            allow_control_tokens=request.allow_control_tokens,
        )
        sequences = await self._cpu_pool.run(encode, num_bytes=num_bytes)
        return tokenizer_pb2.EncodeResponse(
            sequences=sequences_to_proto(sequences), tokenizer_fingerprint=model.fingerprints.tokenizer
        )

    async def Decode(  # noqa: N802 - the contract's name
        self, request: tokenizer_pb2.DecodeRequest, _context: Context
    ) -> tokenizer_pb2.DecodeResponse:
        """Decodes token ids."""
        model = self._catalog.get(request.model)
        sequences = [sequence.ids for sequence in request.sequences]
        num_tokens = self._limits.check_sequences("sequences", sequences, model.tokenizer.num_ids)
        decode = partial(model.tokenizer.decode, skip_special_tokens=request.skip_special_tokens)
        texts = await self._cpu_pool.run(
            lambda: [decode(ids) for ids in sequences], num_bytes=num_tokens * _BYTES_PER_TOKEN
        )
        return tokenizer_pb2.DecodeResponse(texts=texts, tokenizer_fingerprint=model.fingerprints.tokenizer)

    async def RenderChat(  # noqa: N802 - the contract's name
        self, request: tokenizer_pb2.RenderChatRequest, _context: Context
    ) -> tokenizer_pb2.RenderChatResponse:
        """Renders a conversation and encodes it."""
        model = self._catalog.get(
            request.model, tokenizer=request.tokenizer_fingerprint, template=request.template_fingerprint
        )
        self._limits.check_chat(len(request.messages), len(request.tools), request.ByteSize())
        writer = PromptWriter(self._render_pool, model.template, model.tokenizer.controls)
        prompt = await writer.write(chat_from_proto(request))
        encode = partial(model.tokenizer.encode_segments, prompt.segments)
        ids = await self._cpu_pool.run(encode, num_bytes=len(prompt.text))
        return tokenizer_pb2.RenderChatResponse(
            tokens=tokenizer_pb2.TokenSequence(ids=ids),
            text=prompt.text if request.return_text else "",
            tokenizer_fingerprint=model.fingerprints.tokenizer,
            template_fingerprint=model.fingerprints.template,
        )

    async def GetVocabulary(  # noqa: N802 - the contract's name
        self, request: tokenizer_pb2.GetVocabularyRequest, _context: Context
    ) -> AsyncIterator[tokenizer_pb2.GetVocabularyResponse]:
        """Streams the table of ids and bytes."""
        model = self._catalog.get(
            request.model, tokenizer=request.tokenizer_fingerprint, template=request.template_fingerprint
        )
        if isinstance(model.vocabulary, FailedPreconditionError):
            raise FailedPreconditionError(model.vocabulary.message)
        for response in vocabulary_to_proto(model, model.vocabulary):
            yield response

    async def Detokenize(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[tokenizer_pb2.DetokenizeRequest], _context: Context
    ) -> AsyncIterator[tokenizer_pb2.DetokenizeResponse]:
        """Decodes outputs as they grow."""
        outputs: _OpenOutputs | None = None
        async for request in request_iterator:
            if outputs is None:
                outputs = _OpenOutputs(self._catalog.get(request.model), self._limits.max_open_outputs)
            num_bytes = len(request.token_ids) * _BYTES_PER_TOKEN
            text = await self._cpu_pool.run(partial(outputs.take, request), num_bytes=num_bytes)
            yield tokenizer_pb2.DetokenizeResponse(output_id=request.output_id, text=text)


class _OpenOutputs:
    """The outputs of one Detokenize stream that have not ended."""

    def __init__(self, model: TextModel, max_outputs: int) -> None:
        self._model = model
        self._max_outputs = max_outputs
        self._decoders: dict[int, IncrementalDecoder] = {}

    def take(self, request: tokenizer_pb2.DetokenizeRequest) -> str:
        """The text that `request` makes certain."""
        if request.model not in ("", self._model.name):
            raise InvalidArgumentError(
                "model", request.model, f"nothing, or {self._model.name} as in the first message"
            )
        check_ids("token_ids", request.token_ids, self._model.tokenizer.num_ids)
        decoder = self._decoder(request.output_id)
        text = decoder.add(request.token_ids)
        if request.is_last:
            text += decoder.finish()
            del self._decoders[request.output_id]
        return text

    def _decoder(self, output_id: int) -> IncrementalDecoder:
        if output_id not in self._decoders:
            if len(self._decoders) >= self._max_outputs:
                raise InvalidArgumentError("output_id", output_id, f"at most {self._max_outputs} open outputs a stream")
            self._decoders[output_id] = IncrementalDecoder(self._model.tokenizer)
        return self._decoders[output_id]
