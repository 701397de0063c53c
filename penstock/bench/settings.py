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
