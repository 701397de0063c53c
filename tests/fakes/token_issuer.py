"""Signs JSON Web Tokens as an identity provider does."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

_ALGORITHMS: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def new_private_key(algorithm: str) -> Any:
    """A key of the kind that `algorithm` signs with."""
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


@dataclass
class TokenIssuer:
    """Holds a private key and tells the public one."""

    algorithm: str = "ES256"
    key_id: str = "key-1"
    private_key: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.private_key = new_private_key(self.algorithm)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key."""
        entry = json.loads(_ALGORITHMS[self.algorithm].to_jwk(self.private_key.public_key()))
        return {**entry, "kid": self.key_id, "use": "sig", "alg": self.algorithm, **changes}

    def private_jwk(self) -> dict[str, Any]:
        """What must never stand in a key set."""
        return {**json.loads(_ALGORITHMS[self.algorithm].to_jwk(self.private_key)), "kid": self.key_id}

    def jwks(self) -> str:
        """The key set that it publishes."""
        return json.dumps({"keys": [self.jwk()]})

    def sign(self, lifetime_s: float = 600, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of tenant `acme` unless the claims say otherwise; a claim of None is left out."""
        told = {"tenant": "acme", "sub": "alice", "exp": int(time.time() + lifetime_s), **claims}
        present = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(
            present, self.private_key, algorithm=self.algorithm, headers={"kid": self.key_id, **(headers or {})}
        )
