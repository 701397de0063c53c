"""`stack.json`: the record by which every command finds the stack that runs from a state directory."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import penstock
from penstock.local.process_id import ProcessId
from penstock.local.state import StackState

# Counted up with every change of the record that an older command would misread.
_FORMAT = 3


@dataclass(frozen=True, slots=True)
class ForeignStack:
    """A stack whose record another version of Penstock wrote.

    Attributes:
        supervisor: the process that keeps it running. Where it stands in the record is the same in every version.
        version: of Penstock; empty where the record is too old to say.
    """

    supervisor: ProcessId
    version: str

    def __str__(self) -> str:
        return f"a stack of {f'penstock {self.version}' if self.version else 'an older penstock'}"


def save_state(path: Path, state: StackState) -> None:
    """Replaces the record at `path`; a reader sees the old or the new one, never a part.

    Raises:
        OSError: it cannot be written; the old one stands.
    """
    fields = {"format": _FORMAT, "version": penstock.__version__, **json.loads(state.to_json())}
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(fields))
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def load_record(path: Path) -> StackState | ForeignStack | None:
    """The record at `path`; None where there is none, or nothing that any version wrote."""
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        foreign = ForeignStack(ProcessId(**fields["supervisor"]), fields.pop("version", ""))
        return StackState.from_json(json.dumps(fields)) if fields.pop("format", None) == _FORMAT else foreign
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def load_state(path: Path) -> StackState | None:
    """The record at `path`, if there is one of this version."""
    record = load_record(path)
    return record if isinstance(record, StackState) else None
