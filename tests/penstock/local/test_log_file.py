"""Logs of services: rotation and last words."""

from pathlib import Path

from penstock.local.log_file import last_line, rotate


def test_rotation_keeps_the_start_before(tmp_path: Path) -> None:
    """The log of the crash that made somebody start anew is still there, and no more than that."""
    log = tmp_path / "gateway.log"
    for text in ("first", "second", "third"):
        rotate(log)
        log.write_text(text)
    assert (log.read_text(), (tmp_path / "gateway.log.1").read_text()) == ("third", "second")
    assert len(list(tmp_path.iterdir())) == 2


def test_last_line_is_what_a_person_would_read(tmp_path: Path) -> None:
    """Blank lines and colours are not words."""
    log = tmp_path / "worker.log"
    log.write_text("loading\n\x1b[31merror: out of memory\x1b[0m\n\n  \n")
    assert last_line(log) == "error: out of memory"


def test_last_line_of_a_huge_or_missing_log(tmp_path: Path) -> None:
    """Neither a long log nor none may hurt."""
    log = tmp_path / "worker.log"
    assert last_line(log) == ""
    log.write_bytes(b"\xff" * 100_000 + b"\nlast")
    assert last_line(log) == "last"
