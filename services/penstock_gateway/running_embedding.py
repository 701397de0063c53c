"""An `Embed` request on its way through the gateway."""

from dataclasses import dataclass

from penstock_gateway.events import Usage
from penstock_gateway.requests import EmbedRequest
from penstock_gateway.running_request import UNKNOWN_MODEL
from penstock_gateway.telemetry.request_spans import RequestTrace
from penstock_gateway.timeline import Timeline
from penstock_shared.deadlines import Deadline


@dataclass(slots=True)
class RunningEmbedding:
    """What is known of it between its arrival and its end.

    Attributes:
        model: the name of the model that is meant, once that is known.
        usage: its tokens, once they are counted.
        error: the name of the status that it failed with.
    """

    asked: EmbedRequest
    tenant: str
    deadline: Deadline
    request_id: str
    timeline: Timeline
    trace: RequestTrace
    model: str = UNKNOWN_MODEL
    usage: Usage | None = None
    error: str | None = None
