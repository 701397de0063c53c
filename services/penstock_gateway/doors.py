"""Wires what decides who gets in and how much they may use, from the settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from penstock.client.channel import is_loopback
from penstock_gateway.identity.authentication import Authenticator
from penstock_gateway.identity.key_ring import KeyRing
from penstock_gateway.identity.tenants import Tenants
from penstock_gateway.identity.tenants_file import watch_tenants
from penstock_gateway.identity.token_verifier import TokenRules, TokenVerifier, watch_jwks
from penstock_gateway.quotas.admission import Bounds
from penstock_gateway.settings import GatewaySettings
from penstock_shared.audit_log import AuditLog
from penstock_shared.call_record import CallRecord
from penstock_shared.errors import FailedPreconditionError
from penstock_shared.key_file import parse_keys
from penstock_shared.state_files import AUDIT_FILE_NAME, KEYS_FILE_NAME, TENANTS_FILE_NAME
from penstock_shared.watched_file import WatchedFile


@dataclass(frozen=True, slots=True)
class Doors:
    """What the gateway needs for them.

    Attributes:
        tenants: what each tenant may do.
        authenticate: finds out who calls.
        audit: writes down who did; None: nobody does.
    """

    tenants: Tenants
    authenticate: Authenticator
    audit: AuditLog | None

    @property
    def observe(self) -> Callable[[CallRecord], None] | None:
        """Told of every call that has ended."""
        return None if self.audit is None else self.audit.add


def make_doors(settings: GatewaySettings) -> Doors:
    """The doors as the settings want them.

    Raises:
        FailedPreconditionError: the key, JWKS or tenants file cannot be read, or other machines would be let in without
            a credential.
    """
    bounds = Bounds(settings.max_requests_per_tenant, settings.max_prompt_tokens_per_tenant)
    tenants = watch_tenants(settings.tenants_file or settings.state_dir / TENANTS_FILE_NAME, bounds)
    return Doors(tenants, _authenticator(settings, tenants), _audit_log(settings))


def _authenticator(settings: GatewaySettings, tenants: Tenants) -> Authenticator:
    keys_file = settings.keys_file or settings.state_dir / KEYS_FILE_NAME
    authenticator = Authenticator(
        KeyRing(WatchedFile(keys_file, parse_keys), wall_clock=time.time),
        tenants,
        _token_verifier(settings),
        asks_for_certificates=settings.tls_client_ca_file is not None,
    )
    if authenticator.lets_everybody_in and not (is_loopback(settings.bind) or settings.allow_anonymous):
        raise FailedPreconditionError(
            f"PENSTOCK_GATEWAY_BIND: {settings.bind} is open to other machines, and there is no API key and neither "
            "PENSTOCK_GATEWAY_JWKS_FILE nor PENSTOCK_GATEWAY_TLS_CLIENT_CA_FILE; make a key with `penstock keys create "
            "--tenant NAME`, or let everybody in with PENSTOCK_GATEWAY_ALLOW_ANONYMOUS=true"
        )
    return authenticator


def _token_verifier(settings: GatewaySettings) -> TokenVerifier | None:
    if settings.jwks_file is None:
        return None
    rules = TokenRules(settings.jwt_tenant_claim, settings.jwt_issuer, settings.jwt_audience)
    return TokenVerifier(watch_jwks(settings.jwks_file), rules, wall_clock=time.time)


def _audit_log(settings: GatewaySettings) -> AuditLog | None:
    if not settings.audit_log:
        return None
    path = settings.audit_file or settings.state_dir / AUDIT_FILE_NAME
    return AuditLog(path, max_bytes=settings.audit_max_bytes, max_files=settings.audit_max_files)
