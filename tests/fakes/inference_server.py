"""An InferenceService over real loopback gRPC that plays what a test wrote down, and notes what it was sent."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_shared.errors import PenstockError, to_rich_status

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@dataclass(frozen=True)
class Hold:
    """A step at which the server waits until the call is gone."""


@dataclass(frozen=True)
class Pause:
    """A step that takes its time, as a model does."""

    seconds: float


@dataclass(frozen=True)
class Status:
    """A step that ends the call with a bare status."""

    code: grpc.StatusCode
    message: str


Step = inference_pb2.GenerateResponse | PenstockError | Status | Hold | Pause


@dataclass
class Seen:
    """One call as the server saw it."""

    method: str
    request: Any
    metadata: dict[str, str]
    time_remaining_s: float | None


@dataclass
class ScriptedInference(inference_pb2_grpc.InferenceServiceServicer):
    """Plays `script` to each caller, to `max_concurrent` at a time; as a context manager, serves on `address`."""

    script: Sequence[Step] = ()
    failures_first: list[Step] = field(default_factory=list)
    models: Sequence[inference_pb2.ModelInfo] = ()
    seen: list[Seen] = field(default_factory=list)
    is_holding: threading.Event = field(default_factory=threading.Event)
    is_gone: threading.Event = field(default_factory=threading.Event)
    max_concurrent: int = 8
    address: str = ""
    _has_seen: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(self.max_concurrent))
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def wait_until_seen(self, num_calls: int, method: str, timeout_s: float) -> bool:
        """Whether so many calls of `method` have come, at the latest after `timeout_s`."""
        with self._has_seen:
            return self._has_seen.wait_for(lambda: len(self.calls(method)) >= num_calls, timeout_s)

    def calls(self, method: str) -> list[Seen]:
        """The calls of `method` so far."""
        return [seen for seen in self.seen if seen.method == method]

    def Generate(self, request: Any, context: Any) -> Iterator[inference_pb2.GenerateResponse]:  # noqa: N802
        """Streams the script."""
        self._note("Generate", request, context)
        yield from self._play(context)

    def Complete(self, request: Any, context: Any) -> inference_pb2.CompleteResponse:  # noqa: N802
        """Sends the script in one message."""
        self._note("Complete", request, context)
        response = inference_pb2.CompleteResponse()
        for event in self._play(context):
            kind = event.WhichOneof("event")
            if kind == "started":
                response.started.CopyFrom(event.started)
            elif kind == "delta":
                output = _choice(response, event.delta.choice).output
                text = output.text + event.delta.text
                output.MergeFrom(event.delta)
                output.text = text
            elif kind == "finished":
                _choice(response, event.finished.choice).finished.CopyFrom(event.finished)
            elif kind == "prompt_logprobs":
                response.prompt_logprobs.MergeFrom(event.prompt_logprobs)
            elif kind == "final":
                response.final.CopyFrom(event.final)
        return response

    def CountTokens(self, request: Any, context: Any) -> inference_pb2.CountTokensResponse:  # noqa: N802
        """Counts the words of a text, or of all turns of a chat."""
        self._note("CountTokens", request, context)
        texts = [request.input.text, *(message.content for message in request.input.chat.messages)]
        return inference_pb2.CountTokensResponse(num_tokens=sum(len(text.split()) for text in texts), model="pocket")

    def Embed(self, request: Any, context: Any) -> inference_pb2.EmbedResponse:  # noqa: N802
        """Two numbers for each input: its characters or tokens, and one half."""
        self._note("Embed", request, context)
        lengths = [len(given.text) + len(given.token_ids.ids) for given in request.inputs]
        embeddings = [inference_pb2.Embedding(values=[length, 0.5]) for length in lengths]
        return inference_pb2.EmbedResponse(embeddings=embeddings, usage=types_pb2.Usage(prompt_tokens=sum(lengths)))

    def ListModels(self, request: Any, context: Any) -> inference_pb2.ListModelsResponse:  # noqa: N802
        """Lists `models`."""
        self._note("ListModels", request, context)
        return inference_pb2.ListModelsResponse(models=self.models)

    def GetCapabilities(self, request: Any, context: Any) -> inference_pb2.GetCapabilitiesResponse:  # noqa: N802
        """Tells fixed limits."""
        self._note("GetCapabilities", request, context)
        response = inference_pb2.GetCapabilitiesResponse(
            server_version="9.9.9", unimplemented=["Resume"], max_choices=16, max_output_tokens=512
        )
        response.max_request_duration.FromMilliseconds(1500)
        return response

    def _note(self, method: str, request: Any, context: Any) -> None:
        with self._has_seen:
            self.seen.append(Seen(method, request, dict(context.invocation_metadata()), context.time_remaining()))
            self._has_seen.notify_all()

    def _play(self, context: Any) -> Iterator[inference_pb2.GenerateResponse]:
        context.add_callback(self.is_gone.set)
        steps = [self.failures_first.pop(0)] if self.failures_first else self.script
        for step in steps:
            match step:
                case Hold():
                    self.is_holding.set()
                    self.is_gone.wait()
                case Pause(seconds):
                    time.sleep(seconds)
                case Status():
                    context.abort(step.code, step.message)
                case PenstockError():
                    context.abort_with_status(to_rich_status(step))
                case _:
                    yield step


def _choice(response: inference_pb2.CompleteResponse, index: int) -> Any:
    while len(response.choices) <= index:
        response.choices.add()
    return response.choices[index]


def started(**changes: Any) -> inference_pb2.GenerateResponse:
    """The first event."""
    message = inference_pb2.Started(
        request_id="req-1",
        model="pocket",
        model_revision="r1",
        replica="pocket-0",
        routing_reason="least loaded",
        cache=inference_pb2.CacheReport(outcome=inference_pb2.CACHE_OUTCOME_SKIPPED, reason="no cache"),
        sampling=types_pb2.ResolvedSampling(temperature=0.0, top_p=1.0, seed=7, n=1, max_tokens=32),
        trace_id=TRACE_ID,
        prompt_tokens=8,
    )
    message.MergeFrom(inference_pb2.Started(**changes))
    return inference_pb2.GenerateResponse(started=message)


def delta(text: str, *token_ids: int, choice: int = 0) -> inference_pb2.GenerateResponse:
    """More output."""
    return inference_pb2.GenerateResponse(delta=inference_pb2.Delta(choice=choice, text=text, token_ids=token_ids))


def prompt_logprobs(*token_ids: int) -> inference_pb2.GenerateResponse:
    """More of the prompt's log probabilities, with one alternative each."""
    top = [types_pb2.TopLogprob(token_id=9, logprob=-0.25)]
    tokens = [types_pb2.TokenLogprobs(token_id=token_id, logprob=-1.0, top=top) for token_id in token_ids]
    return inference_pb2.GenerateResponse(prompt_logprobs=inference_pb2.PromptLogprobs(tokens=tokens))


def finished(
    reason: types_pb2.FinishReason.ValueType = types_pb2.FINISH_REASON_STOP, *, choice: int = 0, **stop: Any
) -> inference_pb2.GenerateResponse:
    """The end of a choice."""
    return inference_pb2.GenerateResponse(finished=inference_pb2.Finished(choice=choice, reason=reason, **stop))


def final() -> inference_pb2.GenerateResponse:
    """The last event: 12 ms in all, 3 ms to the first token."""
    message = inference_pb2.Final(
        usage=types_pb2.Usage(prompt_tokens=8, completion_tokens=2, cached_prompt_tokens=4),
        is_exact_continuation=True,
    )
    message.timings.total.FromMilliseconds(12)
    message.timings.queue.FromNanoseconds(250_000)
    message.timings.time_to_first_token.FromMilliseconds(3)
    return inference_pb2.GenerateResponse(final=message)


def paris() -> list[Step]:
    """A whole short answer: "Paris." in two pieces, tokens 11 and 12."""
    return [started(), delta("Par", 11), delta("is.", 12), finished(stop_token_id=2), final()]


def pocket_model(*, has_template: bool = True) -> inference_pb2.ModelInfo:
    """The entry of a model named "pocket"."""
    spec = types_pb2.ModelSpec(
        name="pocket",
        revision="r1",
        context_length=512,
        vocab_size=4096,
        eos_token_ids=[2],
        template_fingerprint="t1" if has_template else "",
    )
    return inference_pb2.ModelInfo(spec=spec, num_ready_replicas=2)
