"""Who a caller is, once a server has found out."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_TENANT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TENANT_RULE: Final = "1 to 64 letters, digits, '.', '_' or '-', of which the first is a letter or digit"
DEFAULT_TENANT: Final = "default"


class AuthMethod(StrEnum):
    """How a caller showed who it is."""

    ANONYMOUS = "anonymous"
    API_KEY = "api_key"
    JWT = "jwt"
    CERTIFICATE = "certificate"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller.

    Attributes:
        tenant: on whose account the call goes; empty for the stack's own.
        method: how that was shown.
        credential_id: which key, token subject or certificate it was; never a secret.
    """

    tenant: str
    method: AuthMethod
    credential_id: str = ""


ANONYMOUS: Final = Principal(DEFAULT_TENANT, AuthMethod.ANONYMOUS)
FLEET: Final = Principal("", AuthMethod.FLEET)

Metadata = Sequence[tuple[str, str | bytes]]
# What the transport knows of the peer: `grpc.ServicerContext.auth_context`. Asked only where it matters, for it costs.
AuthContext = Callable[[], Mapping[str, Iterable[bytes]]]
# Finds out who calls; raises `UnauthenticatedError` where that cannot be shown.
Authenticate = Callable[[Metadata, AuthContext], Principal]

# The caller of the RPC at hand. Without a default: a server that has not asked who calls must not guess.
current_principal: ContextVar[Principal] = ContextVar("current_principal")


def is_tenant_name(text: str) -> bool:
    """Whether `text` can name a tenant: it goes into logs, metrics and files."""
    return _TENANT_PATTERN.fullmatch(text) is not None
