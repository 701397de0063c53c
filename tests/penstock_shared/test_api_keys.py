"""API keys: what is shown once, and what is kept."""

from dataclasses import replace

import pytest

from penstock_shared.api_keys import KeyStatus, find_key, is_key_text, mint_key

MINTED = mint_key(tenant="acme", name="job", now_s=1000.5, lifetime_s=60)


def test_a_key_is_found_by_its_text() -> None:
    """The text is all that a client has."""
    assert find_key(MINTED.text, {MINTED.record.key_id: MINTED.record}) == MINTED.record
    assert is_key_text(MINTED.text)
    assert MINTED.text.startswith(f"pst_{MINTED.record.key_id}_")


def test_its_secret_is_kept_nowhere() -> None:
    """Who reads the key file, a log or a traceback learns nothing that opens the door."""
    secret = MINTED.text.split("_", 2)[2]
    assert len(secret) == 43  # 32 bytes in base64
    assert secret not in f"{MINTED!r} {MINTED.record!r} {MINTED.record.secret_sha256}"


def test_each_key_has_an_id_and_secret_of_its_own() -> None:
    """Revoking one must leave the others."""
    texts = [mint_key(tenant="a", name="", now_s=0, lifetime_s=None).text for _ in range(50)]
    assert len({text.split("_", 2)[1] for text in texts}) == 50
    assert len({text.split("_", 2)[2] for text in texts}) == 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pst",
        "pst_",
        "pst__",
        f"pst_{MINTED.record.key_id}",
        f"pst_{MINTED.record.key_id}_",
        f"pst_{MINTED.record.key_id}_{MINTED.record.secret_sha256}",
        MINTED.text[:-1],
        f"{MINTED.text}x",
        "pst_nobody_\udcff",
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    """Not a part of it, not its hash, and no rubbish."""
    assert find_key(text, {MINTED.record.key_id: MINTED.record}) is None


def test_a_key_ends_when_it_expires_or_is_revoked() -> None:
    """Revoked weighs more: it was meant."""
    assert MINTED.record.status(1059.9) is KeyStatus.ACTIVE
    assert MINTED.record.status(1060) is KeyStatus.EXPIRED
    assert replace(MINTED.record, revoked_s=1001).status(2000) is KeyStatus.REVOKED
    assert replace(MINTED.record, expires_s=None).status(1e12) is KeyStatus.ACTIVE
