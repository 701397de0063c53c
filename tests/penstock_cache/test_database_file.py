"""The database's file: versions, damage, and files that cannot be used."""

import sqlite3
from pathlib import Path

import pytest

from penstock_cache.database_file import connect, prepare
from penstock_cache.entries import ExactKey, StoredEntry
from penstock_cache.schema import _MIGRATIONS, VERSION
from penstock_cache.statements import find
from penstock_shared.errors import FailedPreconditionError, UnavailableError


def make_database(path: Path) -> None:
    """A sound database with some pages in it."""
    prepare(path)
    connection = connect(path)
    for number in range(200):
        connection.execute(
            "INSERT INTO entries (entry_id, tenant, exact_digest, model_revision, answer, size_bytes, created_s,"
            " expires_s, used_s) VALUES (?, 't', ?, 'r', ?, 1, 0, 1, 0)",
            (str(number), str(number).encode(), bytes(500)),
        )
    connection.execute("INSERT INTO tags (entry, tag) VALUES (1, 'red')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def num_entries(path: Path) -> int:
    """Rows in a database."""
    connection = connect(path, is_reader=True)
    (number,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    connection.close()
    return int(number)


def test_a_sound_database_is_kept_as_it_is(tmp_path: Path) -> None:
    """Every start goes this way."""
    make_database(tmp_path / "cache.db")
    prepare(tmp_path / "cache.db")
    assert num_entries(tmp_path / "cache.db") == 200
    assert [path.name for path in tmp_path.iterdir()] == ["cache.db"]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """After a downgrade nothing may be lost, and the line says what to do."""
    make_database(tmp_path / "cache.db")
    connection = sqlite3.connect(tmp_path / "cache.db")
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(FailedPreconditionError, match=f"schema {VERSION + 1} and this version knows {VERSION}: start"):
        prepare(tmp_path / "cache.db")
    assert num_entries(tmp_path / "cache.db") == 200


def test_a_database_of_the_first_version_is_brought_to_this_one_with_its_answers(tmp_path: Path) -> None:
    """After an update the stored answers are served on."""
    path = tmp_path / "cache.db"
    connection = sqlite3.connect(path)
    for statement in (*_MIGRATIONS[0], "PRAGMA user_version = 1"):
        connection.execute(statement)
    connection.execute("INSERT INTO entries VALUES (1, 'e', 't', x'00', 'r', x'01', 100, 1, 99, 2)")
    connection.execute("INSERT INTO tags VALUES (1, 'red')")
    connection.commit()
    connection.close()
    prepare(path)
    connection = connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert find(connection, ExactKey("t", b"\0"), now_s=5) == StoredEntry("e", b"\1", 1)
    assert connection.execute("SELECT entry, tag FROM tags").fetchall() == [(1, "red")]
    assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT tokens_saved, num_uses, priority FROM entries").fetchone() == (0, 0, 0)
    connection.close()


@pytest.mark.parametrize("offset", [0, 3 * 4096, 20 * 4096])
def test_a_damaged_database_is_set_aside_and_a_fresh_one_begun(tmp_path: Path, offset: int) -> None:
    """Answers can be made again; a service that does not start cannot. Header, index and data pages are overwritten."""
    path = tmp_path / "cache.db"
    make_database(path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 4096)
    damaged = path.read_bytes()
    prepare(path)
    assert num_entries(path) == 0
    (kept,) = tmp_path.glob("cache.db.damaged-*")
    assert kept.read_bytes() == damaged


def test_a_place_that_cannot_hold_a_database_is_said_with_its_path(tmp_path: Path) -> None:
    """A wrong state directory is the operator's to mend, not damage to be set aside."""
    (tmp_path / "cache.db").mkdir()
    with pytest.raises(UnavailableError, match=r"cannot use the cache database .*cache\.db: unable to open"):
        prepare(tmp_path / "cache.db")
    assert [path.name for path in tmp_path.iterdir()] == ["cache.db"]


def test_readers_cannot_write(tmp_path: Path) -> None:
    """One thread writes; a reader that did would wait for it."""
    prepare(tmp_path / "cache.db")
    connection = connect(tmp_path / "cache.db", is_reader=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM entries")
    connection.close()
