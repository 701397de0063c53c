"""The names in a client's certificate, which the transport has verified."""

from penstock_shared.principal import AuthContext

# Alternative names first: the common name is what certificates had before.
_PROPERTIES = ("x509_subject_alternative_name", "x509_common_name")


def certificate_names(auth_context: AuthContext) -> list[str]:
    """All names in the peer's certificate; none where it showed none."""
    known = auth_context()
    return [name.decode(errors="replace") for kind in _PROPERTIES for name in known.get(kind, ())]
