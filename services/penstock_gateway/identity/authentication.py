"""Who a client is: the one place that decides it, once for each call."""

from penstock_gateway.identity.certificate_names import certificate_names
from penstock_gateway.identity.key_ring import KeyRing
from penstock_gateway.identity.tenants import Tenants
from penstock_gateway.identity.token_verifier import TokenVerifier
from penstock_shared.api_keys import is_key_text
from penstock_shared.errors import UnauthenticatedError
from penstock_shared.principal import ANONYMOUS, DEFAULT_TENANT, AuthContext, AuthMethod, Metadata, Principal

_AUTHORIZATION = "authorization"
_API_KEY = "x-api-key"
_SCHEME = "bearer "
_HOW = "send `authorization: Bearer <key or token>` or `x-api-key: <key>`"


class Authenticator:
    """Finds the principal of a call. With nothing configured, everybody is the default tenant.

    Args:
        keys: the API keys.
        tenants: know the names in client certificates.
        tokens: checks JSON Web Tokens; None: there are none.
        asks_for_certificates: the transport demands a client certificate of everybody.
    """

    def __init__(
        self, keys: KeyRing, tenants: Tenants, tokens: TokenVerifier | None = None, *, asks_for_certificates: bool
    ) -> None:
        self._keys = keys
        self._tenants = tenants
        self._tokens = tokens
        self._asks_for_certificates = asks_for_certificates

    @property
    def lets_everybody_in(self) -> bool:
        """Whether nothing is configured by which a client could show who it is."""
        return not (self._asks_for_certificates or self._can_tell_tenants)

    def __call__(self, metadata: Metadata, auth_context: AuthContext) -> Principal:
        """The principal of a call.

        Raises:
            UnauthenticatedError: it shows no credential, or one that is not valid.
        """
        if self.lets_everybody_in:
            return ANONYMOUS
        shown = _shown_credential(metadata)
        if shown is None:
            return self._of_certificate(auth_context)
        if is_key_text(shown):
            return self._keys.principal_of(shown)
        if self._tokens is not None:
            return self._tokens.principal_of(shown)
        raise UnauthenticatedError(f"the credential is not valid; {_HOW}")

    @property
    def _can_tell_tenants(self) -> bool:
        return self._keys.is_configured or self._tokens is not None or self._tenants.knows_certificates

    def _of_certificate(self, auth_context: AuthContext) -> Principal:
        names = certificate_names(auth_context)
        if names and not self._can_tell_tenants:
            # The authority's word is all that is asked for.
            return Principal(DEFAULT_TENANT, AuthMethod.CERTIFICATE, names[0])
        found = self._tenants.of_certificate(names)
        if len(set(found.values())) == 1:
            name, tenant = next(iter(found.items()))
            return Principal(tenant, AuthMethod.CERTIFICATE, name)
        if not names:
            raise UnauthenticatedError(f"no credential; {_HOW}")
        raise UnauthenticatedError(
            f"the client certificate of {names[0]!r} belongs to no tenant, or to several; {_HOW}"
        )


def _shown_credential(metadata: Metadata) -> str | None:
    """The first credential among the metadata; None where there is none.

    Raises:
        UnauthenticatedError: there is one of a kind that is not understood.
    """
    for key, value in metadata:
        if key == _API_KEY and isinstance(value, str):
            return value.strip()
        if key == _AUTHORIZATION and isinstance(value, str):
            if value[: len(_SCHEME)].lower() != _SCHEME:
                raise UnauthenticatedError(f"authorization: only the Bearer scheme is known; {_HOW}")
            return value[len(_SCHEME) :].strip()
    return None
