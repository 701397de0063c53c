"""JSON Web Tokens: which are believed, and which are not whatever they say."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes.clock import FakeClock
from fakes.token_issuer import TokenIssuer
from jwt.algorithms import RSAAlgorithm

from penstock_gateway.identity.token_verifier import TokenRules, TokenVerifier, parse_jwks, watch_jwks
from penstock_shared.errors import FailedPreconditionError, UnauthenticatedError
from penstock_shared.principal import AuthMethod, Principal

ACME = Principal("acme", AuthMethod.JWT, "alice")


class Doors:
    """A verifier over a JWKS file of one issuer."""

    def __init__(self, directory: Path, algorithm: str = "ES256", **rules: str) -> None:
        self.path = directory / "jwks.json"
        self.issuer = TokenIssuer(algorithm)
        self.publish(self.issuer.jwks())
        self.wall_clock = FakeClock(time.time())
        self.file = watch_jwks(self.path)
        self.verifier = TokenVerifier(self.file, TokenRules(**rules), wall_clock=self.wall_clock)

    def publish(self, content: str) -> None:
        """The file changes."""
        fresh = self.path.with_suffix(".fresh")
        fresh.write_text(content)
        fresh.replace(self.path)

    def ask(self, **claims: Any) -> Principal:
        """Whom a fresh token speaks for."""
        return self.verifier.principal_of(self.issuer.sign(**claims))

    def refusal(self, token: str) -> str:
        """What the bearer of a token is told."""
        with pytest.raises(UnauthenticatedError) as caught:
            self.verifier.principal_of(token)
        return caught.value.message


def encoded(part: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_good_token_names_its_tenant(tmp_path: Path, algorithm: str) -> None:
    """With each of the algorithms that are allowed."""
    assert Doors(tmp_path, algorithm).ask() == ACME


def test_a_token_without_signature_is_refused(tmp_path: Path) -> None:
    """`alg: none`, in any spelling."""
    doors = Doors(tmp_path)
    claims = encoded({"tenant": "acme", "exp": time.time() + 600})
    for name in ("none", "None", "NONE", ""):
        token = f"{encoded({'alg': name, 'kid': 'key-1'})}.{claims}."
        assert doors.refusal(token) == "the token is not valid"


@pytest.mark.parametrize("is_named", [True, False])
def test_the_public_key_is_no_hmac_secret(tmp_path: Path, is_named: bool) -> None:
    """Everybody has it, and could sign with it."""
    doors = Doors(tmp_path, "RS256")
    public = doors.issuer.private_key.public_key()
    header = {"alg": "HS256", **({"kid": "key-1"} if is_named else {})}
    signed = f"{encoded(header)}.{encoded({'tenant': 'acme', 'exp': time.time() + 600})}"
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        RSAAlgorithm.to_jwk(public).encode(),
    ):
        mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), hashlib.sha256)).rstrip(b"=").decode()
        assert doors.refusal(f"{signed}.{mac}") == "the token is not valid"


def test_another_algorithm_of_the_same_key_is_refused(tmp_path: Path) -> None:
    """The key says how it signs."""
    doors = Doors(tmp_path, "RS256")
    doors.issuer.algorithm = "RS512"
    assert doors.refusal(doors.issuer.sign()) == "the token is not valid"


def test_a_strangers_token_is_refused(tmp_path: Path) -> None:
    """With a key of its own under our key's id, or under an id that we do not have."""
    doors = Doors(tmp_path)
    for key_id in ("key-1", "key-2"):
        assert doors.refusal(TokenIssuer(key_id=key_id).sign()) == "the token is not valid"


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "a.b.c.d", "...", "\udcff", "eyJhbGciOiJFUzI1NiJ9..", "{}.{}.{}"])
def test_rubbish_is_refused(tmp_path: Path, token: str) -> None:
    """As what it is, not as a defect of ours."""
    assert Doors(tmp_path).refusal(token) == "the token is not valid"


def test_a_token_whose_claims_were_changed_is_refused(tmp_path: Path) -> None:
    """Also one that was believed a moment ago."""
    doors = Doors(tmp_path)
    header, _, signature = doors.issuer.sign().split(".")
    forged = f"{header}.{encoded({'tenant': 'other', 'exp': time.time() + 600})}.{signature}"
    assert doors.ask() == ACME
    assert doors.refusal(forged) == "the token is not valid"


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"lifetime_s": -60}, "the token is expired"),
        ({"exp": None}, "the token has no claim 'exp'"),
        ({"nbf": time.time() + 86_400}, "the token is not valid yet"),
        ({"tenant": None}, "the token names no tenant in its claim 'tenant'"),
        ({"tenant": ""}, "the token names no tenant in its claim 'tenant'"),
        ({"tenant": "a\nb"}, "the token names no tenant in its claim 'tenant'"),
        ({"tenant": ["acme"]}, "the token names no tenant in its claim 'tenant'"),
    ],
)
def test_what_a_signed_token_lacks_is_told(tmp_path: Path, claims: dict[str, Any], told: str) -> None:
    """Its bearer can mend that."""
    doors = Doors(tmp_path)
    assert doors.refusal(doors.issuer.sign(**claims)) == told


def test_clocks_may_differ_a_little(tmp_path: Path) -> None:
    """By some seconds, not by a minute."""
    assert Doors(tmp_path).ask(lifetime_s=-5) == ACME


def test_issuer_audience_and_claim_are_as_configured(tmp_path: Path) -> None:
    """A token for another service of the same provider must not open this one."""
    doors = Doors(tmp_path, issuer="https://id.example", audience="penstock", tenant_claim="org")
    good = {"iss": "https://id.example", "aud": ["penstock", "other"], "org": "acme", "tenant": "other"}
    assert doors.ask(**good) == ACME
    told = [
        doors.refusal(doors.issuer.sign(**{**good, **change}))
        for change in (
            {"iss": "https://evil.example"},
            {"iss": None},
            {"aud": "other"},
            {"aud": None},
            {"org": None},
        )
    ]
    assert told == [
        "the token is not from the issuer that is trusted here",
        "the token has no claim 'iss'",
        "the token is for another audience",
        "the token has no claim 'aud'",
        "the token names no tenant in its claim 'org'",
    ]


def test_a_token_that_was_good_is_refused_once_it_expires(tmp_path: Path) -> None:
    """Remembering it must not prolong it."""
    doors = Doors(tmp_path)
    token = doors.issuer.sign(lifetime_s=-8)  # within what clocks may differ, for two seconds more
    assert doors.verifier.principal_of(token) == ACME
    doors.wall_clock.advance(3)
    assert token_is_checked_anew(doors, token)


def token_is_checked_anew(doors: Doors, token: str) -> bool:
    """Whether the key is asked: without one, only a remembered token passes."""
    doors.file._value = doors.verifier._verified_with = {}
    return doors.refusal(token) == "the token is not valid"


def test_a_removed_key_ends_its_tokens(tmp_path: Path) -> None:
    """Also those that were believed before, and without a restart."""
    doors = Doors(tmp_path)
    token = doors.issuer.sign()
    assert doors.verifier.principal_of(token) == ACME
    doors.issuer = TokenIssuer(key_id="key-2")
    doors.publish(doors.issuer.jwks())
    doors.file.refresh()
    assert doors.refusal(token) == "the token is not valid"
    assert doors.ask() == ACME


def test_remembered_tokens_are_bounded(tmp_path: Path) -> None:
    """Fresh tokens for each call must not fill the memory."""
    doors = Doors(tmp_path)
    verifier = TokenVerifier(doors.file, TokenRules(), wall_clock=doors.wall_clock, max_remembered=3)
    for number in range(10):
        verifier.principal_of(doors.issuer.sign(jti=str(number)))
    assert repr(verifier) == "TokenVerifier(keys=1, remembered=3)"


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}], "no key in it is for RS256, ES256, EdDSA"),
        ([TokenIssuer().jwk(use="enc")], "no key in it"),
        ([TokenIssuer("RS256").jwk(alg="RS512")], "no key in it"),
        ([TokenIssuer().private_jwk()], "the key 'key-1' is a private one"),
        ([TokenIssuer().jwk(x="!!")], "the key 'key-1'"),
        ([1], "no JWKS"),
        ([], "no key in it"),
    ],
)
def test_a_bad_key_set_is_told(entries: list[Any], told: str) -> None:
    """And never half believed: a shared secret among the keys would be everybody's."""
    with pytest.raises(ValueError, match=told):
        parse_jwks(json.dumps({"keys": entries}).encode())


def test_a_weak_key_is_refused() -> None:
    """1024 bits can be factored."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    entry = {**json.loads(RSAAlgorithm.to_jwk(weak)), "kid": "weak", "alg": "RS256"}
    with pytest.raises(ValueError, match="'weak' has 1024 bits; allowed: at least 2048"):
        parse_jwks(json.dumps({"keys": [entry]}).encode())


def test_keys_of_other_uses_are_left_out() -> None:
    """Identity providers publish them beside those for signatures."""
    good = TokenIssuer(key_id="good")
    other = TokenIssuer(key_id="enc").jwk(use="enc")
    assert list(parse_jwks(json.dumps({"keys": [other, good.jwk()]}).encode())) == ["good"]


def test_a_missing_file_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    """The operator named it."""
    with pytest.raises(FailedPreconditionError, match="there is no such file"):
        watch_jwks(tmp_path / "jwks.json")
