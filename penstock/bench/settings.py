"""What a run is asked to do."""

from dataclasses import asdict, dataclass
from typing import Any

from penstock.bench.figures import Slo
from penstock.bench.workload import WorkloadShape


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """One run.

    Attributes:
        model: a served model; None: the only one.
        concurrency: closed loop: so many requests are always under way; None: open loop.
        rate_per_s: open loop: conversations that begin a second; None: closed loop.
        num_requests: most requests; None: no limit.
        duration_s: no request begins later; None: no limit.
        shape: how the requests look.
        seed: decides the whole plan.
        timeout_s: deadline of each request.
        slo: what counts as good.
        uses_cache: whether answers may come from the cache.
    """

    model: str | None
    concurrency: int | None
    rate_per_s: float | None
    num_requests: int | None
    duration_s: float | None
    shape: WorkloadShape
    seed: int
    timeout_s: float
    slo: Slo
    uses_cache: bool

    def to_fields(self) -> dict[str, Any]:
        """Ready for JSON; distributions as they are written on the command line."""
        fields = asdict(self)
        shape = self.shape
        lengths = {"prompt_tokens": shape.prompt_tokens, "output_tokens": shape.output_tokens, "turns": shape.turns}
        fields["shape"] |= {name: str(value) for name, value in lengths.items()}
        return fields


_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of `250ms`, `30s`, `2m`, `1h`, or a bare number of seconds.

    Raises:
        ValueError: it is none, or not above 0; the message says what is allowed.
    """
    number = text.rstrip("msh")
    try:
        duration_s = float(number) * _UNITS_S[text[len(number) :] or "s"]
    except (KeyError, ValueError):
        duration_s = 0.0
    if not 0 < duration_s < float("inf"):
        raise ValueError(f"got {text!r}; allowed: a time above 0 like 250ms, 30s, 2m or 1h")
    return duration_s
