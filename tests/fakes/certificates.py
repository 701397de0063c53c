"""Authorities and certificates, made for a test."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key, in files."""

    cert_file: Path
    key_file: Path

    def replace_with(self, other: "KeyPair") -> None:
        """Puts another pair in their place, each file as a whole."""
        for own, new in ((self.key_file, other.key_file), (self.cert_file, other.cert_file)):
            fresh = own.with_suffix(".fresh")
            fresh.write_bytes(new.read_bytes())
            fresh.replace(own)


def inner_tls_variables(pair: KeyPair, authority: "Authority") -> dict[str, str]:
    """What tells a service to speak TLS with the others."""
    return {
        "PENSTOCK_INNER_TLS_CERT_FILE": str(pair.cert_file),
        "PENSTOCK_INNER_TLS_KEY_FILE": str(pair.key_file),
        "PENSTOCK_INNER_TLS_CA_FILE": str(authority.ca_file),
    }


def client_credentials(pair: KeyPair, authority: "Authority") -> grpc.ChannelCredentials:
    """What a client shows and trusts."""
    return grpc.ssl_channel_credentials(
        authority.ca_file.read_bytes(), pair.key_file.read_bytes(), pair.cert_file.read_bytes()
    )


class Authority:
    """Signs certificates. Its own lies in `ca_file`."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.ca_file = directory / f"{name}.ca.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self._write(self.ca_file, self._sign(self._name, self._key, constraints, critical=True))

    def issue(self, name: str, hosts: Sequence[str] = ("127.0.0.1",)) -> KeyPair:
        """A certificate of `name`, good for these addresses, host names and URIs."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        pair = KeyPair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        self._write(pair.cert_file, self._sign(_name(name), key, names, critical=False))
        pair.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, *, critical: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(extension, critical=critical)
            .sign(self._key, hashes.SHA256())
        )

    @staticmethod
    def _write(path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(Encoding.PEM))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    if "://" in host:
        return x509.UniformResourceIdentifier(host)
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
