"""The record on disk: written whole, read by every version."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.local.control import running_stack, stop_stack
from penstock.local.errors import LocalError
from penstock.local.paths import StateDir
from penstock.local.plan import Addresses
from penstock.local.ports import Ports
from penstock.local.process_id import ProcessId
from penstock.local.record import ForeignStack, load_record, load_state, save_state
from penstock.local.state import Phase, StackState


def this_process() -> ProcessId:
    """Somebody who is alive."""
    found = ProcessId.of(os.getpid())
    assert found is not None
    return found


STATE = StackState(Phase.READY, this_process(), 1.5, "pocket", "/m", 2, Addresses.on_loopback(Ports()))


def write_as_another_version(state_dir: StateDir, supervisor: ProcessId, **changes: object) -> None:
    """A record as it might have been, or come to be."""
    save_state(state_dir.stack_file, replace(STATE, supervisor=supervisor))
    fields = json.loads(state_dir.stack_file.read_text()) | {"num_replicas": None, "phase": "paused"} | changes
    state_dir.stack_file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """What one process writes, another reads."""
    save_state(tmp_path / "stack.json", STATE)
    assert load_record(tmp_path / "stack.json") == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


@pytest.mark.parametrize("content", ["", "{", '{"phase": "ready"}', "[]", "5", '{"supervisor": 5}'])
def test_unreadable_record_counts_as_none(tmp_path: Path, content: str) -> None:
    """Half a record, or something else, must not stop a start."""
    (tmp_path / "stack.json").write_text(content)
    assert load_record(tmp_path / "stack.json") is None


@pytest.mark.parametrize(
    ("record_format", "version", "words"),
    [
        (None, None, "a stack of an older penstock"),
        (1, "0.0.9", "a stack of penstock 0.0.9"),
        (99, "7.0", "a stack of penstock 7.0"),
    ],
)
def test_running_stack_of_another_version_is_told(
    tmp_path: Path, record_format: int | None, version: str | None, words: str
) -> None:
    """To say that nothing runs would be a lie, and would end in a taken port."""
    state_dir = StateDir(tmp_path)
    write_as_another_version(state_dir, this_process(), format=record_format, version=version)
    assert load_record(state_dir.stack_file) == ForeignStack(this_process(), version or "")
    assert load_state(state_dir.stack_file) is None
    with pytest.raises(LocalError) as raised:
        running_stack(state_dir)
    assert str(raised.value) == (
        f"{words} runs from {tmp_path} (pid {os.getpid()}), and this one cannot read its record; "
        "stop it with `penstock down` and start it anew"
    )


def test_stack_of_another_version_can_be_stopped(tmp_path: Path) -> None:
    """The way out that the message names must work."""
    state_dir = StateDir(tmp_path)
    child = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    supervisor = ProcessId.of(child)
    assert supervisor is not None
    write_as_another_version(state_dir, supervisor, format=1, version="0.0.9")
    assert stop_stack(state_dir, timeout_s=20) == [f"a stack of penstock 0.0.9 (pid {child})"]
    os.waitpid(child, 0)
    assert stop_stack(state_dir, timeout_s=20) == []
