"""The tenants file: JSON that an operator writes.

    {"version": 1,
     "default": {"requests_per_minute": 60},
     "tenants": {"acme": {"max_criticality": "standard", "max_requests": 64, "max_prompt_tokens": 100000,
                          "requests_per_minute": 600, "input_tokens_per_minute": 200000,
                          "output_tokens_per_minute": 50000, "cache_max_error_rate": 0.02,
                          "certificates": ["client.acme.example", "spiffe://acme/batch"]}}}

`certificates` are names in client certificates, alternative or common ones, each of one tenant. What else an entry
leaves out, it has from `default`, and what that leaves out, from the gateway's settings. A rate a minute of null is no
limit. `cache_max_error_rate`, in [0, 1], bounds the share of wrong answers that the cache serves by meaning; 0 turns
that off, and null leaves it to the model.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from penstock_gateway.identity.tenants import TenantPolicy, Tenants, TenantTable
from penstock_gateway.quotas.admission import Bounds
from penstock_gateway.quotas.rate_account import Rates
from penstock_gateway.requests import Criticality
from penstock_shared.documents import parse_document
from penstock_shared.principal import TENANT_RULE, is_tenant_name
from penstock_shared.watched_file import WatchedFile


def _check_tenant_name(name: str) -> str:
    if not is_tenant_name(name):
        raise ValueError(f"a tenant's name is {TENANT_RULE}")
    return name


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    max_criticality: Literal["sheddable", "standard", "critical"] = "critical"
    max_requests: PositiveInt | None = None
    max_prompt_tokens: PositiveInt | None = None
    requests_per_minute: PositiveInt | None = None
    input_tokens_per_minute: PositiveInt | None = None
    output_tokens_per_minute: PositiveInt | None = None
    cache_max_error_rate: Annotated[float, Field(ge=0, le=1)] | None = None

    def given(self) -> dict[str, Any]:
        """The fields that stand in the file."""
        return self.model_dump(exclude_unset=True)


class _Tenant(_Entry):
    certificates: tuple[str, ...] = ()


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    default: _Entry = _Entry()
    tenants: dict[Annotated[str, AfterValidator(_check_tenant_name)], _Tenant] = {}


def parse_tenants(content: bytes, without_file: Bounds) -> TenantTable:
    """The table that a file's content describes.

    Args:
        content: of the file.
        without_file: bounds where neither the tenant nor the default has any.

    Raises:
        ValueError: it is no tenants file; the message names the wrong field, its value and what is allowed.
    """
    document = parse_document(_Document, content)
    default = document.default.given()
    return TenantTable(
        default=_policy(document.default, without_file),
        by_name={
            name: _policy(_Tenant(**default | entry.given()), without_file) for name, entry in document.tenants.items()
        },
        by_certificate=_by_certificate(document.tenants),
    )


def watch_tenants(path: Path, without_file: Bounds) -> Tenants:
    """The tenants by the file at `path`, which need not exist.

    Raises:
        FailedPreconditionError: it exists and is no tenants file.
    """
    file = WatchedFile(path, partial(parse_tenants, without_file=without_file))
    return Tenants(file, default=TenantPolicy(without_file))


def _by_certificate(tenants: Mapping[str, _Tenant]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for tenant, entry in tenants.items():
        for name in entry.certificates:
            if found.setdefault(name, tenant) != tenant:
                raise ValueError(f"the certificate name {name!r} is that of two tenants: {found[name]} and {tenant}")
    return found


def _policy(entry: _Entry, without_file: Bounds) -> TenantPolicy:
    return TenantPolicy(
        bounds=Bounds(
            entry.max_requests or without_file.num_requests, entry.max_prompt_tokens or without_file.num_tokens
        ),
        rates=Rates(entry.requests_per_minute, entry.input_tokens_per_minute, entry.output_tokens_per_minute),
        max_criticality=Criticality[entry.max_criticality.upper()],
        cache_max_error_rate=entry.cache_max_error_rate,
    )
