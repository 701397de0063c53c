"""A file that is read again when it changes."""

from pathlib import Path

import pytest
from fakes.clock import FakeClock

from penstock_shared.errors import FailedPreconditionError
from penstock_shared.watched_file import WatchedFile


def parse(content: bytes) -> int:
    """A number; raises ValueError for anything else."""
    return int(content)


def replace_file(path: Path, text: str) -> None:
    """As an atomic writer does: the same length and time would not hide it."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_change_is_seen_after_a_second_and_not_looked_for_before(tmp_path: Path) -> None:
    """The hot path must not pay for a file that changes once a week."""
    path, clock = tmp_path / "file", FakeClock()
    path.write_text("1")
    file = WatchedFile(path, parse, clock=clock)
    replace_file(path, "2")
    clock.advance(0.9)
    assert file.current() == 1
    clock.advance(0.1)
    assert file.current() == 2


def test_it_can_be_asked_to_look_at_once(tmp_path: Path) -> None:
    """For a key that was made a moment ago."""
    path = tmp_path / "file"
    file = WatchedFile(path, parse, clock=FakeClock())
    assert file.refresh() is None
    path.write_text("1")
    assert file.refresh() == 1


def test_a_broken_or_vanished_file_leaves_the_last_good_content(tmp_path: Path) -> None:
    """A slip of the editor must neither lock everybody out nor let everybody in."""
    path = tmp_path / "file"
    path.write_text("1")
    file = WatchedFile(path, parse, clock=FakeClock())
    replace_file(path, "broken")
    assert file.refresh() == 1
    path.unlink()
    assert file.refresh() == 1
    path.write_text("2")
    assert file.refresh() == 2


def test_a_broken_file_is_complained_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And not every second until somebody mends it."""
    path = tmp_path / "file"
    path.write_text("1")
    file = WatchedFile(path, parse, clock=FakeClock())
    replace_file(path, "broken")
    for _ in range(3):
        file.refresh()
    printed = capsys.readouterr()
    assert f"{printed.out}{printed.err}".count("cannot read") == 1


def test_nothing_starts_on_a_broken_file(tmp_path: Path) -> None:
    """There is no last good content yet."""
    path = tmp_path / "file"
    path.write_text("broken")
    with pytest.raises(FailedPreconditionError, match=f"{path}: invalid literal"):
        WatchedFile(path, parse)
