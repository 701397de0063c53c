"""How often an answer found by meaning may be wrong: who says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock_gateway.requests import CachePolicy


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Largest accepted shares of wrong semantic hits, in [0, 1]; 0: by meaning, nothing is found or kept.

    Attributes:
        of_tenant: a tenant's own; None: it has none.
        by_model: of models that have one of their own.
        default: of everybody else.
    """

    of_tenant: Callable[[str], float | None]
    by_model: Mapping[str, float]
    default: float

    def in_force(self, policy: CachePolicy, *, tenant: str, model: str) -> float:
        """The request's, else the tenant's, else the model's, else the default."""
        for asked in (policy.max_error_rate, self.of_tenant(tenant), self.by_model.get(model)):
            if asked is not None:
                return asked
        return self.default
