"""Settings: read once at start from the environment; a bad value ends the start with one clear line."""

import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

SettingsT = TypeVar("SettingsT", bound="ServiceSettings")


class ServiceSettings(BaseSettings):
    """What every service can be told. A service adds its own fields under its own prefix."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", validation_alias="PENSTOCK_LOG_LEVEL")
    log_json: bool = Field(default=False, validation_alias="PENSTOCK_LOG_JSON")
    state_dir: Path = Field(Path("~/.local/state/penstock").expanduser(), validation_alias="PENSTOCK_STATE_DIR")
    fleet_credential_file: Path | None = Field(None, validation_alias="PENSTOCK_FLEET_CREDENTIAL_FILE")
    # What a process shows the other services, and whom it lets in or connects to; all three, or none: plaintext.
    inner_tls_cert_file: Path | None = Field(None, validation_alias="PENSTOCK_INNER_TLS_CERT_FILE")
    inner_tls_key_file: Path | None = Field(None, validation_alias="PENSTOCK_INNER_TLS_KEY_FILE")
    inner_tls_ca_file: Path | None = Field(None, validation_alias="PENSTOCK_INNER_TLS_CA_FILE")
    # Expected in the certificates of all services; unless set, the address that is connected to.
    inner_tls_server_name: str | None = Field(None, validation_alias="PENSTOCK_INNER_TLS_SERVER_NAME", min_length=1)
    otlp_endpoint: str | None = Field(None, validation_alias="PENSTOCK_OTLP_ENDPOINT", pattern=r"^https?://[^/]+")
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, validation_alias="PENSTOCK_TRACE_SAMPLE_RATIO")
    drain_grace_s: float = Field(10.0, ge=0, validation_alias="PENSTOCK_DRAIN_GRACE_S")


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """The settings of the environment. A bad one ends the process with its variable, its value and what is allowed."""
    try:
        return settings_class()
    except ValidationError as error:
        fail_start(describe_bad_settings(settings_class, error))


def describe_bad_settings(settings_class: type[ServiceSettings], error: ValidationError) -> str:
    """One clause for each bad setting: variable, value, what is allowed."""
    clauses = []
    for problem in error.errors():
        variable = _variable(settings_class, str(problem["loc"][0]) if problem["loc"] else "")
        if problem["type"] == "missing":
            clauses.append(f"{variable} is not set")
        else:
            clauses.append(f"{variable}: got {problem['input']!r}; {problem['msg']}")
    return "; ".join(clauses)


def fail_start(message: str) -> NoReturn:
    """Ends the process before it serves, with one line for the operator and exit code 1."""
    print(f"error: {message}", file=sys.stderr)  # noqa: T201 - logs may not be configured yet
    raise SystemExit(1)


def _variable(settings_class: type[ServiceSettings], location: str) -> str:
    if location in settings_class.model_fields:
        alias = settings_class.model_fields[location].validation_alias
        return str(alias) if alias else f"{settings_class.model_config.get('env_prefix', '')}{location}".upper()
    return location
