"""TLS at a listener: certificates from files, which may be replaced while it runs."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from penstock.client.pem import check_pair, check_roots
from penstock_shared.errors import FailedPreconditionError
from penstock_shared.logs import get_logger

_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a listener shows, and whom it asks for.

    Attributes:
        cert_file: its certificate, and those between it and the root (PEM).
        key_file: the private key of the first (PEM, not encrypted).
        client_ca_file: clients must show a certificate that one of these has signed; None: they are not asked.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Pems:
    """What the files held when they were read, and fitted together."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


class WatchedCertificates:
    """The last good certificates of files. New ones that do not fit together change nothing but the log.

    Args:
        files: where they are.

    Attributes:
        current: the last good ones.

    Raises:
        FailedPreconditionError: they are missing, or do not fit together.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._log = get_logger("tls")
        self._seen = self._sign()
        try:
            self.current = self._read()
        except (OSError, ValueError) as error:
            raise FailedPreconditionError(_line(error)) from error

    def refresh(self) -> Pems | None:
        """Those of the files where they have changed since the last call and are good; else None."""
        signature = self._sign()
        if signature == self._seen:
            return None
        self._seen = signature
        try:
            self.current = self._read()
        except (OSError, ValueError) as error:
            self._log.error("certificates are not reloaded; the last good ones stay in force", error=_line(error))
            return None
        self._log.info("certificates reloaded", path=str(self._files.cert_file))
        return self.current

    def _read(self) -> Pems:
        """Raises ValueError where the files do not fit together, OSError where one cannot be read."""
        files, before = self._files, self._sign()
        check_pair(files.cert_file, files.key_file)
        client_ca = None
        if files.client_ca_file is not None:
            check_roots(files.client_ca_file)
            client_ca = files.client_ca_file.read_bytes()
        pems = Pems(files.cert_file.read_bytes(), files.key_file.read_bytes(), client_ca)
        if self._sign() != before:  # what was checked is not what was read; the next connection looks again
            raise ValueError(f"{files.cert_file} is just being replaced")
        return pems

    def _sign(self) -> _Signature:
        paths = (self._files.cert_file, self._files.key_file, self._files.client_ca_file)
        return tuple(_signature(path) for path in paths if path is not None)


class ReloadingCertificates:
    """Gives gRPC the certificates of the files, and looks at each new connection whether they have changed.

    Connections that are open go on as they are.

    Args:
        files: where they are.

    Raises:
        FailedPreconditionError: they are missing, or do not fit together.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._watched = WatchedCertificates(files)

    def server_credentials(self) -> grpc.ServerCredentials:
        """What a secure port is added with."""
        first = self._watched.current
        return grpc.dynamic_ssl_server_credentials(
            _configuration(first),
            self._changed,  # type: ignore[arg-type]  # the stubs forget that it may return None
            require_client_authentication=first.client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificates, or None where the last ones stay in force. gRPC calls it from threads of its own."""
        fresh = self._watched.refresh()
        return None if fresh is None else _configuration(fresh)


def _configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.cert)], root_certificates=pems.client_ca)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What differs when a file was replaced or written to; None where it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _line(error: OSError | ValueError) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
