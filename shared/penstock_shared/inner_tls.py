"""TLS between the services: each shows a certificate of one authority, and wants to see one of it (mutual TLS)."""

import time
from collections.abc import Callable

import grpc

from penstock_shared.errors import FailedPreconditionError
from penstock_shared.settings import ServiceSettings
from penstock_shared.tls import Pems, ReloadingCertificates, TlsFiles, WatchedCertificates

# A renewed certificate is shown this late at most.
_CHECK_EVERY_S = 1.0


class InnerTls:
    """What one process shows and asks for, as a server and as a client.

    Args:
        files: its certificate and key, and the authority of all.
        server_name: expected in every server's certificate; None: the address that is connected to.
        clock: monotonic seconds.

    Raises:
        FailedPreconditionError: the files are missing, or do not fit together.
    """

    def __init__(
        self, files: TlsFiles, server_name: str | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = files
        self._server_name = server_name
        self._clock = clock
        self._watched = WatchedCertificates(files)
        self._credentials = _client_credentials(self._watched.current)
        self._checked_s = clock()

    def server_certificates(self) -> ReloadingCertificates:
        """For a listener."""
        return ReloadingCertificates(self._files)

    def client_credentials(self) -> grpc.ChannelCredentials:
        """For a connection now: the same object until the files change, seen within a second."""
        if self._clock() - self._checked_s >= _CHECK_EVERY_S:
            self._checked_s = self._clock()
            fresh = self._watched.refresh()
            if fresh is not None:
                self._credentials = _client_credentials(fresh)
        return self._credentials

    def channel_options(self) -> list[tuple[str, str | int]]:
        """Channel arguments that belong to it."""
        return [] if self._server_name is None else [("grpc.ssl_target_name_override", self._server_name)]


def load_inner_tls(settings: ServiceSettings) -> InnerTls | None:
    """That of the settings; None where the services speak plaintext.

    Raises:
        FailedPreconditionError: some files are named and others not, or they do not fit together.
    """
    cert, key, ca = settings.inner_tls_cert_file, settings.inner_tls_key_file, settings.inner_tls_ca_file
    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None or ca is None:
        raise FailedPreconditionError(
            "PENSTOCK_INNER_TLS_CERT_FILE, PENSTOCK_INNER_TLS_KEY_FILE and PENSTOCK_INNER_TLS_CA_FILE are set together"
        )
    return InnerTls(TlsFiles(cert, key, ca), settings.inner_tls_server_name)


def inner_certificates(tls: InnerTls | None) -> ReloadingCertificates | None:
    """For a listener; None: plaintext."""
    return None if tls is None else tls.server_certificates()


def _client_credentials(pems: Pems) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(pems.client_ca, pems.key, pems.cert)
