"""Tracing by timestamps: a span is built when the thing it tells of has ended, from the times noted meanwhile.

Sampling is decided once, at the root. An unsampled request costs a random number and a header; nothing is done per
message.
Contexts travel as W3C `traceparent` (https://www.w3.org/TR/trace-context/).
"""

import random
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock_shared import semconv

if TYPE_CHECKING:
    from penstock_shared.settings import ServiceSettings

TRACEPARENT_KEY = "traceparent"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED_FLAG = 1
_EXPORT_DELAY_MS = 500.0

AttributeValue = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span's place in a trace: trace id (128 bits), span id (64 bits), and whether the trace is recorded."""

    trace_id: int
    span_id: int
    is_sampled: bool

    @classmethod
    def parse(cls, traceparent: str | None) -> "TraceContext | None":
        """The context of a `traceparent` header; None where it is absent or malformed, as the standard asks."""
        match = _TRACEPARENT.fullmatch(traceparent or "")
        if match is None:
            return None
        trace_id, span_id, flags = (int(group, 16) for group in match.groups())
        if trace_id == 0 or span_id == 0:
            return None
        return cls(trace_id, span_id, is_sampled=bool(flags & _SAMPLED_FLAG))

    def traceparent(self) -> str:
        """This context as a header for the callee."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"

    @property
    def trace_id_hex(self) -> str:
        """The trace id as people and dashboards write it."""
        return f"{self.trace_id:032x}"


current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)


class Tracer:
    """Makes trace contexts and hands finished spans to an exporter, in batches and off the caller's path.

    Args:
        service_name: `service.name` of the resource.
        exporter: where spans go; None: contexts are still made and passed on, nothing is recorded here.
        sample_ratio: share of the traces begun here that are recorded, in [0, 1].
        randomness: source of ids and sampling decisions.
    """

    def __init__(
        self,
        service_name: str,
        *,
        exporter: SpanExporter | None = None,
        sample_ratio: float = 1.0,
        randomness: random.Random | None = None,
    ) -> None:
        self._sample_ratio = sample_ratio
        self._random = randomness or random.Random()  # noqa: S311 - ids need no secrecy
        self._resource = Resource.create({"service.name": service_name})
        self._scope = InstrumentationScope("penstock")
        self._processor = (
            None if exporter is None else BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_DELAY_MS)
        )

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """The context of a new span under `parent`, or of a new trace."""
        span_id = self._random.getrandbits(64) or 1
        if parent is not None:
            return TraceContext(parent.trace_id, span_id, parent.is_sampled)
        is_sampled = self._processor is not None and self._random.random() < self._sample_ratio
        return TraceContext(self._random.getrandbits(128) or 1, span_id, is_sampled)

    def record(
        self,
        name: str,
        context: TraceContext,
        *,
        parent: TraceContext | None,
        start_ns: int,
        end_ns: int,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        error: str | None = None,
    ) -> None:
        """Records a span that has ended.

        Args:
            name: what was done.
            context: its own context, from `begin`.
            parent: the context it was begun under.
            start_ns: wall clock, nanoseconds since the epoch.
            end_ns: the same clock.
            kind: its role in a call.
            attributes: names of `semconv`.
            error: its failure (`error.type`), where it failed.
        """
        if self._processor is None or not context.is_sampled:
            return
        found = dict(attributes or {})
        if error is not None:
            found[semconv.ERROR_TYPE] = error
        span = ReadableSpan(
            name,
            context=_span_context(context),
            parent=None if parent is None else _span_context(parent),
            resource=self._resource,
            attributes=found,
            kind=kind,
            status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR),
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)

    def shutdown(self) -> None:
        """Sends what is left and stops."""
        if self._processor is not None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]


def make_tracer(service_name: str, settings: "ServiceSettings") -> Tracer:
    """The tracer that `settings` ask for: OTLP over gRPC where an endpoint is set."""
    if settings.otlp_endpoint is None:
        return Tracer(service_name)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow

    exporter = OTLPSpanExporter(
        endpoint=settings.otlp_endpoint, insecure=not settings.otlp_endpoint.startswith("https://")
    )
    return Tracer(service_name, exporter=exporter, sample_ratio=settings.trace_sample_ratio)


def _span_context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(_SAMPLED_FLAG if context.is_sampled else 0)
    return SpanContext(context.trace_id, context.span_id, is_remote=False, trace_flags=flags)
