"""What Prometheus reads: the GenAI histograms, and gauges that are read from the components when it asks."""

from collections.abc import Iterator
from typing import Generic, Protocol, Self, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.events import CacheReport, Usage
from penstock_gateway.generation import Generation
from penstock_gateway.quotas.admission import Admission
from penstock_gateway.timeline import Timeline
from penstock_shared import semconv

_LABELS = ("gen_ai_operation_name", "gen_ai_request_model")
_SECONDS_PER_NS = 1e-9
# A lookup has 50 ms.
_LOOKUP_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1)


class _Labelled(Protocol):
    """A metric with labels."""

    def labels(self, *values: str) -> Self:
        """The part of it that has these values."""


MetricT = TypeVar("MetricT", bound=_Labelled)


class _Parts(Generic[MetricT]):
    """A metric's parts by their labels, found again: the library's own `labels` takes most of the time of counting."""

    def __init__(self, metric: MetricT) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], MetricT] = {}

    def __call__(self, *values: str) -> MetricT:
        """The part that has these values; there are as many as the library itself keeps."""
        part = self._known.get(values)
        if part is None:
            part = self._known[values] = self._metric.labels(*values)
        return part


class GatewayMetrics:
    """Counts requests as they end. Nothing is done per token."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._time_to_first_token = self._histogram(
            semconv.METRIC_TIME_TO_FIRST_TOKEN,
            "From a streaming request's arrival to its first output.",
            semconv.TIME_TO_FIRST_TOKEN_BOUNDS_S,
        )
        self._time_per_output_token = self._histogram(
            semconv.METRIC_TIME_PER_OUTPUT_TOKEN,
            "Time between output tokens after the first.",
            semconv.TIME_PER_OUTPUT_TOKEN_BOUNDS_S,
        )
        self._duration = self._histogram(
            semconv.METRIC_REQUEST_DURATION, "Duration of requests.", semconv.REQUEST_DURATION_BOUNDS_S, "error_type"
        )
        self._tokens = self._counter("penstock_gateway_tokens", "Tokens of ended generations.", "direction", *_LABELS)
        self._cached_tokens = self._counter(
            "penstock_gateway_cached_prompt_tokens", "Input tokens that replicas found in their prefix cache.", *_LABELS
        )
        self._resumed = Counter(
            "penstock_gateway_resumed", "Moves of generations to another replica.", registry=self.registry
        )
        self._drafts = self._counter(
            "penstock_gateway_speculation_tokens",
            "Output tokens that replicas drafted, and those that were right.",
            "outcome",
            "gen_ai_request_model",
        )
        self._cache = self._counter("penstock_gateway_cache", "Requests by what the cache did.", "outcome")
        self._explorations = self._counter(
            "penstock_gateway_cache_explorations",
            "Stored answers that were compared with the model's: right, wrong, or unknown where nothing came of it.",
            "result",
        )
        self._lookups = _Parts(
            Histogram(
                "penstock_gateway_cache_lookup",
                "From asking the cache to its answer, or to giving it up.",
                ["outcome"],
                unit="seconds",
                buckets=_LOOKUP_BOUNDS_S,
                registry=self.registry,
            )
        )

    def observe_lookup(self, report: CacheReport, timeline: Timeline) -> None:
        """The cache was asked."""
        assert timeline.looking_ns is not None, "it was asked"
        assert timeline.looked_up_ns is not None, "it has answered or was given up"
        lasted_ns = timeline.looked_up_ns - timeline.looking_ns
        self._lookups(report.outcome.name.lower()).observe(lasted_ns * _SECONDS_PER_NS)

    def observe_exploration(self, is_equivalent: bool | None) -> None:
        """A stored answer was compared with the model's; None: it could not be."""
        result = "unknown" if is_equivalent is None else "right" if is_equivalent else "wrong"
        self._explorations(result).inc()

    def observe_cache(self, report: CacheReport) -> None:
        """What the cache did for a request."""
        self._cache(report.outcome.name.lower()).inc()

    def observe_request(self, timeline: Timeline, *, operation: str, model: str, error: str | None) -> None:
        """A request has ended; `error` is the name of its status where it failed."""
        duration_ns = (timeline.ended_ns or timeline.clock_ns()) - timeline.arrived_ns
        self._duration(operation, model, error or "").observe(duration_ns * _SECONDS_PER_NS)
        if timeline.first_sent_ns is not None:
            waited_ns = timeline.first_sent_ns - timeline.arrived_ns
            self._time_to_first_token(operation, model).observe(waited_ns * _SECONDS_PER_NS)

    def observe_generation(self, generation: Generation, *, operation: str) -> None:
        """Tokens of an answer that has ended, well or not; however many requests shared it, they were made once."""
        self.observe_tokens(generation.usage(), operation=operation, model=generation.job.spec.name)
        self._resumed.inc(generation.num_resumed)
        if generation.num_drafted_tokens:
            self._drafts("drafted", generation.job.spec.name).inc(generation.num_drafted_tokens)
            self._drafts("accepted", generation.job.spec.name).inc(generation.num_accepted_tokens)

    def observe_tokens(self, usage: Usage, *, operation: str, model: str) -> None:
        """Tokens of a request that has come to a replica."""
        self._tokens("input", operation, model).inc(usage.prompt_tokens)
        self._tokens("output", operation, model).inc(usage.completion_tokens)
        self._cached_tokens(operation, model).inc(usage.cached_prompt_tokens)

    def observe_pace(self, timeline: Timeline, generation: Generation, *, operation: str) -> None:
        """How the output came to the request that began it; one that joined did not see all of it come."""
        num_steps = generation.usage().completion_tokens // len(generation.choices) - 1
        if num_steps > 0 and timeline.first_token_ns is not None and timeline.last_token_ns is not None:
            decode_ns = timeline.last_token_ns - timeline.first_token_ns
            model = generation.job.spec.name
            self._time_per_output_token(operation, model).observe(decode_ns / num_steps * _SECONDS_PER_NS)

    def watch(self, admission: Admission, dispatcher: Dispatcher) -> None:
        """Adds the gauges of these components."""
        self.registry.register(_GaugeReader(admission, dispatcher))

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> "_Parts[Counter]":
        return _Parts(Counter(name, what, labels, registry=self.registry))

    def _histogram(self, name: str, what: str, bounds: tuple[float, ...], *labels: str) -> "_Parts[Histogram]":
        name = name.replace(".", "_")
        labels = (*_LABELS, *labels)
        return _Parts(Histogram(name, what, labels, unit="seconds", buckets=bounds, registry=self.registry))


class _GaugeReader(Collector):
    """Reads the components' state at the moment of a scrape."""

    def __init__(self, admission: Admission, dispatcher: Dispatcher) -> None:
        self._admission = admission
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges now."""
        yield _gauge("admitted_requests", "Requests under way.", self._admission.num_requests)
        yield _gauge("admitted_tokens", "Prompt tokens of requests under way.", self._admission.num_tokens)
        yield from self._queue_gauges()
        yield from self._credit_gauges()

    def _queue_gauges(self) -> Iterator[GaugeMetricFamily]:
        requests = GaugeMetricFamily("penstock_gateway_queue_requests", "Requests that wait.", labels=["model"])
        tokens = GaugeMetricFamily("penstock_gateway_queue_tokens", "Prompt tokens that wait.", labels=["model"])
        for model in sorted({model for model, _ in self._dispatcher.queues}):
            queues = self._dispatcher.queues_of(model)
            requests.add_metric([model], sum(map(len, queues)))
            tokens.add_metric([model], sum(queue.num_tokens for queue in queues))
        yield from (requests, tokens)

    def _credit_gauges(self) -> Iterator[GaugeMetricFamily]:
        labels = ["model", "replica"]
        granted = GaugeMetricFamily("penstock_gateway_credit_sequences", "Sequences granted.", labels=labels)
        spent = GaugeMetricFamily("penstock_gateway_running_sequences", "Sequences at a replica.", labels=labels)
        load = GaugeMetricFamily("penstock_gateway_replica_load", "Share of the credit spent.", labels=labels)
        cached = GaugeMetricFamily("penstock_gateway_replica_cached_blocks", "KV blocks it can reuse.", labels=labels)
        for link in self._dispatcher.links:
            where = [link.model, link.replica_id]
            granted.add_metric(where, link.ledger.credit.num_sequences)
            spent.add_metric(where, link.ledger.num_sequences)
            load.add_metric(where, link.ledger.load)
            cached.add_metric(where, link.num_cached_blocks)
        yield from (granted, spent, load, cached)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"penstock_gateway_{name}", what, value=value)
