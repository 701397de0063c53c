"""What it says of a checkpoint that a file of it cannot be read."""

from pathlib import Path

from penstock_shared.errors import InvalidArgumentError, PenstockError, UnavailableError

_LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def unreadable(path: Path, error: OSError, allowed: str) -> PenstockError:
    """The error to raise: the file is not what is allowed, or the machine cannot read it just now."""
    if isinstance(error, _LASTING):
        return InvalidArgumentError(str(path), error.strerror, allowed)
    return UnavailableError(f"{path} cannot be read now: {error.strerror}")
