"""A safetensors file, of which parts of tensors are read."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_worker.models.cut import Cuts, sizes


class MappedFile:
    """Its tensors by name; opened, not yet read.

    What is read of a mapped file counts as this process's memory until `unmap`.

    Args:
        path: of the file.

    Raises:
        InvalidArgumentError: it is no safetensors file.
        FailedPreconditionError: it is another one than at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: Any = None
        self._first_seen = _identity(path)
        self.names: list[str] = self._reader.keys()

    def unmap(self) -> None:
        """Lets go of what was read, but for what somebody still holds. The next read opens the file again."""
        self._opened = None

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor."""
        return tuple(self._reader.get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Of a tensor, as the format names it."""
        return str(self._reader.get_slice(name).get_dtype())

    def read(self, name: str, cuts: Cuts) -> torch.Tensor:
        """A part of a tensor as stored, on CPU; the shape of the whole was checked.

        It may lie in the mapped file: copy what you keep. Of the file only the part is read.
        """
        if all(cut.is_whole for cut in cuts):
            tensor: torch.Tensor = self._reader.get_tensor(name)
            assert tensor.shape == sizes(cuts)
            return tensor
        return _taken(self._reader.get_slice(name), cuts)

    @property
    def _reader(self) -> Any:
        if self._opened is None:
            opened = _open(self._path)
            if _identity(self._path) != self._first_seen:
                raise FailedPreconditionError(f"{self._path} was changed while it was read")
            self._opened = opened
        return self._opened


def _taken(source: Any, cuts: Cuts) -> torch.Tensor:
    """What `cuts` says of a tensor that is not read yet; along one dimension at most there are several runs."""
    assert tuple(source.get_shape()) == sizes(cuts)
    spans = [slice(cut.runs[0][0], cut.runs[-1][1]) for cut in cuts]
    split = next((dim for dim, cut in enumerate(cuts) if len(cut.runs) > 1), None)
    if split is None:
        taken: torch.Tensor = source[tuple(spans)]
        return taken
    parts = [source[(*spans[:split], slice(*run), *spans[split + 1 :])] for run in cuts[split].runs]
    return torch.cat(parts, dim=split)


def _identity(path: Path) -> tuple[int, ...]:
    """Other after the file was changed or replaced; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (OSError, SafetensorError) as error:
        raise InvalidArgumentError(str(path), str(error), "a readable safetensors file") from None
