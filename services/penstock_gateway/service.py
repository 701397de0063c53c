"""`InferenceService`: the RPCs, each a few lines over the pipeline."""
# ruff: noqa: ARG002, N802 - gRPC names methods and arguments

from typing import Any

import grpc

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock_gateway import convert
from penstock_gateway.capabilities import UNIMPLEMENTED, Limits
from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.embedder import Embedder
from penstock_gateway.message_counts import check_embed_counts, check_generation_counts, check_input_counts
from penstock_gateway.models import ModelCatalog
from penstock_gateway.pipeline import Pipeline
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import UnimplementedError
from penstock_shared.principal import current_principal

SERVICE_NAME = "penstock.inference.v1.InferenceService"

Context = grpc.aio.ServicerContext[Any, Any]


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """Answers clients.

    Args:
        pipeline: runs generations.
        embedder: makes vectors.
        models: what can be asked for.
        dispatcher: knows the replicas.
        limits: bounds of one request, to be told.
        max_message_bytes: bound of one message, to be told.
        max_request_s: longest a request may take, in seconds.
        server_version: of this package.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        embedder: Embedder,
        *,
        models: ModelCatalog,
        dispatcher: Dispatcher,
        limits: Limits,
        max_message_bytes: int,
        max_request_s: float,
        server_version: str,
    ) -> None:
        self._pipeline = pipeline
        self._embedder = embedder
        self._models = models
        self._dispatcher = dispatcher
        self._limits = limits
        self._max_message_bytes = max_message_bytes
        self._max_request_s = max_request_s
        self._server_version = server_version

    async def Generate(  # type: ignore[override]  # the stubs know generators only
        self, request: inference_pb2.GenerateRequest, context: Context
    ) -> None:
        """Streams. Written with `context.write`, so that the block is left at once when the client goes."""
        check_generation_counts(request.request, self._limits)
        asked = convert.generation_request(request.request)
        async with self._pipeline.answer(
            asked, tenant=current_principal.get().tenant, deadline=self._deadline(context), is_streaming=True
        ) as answer:
            while events := await answer.next_events():
                for event in events:
                    await context.write(convert.generate_response(event))
            await context.write(convert.final_response(answer.final()))

    async def Complete(
        self, request: inference_pb2.CompleteRequest, context: Context
    ) -> inference_pb2.CompleteResponse:
        """Answers in one message."""
        check_generation_counts(request.request, self._limits)
        asked = convert.generation_request(request.request)
        async with self._pipeline.answer(
            asked, tenant=current_principal.get().tenant, deadline=self._deadline(context), is_streaming=False
        ) as answer:
            return convert.complete_response(await answer.next_events(), answer.final())

    async def Resume(  # type: ignore[override]  # as above
        self, request: inference_pb2.ResumeRequest, context: Context
    ) -> None:
        """Not yet."""
        raise UnimplementedError("Resume")

    async def Embed(self, request: inference_pb2.EmbedRequest, context: Context) -> inference_pb2.EmbedResponse:
        """Makes vectors."""
        check_embed_counts(request, self._limits)
        vectors, usage = await self._embedder.embed(
            convert.embed_request(request), tenant=current_principal.get().tenant, deadline=self._deadline(context)
        )
        return convert.embed_response(vectors, usage)

    async def CountTokens(
        self, request: inference_pb2.CountTokensRequest, context: Context
    ) -> inference_pb2.CountTokensResponse:
        """Tokenizes and counts."""
        check_input_counts(request.input, self._limits, field="input")
        given = convert.request_input(request.input)
        spec, num_tokens = await self._pipeline.count_tokens(
            request.model, given, tenant=current_principal.get().tenant, deadline=self._deadline(context)
        )
        return inference_pb2.CountTokensResponse(num_tokens=num_tokens, model=spec.name)

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Context
    ) -> inference_pb2.ListModelsResponse:
        """The models of the directory."""
        served = self._models.served()
        infos = [convert.model_info(model, self._dispatcher.num_ready(model.spec.name)) for model in served]
        return inference_pb2.ListModelsResponse(models=infos)

    async def GetCapabilities(
        self, request: inference_pb2.GetCapabilitiesRequest, context: Context
    ) -> inference_pb2.GetCapabilitiesResponse:
        """Limits, and what is not there."""
        return inference_pb2.GetCapabilitiesResponse(
            server_version=self._server_version,
            unimplemented=UNIMPLEMENTED,
            max_choices=self._limits.max_choices,
            max_stop_strings=self._limits.max_stop_strings,
            max_output_tokens=self._limits.max_output_tokens,
            max_message_bytes=self._max_message_bytes,
            max_request_duration=convert.duration(int(self._max_request_s * 1e9)),
        )

    def _deadline(self, context: Context) -> Deadline:
        return Deadline.from_context(context, self._max_request_s)
