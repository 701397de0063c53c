"""Ray's files go with their process, even one that was killed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from penstock_worker.scratch import scratch_directory

_HOLD = """
import sys
from penstock_worker.scratch import scratch_directory
with scratch_directory() as directory:
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def _own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.mark.usefixtures("_own_temp")
def test_a_killed_processs_directory_goes_and_a_living_ones_stays() -> None:
    """A machine where stacks are killed must not fill up; a second stack must not lose its files."""
    holders = [
        subprocess.Popen([sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = holders
    assert killed.stdout is not None
    assert living.stdout is not None
    abandoned, held = (Path(holder.stdout.readline().strip()) for holder in (killed, living))
    killed.kill()
    killed.wait()
    with scratch_directory() as own:
        assert not abandoned.exists()
        assert held.is_dir()
        assert own.is_dir()
    assert not own.exists()
    living.communicate()
    assert not held.exists()
