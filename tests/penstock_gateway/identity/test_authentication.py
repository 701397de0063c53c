"""Who a client is, decided from what it shows and from the key file."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.clock import FakeClock
from fakes.token_issuer import TokenIssuer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_gateway.identity.authentication import Authenticator
from penstock_gateway.identity.key_ring import KeyRing
from penstock_gateway.identity.tenants_file import watch_tenants
from penstock_gateway.identity.token_verifier import TokenRules, TokenVerifier, watch_jwks
from penstock_gateway.quotas.admission import Bounds
from penstock_shared.api_keys import MintedKey, mint_key
from penstock_shared.errors import UnauthenticatedError
from penstock_shared.key_file import KeyFile, parse_keys
from penstock_shared.principal import ANONYMOUS, AuthMethod, Metadata, Principal
from penstock_shared.watched_file import WatchedFile

NOW_S = 1_000_000.0


@dataclass
class Doors:
    """An authenticator over a key file, at a time of the test's own."""

    path: Path

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.wall_clock = FakeClock(NOW_S)
        self.restart()

    def restart(self) -> None:
        """A fresh process over the same file."""
        file = WatchedFile(self.path, parse_keys, clock=self.clock)
        self.authenticate = Authenticator(
            KeyRing(file, wall_clock=self.wall_clock),
            watch_tenants(self.path.with_name("tenants.json"), Bounds(1, 1)),
            asks_for_certificates=False,
        )

    def make_key(self, tenant: str = "acme", lifetime_s: float | None = None) -> MintedKey:
        """As `penstock keys create` does."""
        minted = mint_key(tenant=tenant, name="", now_s=self.wall_clock(), lifetime_s=lifetime_s)
        KeyFile(self.path).add(minted.record)
        return minted

    def ask(self, *metadata: tuple[str, str | bytes]) -> Principal:
        """Who the caller with this metadata is."""
        return self.authenticate(metadata, dict)

    def refusal(self, *metadata: tuple[str, str | bytes]) -> str:
        """What that caller is told."""
        with pytest.raises(UnauthenticatedError) as caught:
            self.ask(*metadata)
        return caught.value.message


@pytest.fixture
def doors(tmp_path: Path) -> Doors:
    """No keys yet."""
    return Doors(tmp_path / "keys.json")


def bearer(text: str) -> tuple[str, str]:
    """The usual header."""
    return ("authorization", f"Bearer {text}")


def test_without_keys_everybody_is_the_default_tenant(doors: Doors) -> None:
    """Whatever they show."""
    assert doors.ask() == ANONYMOUS == Principal("default", AuthMethod.ANONYMOUS)
    assert doors.ask(bearer("pst_a_b")) == ANONYMOUS


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_a_key_names_its_tenant(doors: Doors, scheme: str) -> None:
    """The scheme's case does not matter (RFC 9110)."""
    key = doors.make_key()
    doors.restart()
    principal = Principal("acme", AuthMethod.API_KEY, key.record.key_id)
    assert doors.ask(("authorization", f"{scheme}{key.text}")) == principal
    assert doors.ask(("x-api-key", key.text)) == principal


def test_the_first_key_closes_the_door_within_a_second(doors: Doors) -> None:
    """No restart between `keys create` and the first refusal."""
    key = doors.make_key()
    doors.clock.advance(1)
    assert doors.refusal().startswith("no credential; send `authorization: Bearer <key or token>`")
    assert doors.ask(bearer(key.text)).tenant == "acme"


def test_a_new_key_works_at_once(doors: Doors) -> None:
    """Whoever was just given one tries it."""
    doors.make_key()
    doors.restart()
    key = doors.make_key("other")
    assert doors.ask(bearer(key.text)).tenant == "other"


def test_a_revoked_key_is_refused_within_a_second(doors: Doors) -> None:
    """And so are all keys, one after the other: the last one does not open the door again."""
    key = doors.make_key()
    doors.restart()
    KeyFile(doors.path).revoke(key.record.key_id, now_s=NOW_S)
    doors.clock.advance(1)
    assert doors.refusal(bearer(key.text)) == f"the API key {key.record.key_id} is revoked"
    assert doors.refusal().startswith("no credential")


def test_a_lost_key_file_does_not_open_the_door(doors: Doors) -> None:
    """Nor does it lock out those who were in."""
    key = doors.make_key()
    doors.restart()
    doors.path.unlink()
    doors.clock.advance(1)
    assert doors.refusal().startswith("no credential")
    assert doors.ask(bearer(key.text)).tenant == "acme"


def test_an_expired_key_says_when(doors: Doors) -> None:
    """Its owner knows what to do; the clock is the gateway's."""
    key = doors.make_key(lifetime_s=60)
    doors.restart()
    assert doors.ask(bearer(key.text)).tenant == "acme"
    doors.wall_clock.advance(60)
    assert doors.refusal(bearer(key.text)) == f"the API key {key.record.key_id} expired at 1970-01-12T13:47:40Z"


def test_only_who_knows_the_secret_learns_that_a_key_exists(doors: Doors) -> None:
    """An unknown id and a wrong secret read the same, for a revoked key too."""
    key = doors.make_key()
    KeyFile(doors.path).revoke(key.record.key_id, now_s=NOW_S)
    doors.restart()
    told = {
        doors.refusal(bearer(text))
        for text in (f"pst_{key.record.key_id}_wrong", "pst_000000000000_wrong", "pst_", f"{key.text}x")
    }
    assert told == {"the API key is not valid"}


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "Basic dXNlcjpwYXNz")],
        [("authorization", "")],
        [bearer("")],
        [bearer("some.other.token")],
        [("x-api-key", "")],
        [("x-api-key", b"pst_a_b")],
        [("authorization-bin", b"Bearer x")],
    ],
)
def test_anything_else_is_refused(doors: Doors, metadata: Metadata) -> None:
    """And what was shown is not repeated: it may be a secret meant for somebody else."""
    doors.make_key()
    doors.restart()
    told = doors.refusal(*metadata)
    assert "send `authorization: Bearer <key or token>`" in told
    assert not any(str(value) in told for _, value in metadata if len(value) > 8)


SHOWN = st.one_of(
    st.text(),
    st.binary(),
    st.text(alphabet="abcXYZ019._-=", max_size=60).map(lambda text: f"Bearer {text}"),
    st.text(max_size=20).map(lambda text: f"Bearer pst_{text}"),
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), st.none() | st.integers() | st.text()).map(
        lambda header: f"Bearer {base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip('=')}.e30.AA"
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "x"]), SHOWN), max_size=3))
def test_whatever_is_shown_the_answer_is_a_refusal(tmp_path: Path, metadata: list[tuple[str, str | bytes]]) -> None:
    """Neither a defect of ours nor, by any luck, a way in."""
    path = tmp_path / "jwks.json"
    if not path.exists():
        path.write_text(TokenIssuer().jwks())
    tokens = TokenVerifier(watch_jwks(path), TokenRules(), wall_clock=FakeClock(NOW_S))
    keys = KeyRing(WatchedFile(tmp_path / "keys.json", parse_keys), wall_clock=FakeClock(NOW_S))
    tenants = watch_tenants(tmp_path / "tenants.json", Bounds(1, 1))
    with pytest.raises(UnauthenticatedError):
        Authenticator(keys, tenants, tokens, asks_for_certificates=False)(metadata, dict)
