"""Where a stack keeps its files, and where the embedded model lies."""

import os
from dataclasses import dataclass
from pathlib import Path

import penstock
from penstock.local.errors import LocalError
from penstock_shared.state_files import AUDIT_FILE_NAME, KEYS_FILE_NAME

_PACKAGE = Path(penstock.__file__).parent


@dataclass(frozen=True, slots=True)
class StateDir:
    """The state directory of one stack.

    Attributes:
        path: the directory itself; absolute.
    """

    path: Path

    @classmethod
    def at(cls, path: Path | None) -> "StateDir":
        """The given directory, else that of PENSTOCK_STATE_DIR, else the user's own."""
        chosen = path or os.environ.get("PENSTOCK_STATE_DIR") or "~/.local/state/penstock"
        return cls(Path(chosen).expanduser().absolute())

    @property
    def stack_file(self) -> Path:
        """What runs: written by the supervisor at each change, gone when all has stopped."""
        return self.path / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.path / "lock"

    @property
    def socket_file(self) -> Path:
        """Where the supervisor can be asked, for as long as it lives."""
        return self.path / "control.sock"

    @property
    def credential_file(self) -> Path:
        """The fleet credential."""
        return self.path / "fleet.credential"

    @property
    def keys_file(self) -> Path:
        """The API keys; not there until the first one is made."""
        return self.path / KEYS_FILE_NAME

    @property
    def audit_file(self) -> Path:
        """The audit log."""
        return self.path / AUDIT_FILE_NAME

    @property
    def logs(self) -> Path:
        """Directory of the logs, one file for each service."""
        return self.path / "logs"

    def log_file(self, service: str) -> Path:
        """The log of one service; that of the start before it ends in `.1`."""
        return self.logs / f"{service}.log"

    def create(self) -> None:
        """Makes the directories.

        Raises:
            LocalError: they cannot be made or written to.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self.lock_file.touch()
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> LocalError:
        """What to tell where nothing can be written here."""
        where = f" ({error.filename})" if error.filename else ""
        return LocalError(
            f"cannot write the state directory {self.path}: {error.strerror}{where}; "
            "mend that, or choose another with --state-dir"
        )


def pocket_model_dir() -> Path:
    """The embedded model: inside an installed package, or in the tree of a checkout."""
    for candidate in (_PACKAGE / "pocket", _PACKAGE.parent / "models" / "pocket"):
        if (candidate / "config.json").is_file():
            return candidate
    raise LocalError("the embedded model is missing from this installation; name a checkpoint with --model DIR")
