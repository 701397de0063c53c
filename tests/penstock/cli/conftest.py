"""Runs the command line as a user does."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.command_line import Cli, Ran
from fakes.inference_server import ScriptedInference, paris, pocket_model

from penstock.cli.main import main


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own, which every command finds."""
    monkeypatch.setenv("PENSTOCK_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def cli(state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs `penstock ARGUMENTS` in this process."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["penstock", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def server() -> Iterator[ScriptedInference]:
    """A gateway that says "Paris." and has a model with a chat template."""
    with ScriptedInference(script=paris(), models=[pocket_model()]) as scripted:
        yield scripted
