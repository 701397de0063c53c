"""Which tenant a JSON Web Token speaks for (RFC 7519), by the public keys of a JWKS file (RFC 7517).

Keys come from a file and never from the network: a token must not make the gateway call anybody.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from penstock_shared.errors import FailedPreconditionError, UnauthenticatedError
from penstock_shared.principal import AuthMethod, Principal, is_tenant_name
from penstock_shared.watched_file import WatchedFile

# Public-key signatures only: "none" is no signature, and with HMAC whoever can check a token can make one.
ALGORITHMS = ("RS256", "ES256", "EdDSA")
_LEEWAY_S = 10
_MIN_RSA_BITS = 2048
_MAX_REMEMBERED = 4096
_MAX_ID_CHARS = 128
_INVALID = "the token is not valid"

KeysById = Mapping[str, jwt.PyJWK]


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say.

    Attributes:
        tenant_claim: the claim that names the tenant.
        issuer, audience: who must have made it, and for whom; None: anybody.
    """

    tenant_claim: str = "tenant"
    issuer: str | None = None
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires_s: float


class TokenVerifier:
    """Checks tokens. Those that were good are remembered until they expire or the keys change.

    Args:
        file: of the public keys, by their ids.
        rules: what a token must say.
        wall_clock: seconds since the epoch, for the tokens remembered.
        max_remembered: over it, the one not seen for longest is checked anew.
    """

    def __init__(
        self,
        file: WatchedFile[KeysById],
        rules: TokenRules,
        *,
        wall_clock: Callable[[], float],
        max_remembered: int = _MAX_REMEMBERED,
    ) -> None:
        self._file = file
        self._rules = rules
        self._wall_clock = wall_clock
        self._max_remembered = max_remembered
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._verified_with: KeysById | None = None

    def __repr__(self) -> str:
        return f"TokenVerifier(keys={len(self._file.current() or ())}, remembered={len(self._verified)})"

    def principal_of(self, token: str) -> Principal:
        """Whom `token` speaks for.

        Raises:
            UnauthenticatedError: its signature, time, issuer, audience or tenant is not what it must be.
        """
        keys = self._file.current()
        if keys is not self._verified_with:
            self._verified.clear()
            self._verified_with = keys
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._verified.get(digest)
        if known is not None and self._wall_clock() < known.expires_s:
            self._verified.move_to_end(digest)
            return known.principal
        verified = self._verify(token, keys or {})
        self._verified[digest] = verified
        if len(self._verified) > self._max_remembered:
            self._verified.popitem(last=False)
        return verified.principal

    def _verify(self, token: str, keys: KeysById) -> _Verified:
        try:
            claims = self._decode(token, keys)
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("the token is expired") from None
        except jwt.ImmatureSignatureError:
            raise UnauthenticatedError("the token is not valid yet") from None
        except jwt.InvalidIssuerError:
            raise UnauthenticatedError("the token is not from the issuer that is trusted here") from None
        except jwt.InvalidAudienceError:
            raise UnauthenticatedError("the token is for another audience") from None
        except jwt.MissingRequiredClaimError as error:
            raise UnauthenticatedError(f"the token has no claim {error.claim!r}") from None
        except (jwt.PyJWTError, ValueError):
            raise UnauthenticatedError(_INVALID) from None
        tenant, subject = claims.get(self._rules.tenant_claim), claims.get("sub")
        if not (isinstance(tenant, str) and is_tenant_name(tenant)):
            raise UnauthenticatedError(f"the token names no tenant in its claim {self._rules.tenant_claim!r}")
        credential_id = subject[:_MAX_ID_CHARS] if isinstance(subject, str) else ""
        return _Verified(Principal(tenant, AuthMethod.JWT, credential_id), float(claims["exp"]) + _LEEWAY_S)

    def _decode(self, token: str, keys: KeysById) -> dict[str, Any]:
        key = _choose(keys, jwt.get_unverified_header(token).get("kid"))
        if key is None:
            raise ValueError(_INVALID)
        rules = self._rules
        required = ["exp", *(["iss"] if rules.issuer else []), *(["aud"] if rules.audience else [])]
        return jwt.decode(
            token,
            key,
            # The key says how it signs, not the token: else a token could have an RSA key taken for an HMAC secret.
            algorithms=[key.algorithm_name],
            issuer=rules.issuer,
            audience=rules.audience,
            leeway=_LEEWAY_S,
            options={"require": required, "verify_aud": rules.audience is not None},
        )


def watch_jwks(path: Path) -> WatchedFile[KeysById]:
    """The public keys of the file at `path`, as they are now.

    Raises:
        FailedPreconditionError: it is missing or broken.
    """
    file = WatchedFile(path, parse_jwks)
    if file.current() is None:
        raise FailedPreconditionError(f"{path}: there is no such file")
    return file


def parse_jwks(content: bytes) -> KeysById:
    """The public keys that tokens may be signed for; keys of other uses are left out.

    Raises:
        ValueError: it is no key set, holds a private key, or nothing that is of use here.
    """
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("no JWKS: allowed is an object whose `keys` is a list of objects")
    usable = [entry for entry in entries if _is_usable(entry)]
    if not usable:
        raise ValueError(f"no key in it is for {', '.join(ALGORITHMS)}")
    return {entry.get("kid", ""): _load(entry) for entry in usable}


def _is_usable(entry: dict[str, Any]) -> bool:
    if "d" in entry:
        raise ValueError(f"the key {entry.get('kid')!r} is a private one; this file is for public keys")
    kind = (entry.get("kty"), entry.get("crv"), entry.get("alg"))
    is_known = kind in {
        ("RSA", None, "RS256"),
        ("RSA", None, None),
        ("EC", "P-256", "ES256"),
        ("EC", "P-256", None),
        ("OKP", "Ed25519", "EdDSA"),
        ("OKP", "Ed25519", None),
    }
    return is_known and entry.get("use", "sig") == "sig"


def _load(entry: dict[str, Any]) -> jwt.PyJWK:
    try:
        key = jwt.PyJWK(entry)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the key {entry.get('kid')!r}: {error}") from None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"the key {entry.get('kid')!r} has {key.key.key_size} bits; allowed: at least {_MIN_RSA_BITS}")
    return key


def _choose(keys: KeysById, key_id: object) -> jwt.PyJWK | None:
    """The key that is named; without a name, the only one."""
    if isinstance(key_id, str):
        return keys.get(key_id)
    return next(iter(keys.values())) if len(keys) == 1 else None
