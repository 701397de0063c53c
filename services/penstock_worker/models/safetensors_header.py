"""What a safetensors file holds, from its header alone. Needs neither torch nor the library: the fleet asks too."""

import json
from pathlib import Path
from typing import NamedTuple

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.unreadable import unreadable

_MAX_HEADER_BYTES = 100_000_000  # the format's own bound
_LENGTH_BYTES = 8


class TensorEntry(NamedTuple):
    """A tensor of a file: dtype as the format names it ("BF16"), and shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of a safetensors file, by name.

    Raises:
        InvalidArgumentError: it is not there, or is no safetensors file.
        UnavailableError: it cannot be read now.
    """
    try:
        with path.open("rb") as file:
            num_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            entries = json.loads(file.read(min(num_bytes, _MAX_HEADER_BYTES)))
        entries.pop("__metadata__", None)
        return {name: TensorEntry(str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()}
    except OSError as error:
        raise unreadable(path, error, "a safetensors file") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise InvalidArgumentError(str(path), "something else", "a safetensors file") from None
