"""API keys: `pst_<id>_<secret>`. The id finds the record; the secret shows that the caller may use it."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_PREFIX = "pst"
_NUM_ID_BYTES = 6
_NUM_SECRET_BYTES = 32


class KeyStatus(StrEnum):
    """Whether a key opens the door."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key. Times are seconds since the epoch.

    Attributes:
        key_id: public; it stands in logs and lists.
        tenant: on whose account its calls go.
        name: what its maker calls it.
        secret_sha256: hash of the secret, in hexadecimal. A plain SHA-256 is right here: the secret has 256 random
            bits, so there is nothing to guess that a slow hash would slow down, and every call pays for the hash.
        created_s, expires_s, revoked_s: None where it does not expire or is not revoked.
    """

    key_id: str
    tenant: str
    name: str
    secret_sha256: str = field(repr=False)
    created_s: int
    expires_s: int | None = None
    revoked_s: int | None = None

    def matches(self, secret: str) -> bool:
        """Whether `secret` is this key's; takes the same time whatever it is."""
        return hmac.compare_digest(_hash(secret), self.secret_sha256)

    def status(self, now_s: float) -> KeyStatus:
        """How it stands with the key at `now_s`."""
        if self.revoked_s is not None:
            return KeyStatus.REVOKED
        if self.expires_s is not None and now_s >= self.expires_s:
            return KeyStatus.EXPIRED
        return KeyStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A fresh key: its record, and the text that is shown once and kept nowhere."""

    record: ApiKey
    text: str = field(repr=False)


def mint_key(*, tenant: str, name: str, now_s: float, lifetime_s: float | None) -> MintedKey:
    """A new key with a secret of 256 random bits."""
    key_id, secret = secrets.token_hex(_NUM_ID_BYTES), secrets.token_urlsafe(_NUM_SECRET_BYTES)
    record = ApiKey(
        key_id=key_id,
        tenant=tenant,
        name=name,
        secret_sha256=_hash(secret),
        created_s=int(now_s),
        expires_s=None if lifetime_s is None else int(now_s + lifetime_s),
    )
    return MintedKey(record, f"{_PREFIX}_{key_id}_{secret}")


def is_key_text(text: str) -> bool:
    """Whether `text` is meant to be an API key."""
    return text.startswith(f"{_PREFIX}_")


def find_key(text: str, keys: Mapping[str, ApiKey]) -> ApiKey | None:
    """The key whose id and secret stand in `text`; None where there is none, or the secret is another."""
    _, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    # An unknown id costs a comparison too, so that the time does not tell which ids exist.
    matches = keys.get(key_id, _NOBODYS).matches(secret)
    return keys.get(key_id) if matches else None


def _hash(secret: str) -> str:
    # A secret from outside may hold lone surrogates; these are no key's.
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


_NOBODYS = ApiKey("", "", "", secret_sha256="0" * 64, created_s=0)
