"""The fleet credential keeps strangers out and stays out of sight."""

from pathlib import Path

import pytest

from penstock_shared.credentials import METADATA_KEY, FleetCredential
from penstock_shared.errors import FailedPreconditionError


def test_a_created_credential_is_private_and_loads_again(tmp_path: Path) -> None:
    """Other users of the machine must not read it."""
    path = tmp_path / "fleet.credential"
    made = FleetCredential.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert FleetCredential.load(path).matches(made.metadata())
    assert made.secret not in repr(made)


def test_only_the_same_secret_matches(tmp_path: Path) -> None:
    """A missing, other or empty secret is refused."""
    credential = FleetCredential.create(tmp_path / "a")
    other = FleetCredential.create(tmp_path / "b")
    assert not credential.matches(other.metadata())
    assert not credential.matches(())
    assert not credential.matches(None)
    assert not credential.matches(((METADATA_KEY, ""),))


def test_derived_secrets_differ_by_purpose_and_name_and_agree_between_holders() -> None:
    """Gateways name a tenant's cached blocks alike, and no tenant's name tells another's."""
    secret = FleetCredential("s" * 43)
    derived = [secret.derive(*words) for words in [("salt", "a"), ("salt", "b"), ("key", "a"), ("salta", "")]]
    assert len(set(derived)) == 4
    assert derived[0] == FleetCredential("s" * 43).derive("salt", "a")
    assert derived[0] != FleetCredential("t" * 43).derive("salt", "a")


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_missing_or_short_secret_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    """An empty secret file would let everybody in."""
    path = tmp_path / "fleet.credential"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FailedPreconditionError, match=str(path)):
        FleetCredential.load(path)
