"""The tenants file as an operator writes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock_gateway.identity.tenants import TenantPolicy
from penstock_gateway.identity.tenants_file import parse_tenants, watch_tenants
from penstock_gateway.quotas.admission import Bounds
from penstock_gateway.quotas.rate_account import Rates
from penstock_gateway.requests import Criticality, GenerationRequest
from penstock_shared.errors import FailedPreconditionError

SETTINGS = Bounds(100, 1000)


def document(**fields: Any) -> bytes:
    """A file of the current version."""
    return json.dumps({"version": 1, **fields}).encode()


def test_a_tenant_has_what_its_entry_says_else_the_default_else_the_settings() -> None:
    """An operator writes down what differs."""
    table = parse_tenants(
        document(
            default={
                "requests_per_minute": 60,
                "max_requests": 5,
                "max_criticality": "standard",
                "cache_max_error_rate": 0.02,
            },
            tenants={
                "acme": {"requests_per_minute": 600, "output_tokens_per_minute": 50, "max_prompt_tokens": 7},
                "strict": {"cache_max_error_rate": 0},
                "batch": {"max_criticality": "sheddable", "requests_per_minute": None},
            },
        ),
        SETTINGS,
    )
    assert table.policy_of("acme") == TenantPolicy(Bounds(5, 7), Rates(600, None, 50), Criticality.STANDARD, 0.02)
    assert table.policy_of("batch") == TenantPolicy(Bounds(5, 1000), Rates(), Criticality.SHEDDABLE, 0.02)
    assert table.policy_of("unnamed") == TenantPolicy(Bounds(5, 1000), Rates(60), Criticality.STANDARD, 0.02)
    assert table.policy_of("strict").cache_max_error_rate == 0


def test_without_a_file_everybody_has_the_settings(tmp_path: Path) -> None:
    """Nothing to write for a start."""
    tenants = watch_tenants(tmp_path / "tenants.json", SETTINGS)
    assert tenants.policy_of("anybody") == TenantPolicy(SETTINGS, Rates(), Criticality.CRITICAL)


def test_criticality_is_capped_and_never_raised(tmp_path: Path) -> None:
    """A client must not push itself before those who pay for it."""
    path = tmp_path / "tenants.json"
    path.write_bytes(document(tenants={"acme": {"max_criticality": "standard"}}))
    tenants = watch_tenants(path, SETTINGS)

    def capped(criticality: Criticality, tenant: str) -> Criticality:
        return tenants.capped(GenerationRequest("", None, criticality=criticality), tenant).criticality

    assert [capped(criticality, "acme") for criticality in Criticality] == [
        Criticality.SHEDDABLE,
        Criticality.STANDARD,
        Criticality.STANDARD,
    ]
    assert capped(Criticality.CRITICAL, "other") is Criticality.CRITICAL


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Invalid JSON"),
        (document(tenants={"acme": {"requests_per_minute": 0}}), "requests_per_minute: got 0; Input should be greater"),
        (document(tenants={"acme": {"max_criticality": "high"}}), "'sheddable', 'standard' or 'critical'"),
        (document(tenants={"acme": {"request_per_minute": 1}}), "request_per_minute: got 1; Extra inputs"),
        (document(tenants={"a b": {}}), "a tenant's name is 1 to 64 letters"),
        (document(tenants={"a": {"certificates": ["x"]}, "b": {"certificates": ["x"]}}), "'x' is that of two tenants"),
        (
            document(tenants={"a": {"cache_max_error_rate": 2}}),
            "cache_max_error_rate: got 2; Input should be less than",
        ),
        (b'{"version": 3}', "version: got 3; Input should be 1"),
        (b"{}", "version: Field required"),
    ],
)
def test_what_is_wrong_is_told_by_name(tmp_path: Path, content: bytes, told: str) -> None:
    """A misspelt limit that is taken for none would be found out by the bill."""
    path = tmp_path / "tenants.json"
    path.write_bytes(content)
    with pytest.raises(FailedPreconditionError) as caught:
        watch_tenants(path, SETTINGS)
    assert told in caught.value.message
    assert str(path) in caught.value.message
