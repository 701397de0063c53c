"""What each tenant may do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from penstock_gateway.quotas.admission import Bounds
from penstock_gateway.quotas.rate_account import Rates
from penstock_gateway.requests import Criticality, EmbedRequest, GenerationRequest
from penstock_shared.watched_file import WatchedFile

AskedT = TypeVar("AskedT", EmbedRequest, GenerationRequest)


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """What one tenant may do.

    Attributes:
        bounds: of what it has under way at once.
        rates: of what it uses a minute.
        max_criticality: its requests count as this at most.
        cache_max_error_rate: largest accepted share of wrong answers by meaning; None: the model's.
    """

    bounds: Bounds
    rates: Rates = field(default_factory=Rates)
    max_criticality: Criticality = Criticality.CRITICAL
    cache_max_error_rate: float | None = None


@dataclass(frozen=True, slots=True)
class TenantTable:
    """The policies of all tenants; those not named have the default.

    Attributes:
        default: the policy of tenants that are not named.
        by_name: of those that are.
        by_certificate: the tenant of a name that stands in a client's certificate.
    """

    default: TenantPolicy
    by_name: Mapping[str, TenantPolicy] = field(default_factory=dict)
    by_certificate: Mapping[str, str] = field(default_factory=dict)

    def policy_of(self, tenant: str) -> TenantPolicy:
        """What `tenant` may do."""
        return self.by_name.get(tenant, self.default)


class Tenants:
    """The table as the tenants file has it now; the default for everybody where there is none.

    Args:
        file: of the table.
        default: the policy without a file.
    """

    def __init__(self, file: WatchedFile[TenantTable], default: TenantPolicy) -> None:
        self._file = file
        self._without_file = TenantTable(default)

    def policy_of(self, tenant: str) -> TenantPolicy:
        """What `tenant` may do now."""
        return self._table.policy_of(tenant)

    @property
    def knows_certificates(self) -> bool:
        """Whether any tenant has one."""
        return bool(self._table.by_certificate)

    def of_certificate(self, names: Iterable[str]) -> Mapping[str, str]:
        """The tenants that a certificate with these names belongs to, by the name that says so."""
        by_certificate = self._table.by_certificate
        return {name: by_certificate[name] for name in names if name in by_certificate}

    def bounds_of(self, tenant: str) -> Bounds:
        """What `tenant` may have under way at once."""
        return self.policy_of(tenant).bounds

    def rates_of(self, tenant: str) -> Rates:
        """What `tenant` may use a minute."""
        return self.policy_of(tenant).rates

    def cache_max_error_rate_of(self, tenant: str) -> float | None:
        """How often the cache may be wrong for `tenant`, where that is its own to say."""
        return self.policy_of(tenant).cache_max_error_rate

    def capped(self, asked: AskedT, tenant: str) -> AskedT:
        """The request, as critical as `tenant`'s may be at most."""
        highest = self.policy_of(tenant).max_criticality
        return asked if asked.criticality <= highest else replace(asked, criticality=highest)

    @property
    def _table(self) -> TenantTable:
        return self._file.current() or self._without_file
