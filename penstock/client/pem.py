"""Certificates and keys in files, tried before gRPC gets them: it tells of bad ones in its own log alone."""

import ssl
from pathlib import Path


def check_pair(cert_file: Path, key_file: Path) -> None:
    """Checks that a certificate and a key can be used, and belong to each other.

    Raises:
        OSError: one cannot be read.
        ValueError: they cannot be used together; says why.
    """
    for path in (cert_file, key_file):
        _open(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=_refuse_encrypted)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key_file} is not the key of {cert_file}") from error
        raise ValueError(f"{cert_file} and {key_file} are not a certificate and its key, in PEM") from error


def check_roots(ca_file: Path) -> None:
    """Checks that a file holds certificates to trust.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds none.
    """
    _open(ca_file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file} holds no certificate in PEM") from error


def _open(path: Path) -> None:
    """The ssl module does not say which file it did not find."""
    path.open("rb").close()


def _refuse_encrypted() -> str:
    raise ValueError("the private key is encrypted, and nobody is asked for its password")
