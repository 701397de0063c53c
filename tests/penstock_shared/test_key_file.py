"""The key file: private, whole, and safe among several writers."""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from penstock_shared.api_keys import ApiKey, mint_key
from penstock_shared.errors import FailedPreconditionError, NotFoundError
from penstock_shared.key_file import KeyFile


def fresh_key(tenant: str = "acme") -> ApiKey:
    """The record of a new key."""
    return mint_key(tenant=tenant, name="", now_s=1000, lifetime_s=None).record


def add_some(path: Path) -> None:
    """What one of several writers does."""
    for _ in range(5):
        KeyFile(path).add(fresh_key())


def test_what_was_added_is_read_again(tmp_path: Path) -> None:
    """Every field comes back as it was."""
    file = KeyFile(tmp_path / "keys.json")
    assert file.load() == {}
    keys = [fresh_key("a"), fresh_key("b")]
    for key in keys:
        file.add(key)
    assert list(file.load().values()) == keys


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Also after it was replaced, and wherever it is made."""
    path = tmp_path / "new" / "keys.json"
    for _ in range(2):
        KeyFile(path).add(fresh_key())
        assert path.stat().st_mode & 0o777 == 0o600


def test_revoking_marks_the_key_and_leaves_the_others(tmp_path: Path) -> None:
    """The record stays, so that its id can be explained; the first time counts."""
    file = KeyFile(tmp_path / "keys.json")
    first, second = fresh_key(), fresh_key()
    file.add(first)
    file.add(second)
    assert file.revoke(first.key_id, now_s=2000.7).revoked_s == 2000
    assert file.revoke(first.key_id, now_s=3000).revoked_s == 2000
    assert file.load()[second.key_id] == second
    with pytest.raises(NotFoundError, match="no API key 'other'"):
        file.revoke("other", now_s=0)


def test_no_writer_loses_what_another_wrote(tmp_path: Path) -> None:
    """A key that was shown to somebody must work."""
    path = tmp_path / "keys.json"
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(add_some, [path] * 4))
    assert len(KeyFile(path).load()) == 20


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "Invalid JSON"),
        ("[]", "object"),
        ('{"keys": []}', "version: Field required"),
        ('{"version": 2, "keys": []}', "version: got 2; Input should be 1"),
        ('{"version": 1, "keys": [{"key_id": "a"}]}', "keys.0.tenant: Field required"),
        (json.dumps({"version": 1, "keys": [{"expires_s": "soon"}]}), "keys.0"),
    ],
)
def test_a_broken_file_is_told_by_name_and_never_replaced(tmp_path: Path, content: str, told: str) -> None:
    """Adding a key to a file that cannot be read would throw the others away."""
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(FailedPreconditionError) as caught:
        KeyFile(path).add(fresh_key())
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert path.read_text() == content
