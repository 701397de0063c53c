"""The fleet credential: a secret that inner services show each other.

Only with it is metadata such as a tenant believed.
"""

import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from penstock_shared.errors import FailedPreconditionError

METADATA_KEY = "penstock-fleet-credential"
_NUM_BYTES = 32
_MIN_CHARS = 32


@dataclass(frozen=True, slots=True)
class FleetCredential:
    """A shared secret. Its text stays out of `repr`, logs and errors."""

    secret: str = field(repr=False)

    @classmethod
    def create(cls, path: Path) -> "FleetCredential":
        """Makes a fresh secret at `path`, readable by its owner only. An existing file is replaced."""
        secret = secrets.token_urlsafe(_NUM_BYTES)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret)
        fresh.replace(path)
        return cls(secret)

    @classmethod
    def load(cls, path: Path) -> "FleetCredential":
        """Reads the secret of `path`.

        Raises:
            FailedPreconditionError: the file is missing, unreadable or too short to be a secret.
        """
        try:
            secret = path.read_text().strip()
        except OSError as error:
            raise FailedPreconditionError(f"fleet credential {path}: {error.strerror}") from error
        if len(secret) < _MIN_CHARS:
            raise FailedPreconditionError(f"fleet credential {path}: shorter than {_MIN_CHARS} characters")
        return cls(secret)

    @classmethod
    def of_nobody(cls) -> "FleetCredential":
        """One that nobody can show, for a door that lets nobody in."""
        return cls(secrets.token_urlsafe(_NUM_BYTES))

    def derive(self, purpose: str, name: str) -> bytes:
        """A secret of its own for a purpose and a name: 32 bytes, the same for whoever holds this one (HMAC-SHA256)."""
        return hmac.digest(self.secret.encode(), f"{purpose}\0{name}".encode(), "sha256")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a caller sends."""
        return ((METADATA_KEY, self.secret),)

    def matches(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
        """Whether `metadata` carries this secret; takes the same time whatever it carries."""
        for key, value in metadata or ():
            if key == METADATA_KEY:
                shown = value if isinstance(value, bytes) else value.encode()
                return hmac.compare_digest(shown, self.secret.encode())
        return False
