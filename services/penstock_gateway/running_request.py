"""A request on its way through the pipeline."""

from collections.abc import Callable
from dataclasses import dataclass

from penstock_gateway.cache.planner import CacheUse
from penstock_gateway.cache.stored_answer import StoredAnswer
from penstock_gateway.events import Started, Usage
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Generation
from penstock_gateway.requests import GenerationRequest
from penstock_gateway.telemetry.request_spans import RequestTrace
from penstock_gateway.timeline import Timeline
from penstock_shared.deadlines import Deadline

# The label of requests that named no model we know: a caller's text must not make labels.
UNKNOWN_MODEL = "unknown"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Where the names and numbers of new requests come from."""

    new_request_id: Callable[[], str]
    new_sequence_id: Callable[[], int]
    draw_seed: Callable[[], int]


@dataclass(slots=True)
class RunningRequest:
    """What is known of a request between its arrival and its end; both are told with it.

    Attributes:
        model: the name of the model that is meant, once that is known.
        flight_key: names its answer to requests that may share it; None: nobody may.
        cache: what the cache may do, once that is known.
        exploration_token: goes back to the cache with the answer, where it wants to compare it.
        hit: what was told, where the answer was there already.
        generation: where it was not; perhaps shared.
        follower: its share of the generation.
        error: the name of the status that it failed with.
    """

    asked: GenerationRequest
    tenant: str
    deadline: Deadline
    is_streaming: bool
    request_id: str
    operation: str
    timeline: Timeline
    trace: RequestTrace
    model: str = UNKNOWN_MODEL
    flight_key: bytes | None = None
    cache: CacheUse | None = None
    exploration_token: bytes = b""
    hit: tuple[Started, StoredAnswer] | None = None
    generation: Generation | None = None
    follower: Follower | None = None
    error: str | None = None

    def usage(self) -> Usage | None:
        """Tokens of its answer so far; None where it did not come to one."""
        if self.generation is not None:
            return self.generation.usage()
        return None if self.hit is None else self.hit[1].usage
