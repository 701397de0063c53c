"""How the client encrypts, whom it trusts, and what it shows."""

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from penstock.client.pem import check_pair, check_roots

FilePath = str | os.PathLike[str]
# What gRPC says where a handshake fails -> what that means for whoever made the client.
_HINTS = (
    ("CERTIFICATE_VERIFY_FAILED", "the server's certificate is signed by nobody in tls_ca"),
    ("Hostname Verification Check failed", "the server's certificate is not for this address; see tls_server_name"),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS here; leave out tls_ca"),
    # All that a server's refusal looks like from outside, in TLS 1.3 as well.
    ("Socket closed", "the server hung up: it may want TLS (tls_ca), or a client certificate (tls_cert, tls_key)"),
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Files in PEM.

    Attributes:
        ca: certificates to trust: of authorities, or the server's own.
        cert, key: the client's certificate, and its key, where the server asks for one.
        server_name: expected in the server's certificate; None: the address.
    """

    ca: FilePath
    cert: FilePath | None = None
    key: FilePath | None = None
    server_name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What a secure channel is opened with.

        Raises:
            ValueError: a file is missing, or does not hold what it should.
        """
        try:
            check_roots(Path(self.ca))
            roots = Path(self.ca).read_bytes()
            if self.cert is None or self.key is None:
                if self.cert is not self.key:
                    raise ValueError("tls_cert and tls_key are given together, or neither")
                return grpc.ssl_channel_credentials(roots)
            check_pair(Path(self.cert), Path(self.key))
            return grpc.ssl_channel_credentials(roots, Path(self.key).read_bytes(), Path(self.cert).read_bytes())
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from error

    def channel_options(self) -> list[tuple[str, str | int]]:
        """Channel arguments that belong to it."""
        return [] if self.server_name is None else [("grpc.ssl_target_name_override", self.server_name)]


def tls_options(
    ca: FilePath | None, cert: FilePath | None, key: FilePath | None, server_name: str | None
) -> TlsOptions | None:
    """The options of a client; None where it speaks plaintext.

    Raises:
        ValueError: there is a certificate or name to show, and nobody to trust.
    """
    if ca is not None:
        return TlsOptions(ca, cert, key, server_name)
    if cert is not None or key is not None or server_name is not None:
        raise ValueError("tls_cert, tls_key and tls_server_name need tls_ca: the certificates to trust")
    return None


def handshake_hint(details: str) -> str | None:
    """What it means that a connection could not be made, where gRPC's words for it speak of TLS."""
    if "failed to connect" not in details:
        return None
    return next((hint for sign, hint in _HINTS if sign in details), None)
