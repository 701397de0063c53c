"""What the gateway can be told, by environment variables that begin with PENSTOCK_GATEWAY_."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from penstock_shared.settings import ServiceSettings
from penstock_shared.tls import TlsFiles
from penstock_shared.transport_limits import TransportLimits

_ADDRESS = r"^.+:\d+$"
# Between the end of a request by its deadline and the answer's last byte at the client.
_LAST_WORDS_S = 10.0

_ErrorRate = Annotated[float, Field(ge=0, le=1)]


def _parse_rates(given: object) -> object:
    """A table of NAME=RATE,NAME=RATE."""
    if not isinstance(given, str):
        return given
    pairs = [pair.rpartition("=") for pair in given.split(",") if pair.strip()]
    if not all(name.strip() for name, _, _ in pairs):
        raise ValueError("allowed: NAME=RATE,NAME=RATE with rates in [0, 1]")
    return {name.strip(): rate.strip() for name, _, rate in pairs}


class GatewaySettings(ServiceSettings):
    """Settings of the gateway.

    Attributes:
        bind: host:port for gRPC; port 0 lets the system choose.
        http_bind: host:port for /healthz and /metrics.
        admin_bind: host:port for operators: gRPC, with the fleet credential.
        tls_cert_file, tls_key_file: the certificate shown to clients and its key (PEM); None: plaintext.
        tls_client_ca_file: clients must show a certificate that one of these has signed; None: they are not asked.
        reflection: describe the services at the door for clients, too.
        tokenizer_address: of the tokenizer service.
        fleet_address: of the fleet, which knows models and replicas.
        cache_address: of the cache service; None: every answer is generated.
        cache_budget_s: the longest that a lookup may take; slower, the cache is skipped.
        cache_max_error_rate: largest accepted share of wrong answers among requests that are compared by meaning, where
            neither request nor tenant nor model says another; 0: only the very same request finds an answer.
        cache_max_error_rate_by_model: the same for some models, as NAME=RATE,NAME=RATE.
        max_message_bytes: bound of one gRPC message.
        max_metadata_bytes: bound of one call's metadata.
        max_connections, max_streams_per_connection, max_calls: bounds of what is open at the same time.
        max_connection_age_s: then a client is told to connect again; its calls may go on for as long as any request.
        keepalive_s, keepalive_timeout_s: how often a client is asked whether it is there, and how long it may take.
        min_ping_interval_s: a client that pings more often is disconnected.
        handshake_timeout_s: for TLS and the first frames.
        max_input_bytes: bound of one request's text.
        max_output_tokens: bound of one choice.
        max_constraint_bytes: bound of one schema, regular expression, grammar or list of choices.
        constraint_processes: how many constraints are tried out at once.
        constraint_cpu_s: CPU time that it may take to compile one.
        max_request_s: longest a request may take, whatever deadline its client sets.
        max_requests, max_prompt_tokens: bounds of all that is under way.
        max_requests_per_tenant, max_prompt_tokens_per_tenant: the same for each tenant that has no bounds of its own.
        client_buffer_bytes: most output that waits for one client to read it.
        keys_file: of the API keys; None: `keys.json` in the state directory.
        tenants_file: what each tenant may do; None: `tenants.json` in the state directory.
        jwks_file: public keys of those who may sign tokens (JWKS); None: tokens are not accepted.
        jwt_issuer, jwt_audience: what a token must say of its maker and its purpose; None: anything.
        jwt_tenant_claim: the claim of a token that names the tenant.
        audit_log: write one line for each call.
        audit_file: where; None: `audit.log` in the state directory.
        audit_max_bytes, audit_max_files: a fuller file is put aside as `.1`, `.2`; so many are kept.
        allow_anonymous: listen to other machines even where nothing is configured by which clients show who they are.
        longest_wait_without_replica_s: how long a request waits while no replica of its model is there or loading.
    """

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_GATEWAY_")

    bind: str = Field("127.0.0.1:50051", pattern=_ADDRESS)
    http_bind: str = Field("127.0.0.1:8080", pattern=_ADDRESS)
    admin_bind: str = Field("127.0.0.1:50055", pattern=_ADDRESS)
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    reflection: bool = False
    tokenizer_address: str = Field("127.0.0.1:50053", pattern=_ADDRESS)
    fleet_address: str = Field("127.0.0.1:50054", pattern=_ADDRESS)
    cache_address: str | None = Field(None, pattern=_ADDRESS)
    cache_budget_s: float = Field(0.05, gt=0, le=60)
    cache_max_error_rate: _ErrorRate = 0.01
    cache_max_error_rate_by_model: Annotated[Mapping[str, _ErrorRate], NoDecode, BeforeValidator(_parse_rates)] = Field(
        {}
    )
    max_message_bytes: int = Field(16 << 20, ge=1 << 16)
    max_metadata_bytes: int = Field(16 << 10, ge=1 << 10, le=1 << 20)
    max_connections: int = Field(1024, ge=1)
    max_streams_per_connection: int = Field(1024, ge=1)
    max_calls: int = Field(4096, ge=1)
    max_connection_age_s: float = Field(1800.0, ge=0.001)
    keepalive_s: float = Field(60.0, ge=0.001)
    keepalive_timeout_s: float = Field(20.0, ge=0.001)
    min_ping_interval_s: float = Field(10.0, ge=0)
    handshake_timeout_s: float = Field(10.0, ge=0.001)
    max_input_bytes: int = Field(1 << 20, ge=1)
    max_output_tokens: int = Field(4096, ge=1)
    max_constraint_bytes: int = Field(64 << 10, ge=1)
    constraint_processes: int = Field(2, ge=1, le=64)
    constraint_cpu_s: float = Field(0.25, gt=0)
    max_request_s: float = Field(600.0, gt=0)
    max_requests: int = Field(2048, ge=1)
    max_requests_per_tenant: int = Field(2048, ge=1)
    max_prompt_tokens: int = Field(4 << 20, ge=1)
    max_prompt_tokens_per_tenant: int = Field(4 << 20, ge=1)
    client_buffer_bytes: int = Field(256 << 10, ge=1 << 10)
    longest_wait_without_replica_s: float = Field(15.0, ge=0)
    keys_file: Path | None = None
    tenants_file: Path | None = None
    jwks_file: Path | None = None
    jwt_issuer: str | None = Field(None, min_length=1)
    jwt_audience: str | None = Field(None, min_length=1)
    jwt_tenant_claim: str = Field("tenant", min_length=1)
    audit_log: bool = True
    audit_file: Path | None = None
    audit_max_bytes: int = Field(64 << 20, ge=1 << 16)
    audit_max_files: int = Field(5, ge=1)
    allow_anonymous: bool = False

    @model_validator(mode="after")
    def _check_input_fits_message(self) -> "GatewaySettings":
        if self.max_input_bytes > self.max_message_bytes:
            raise ValueError("PENSTOCK_GATEWAY_MAX_INPUT_BYTES must be at most PENSTOCK_GATEWAY_MAX_MESSAGE_BYTES")
        return self

    @model_validator(mode="after")
    def _check_tls_is_whole(self) -> "GatewaySettings":
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("PENSTOCK_GATEWAY_TLS_CERT_FILE and PENSTOCK_GATEWAY_TLS_KEY_FILE are set together")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("PENSTOCK_GATEWAY_TLS_CLIENT_CA_FILE needs PENSTOCK_GATEWAY_TLS_CERT_FILE")
        return self

    @property
    def tls_files(self) -> TlsFiles | None:
        """Of the door for clients; None where it speaks plaintext."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)

    @property
    def transport_limits(self) -> TransportLimits:
        """Those of the door for clients."""
        return TransportLimits(
            max_message_bytes=self.max_message_bytes,
            max_metadata_bytes=self.max_metadata_bytes,
            max_connections=self.max_connections,
            max_streams_per_connection=self.max_streams_per_connection,
            max_calls=self.max_calls,
            max_pending_calls=2 * self.max_calls,  # room for those that are told that there are too many
            max_connection_age_s=self.max_connection_age_s,
            connection_age_grace_s=self.max_request_s + _LAST_WORDS_S,
            keepalive_s=self.keepalive_s,
            keepalive_timeout_s=self.keepalive_timeout_s,
            min_ping_interval_s=self.min_ping_interval_s,
            handshake_timeout_s=self.handshake_timeout_s,
        )
