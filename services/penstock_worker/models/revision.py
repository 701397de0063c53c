"""Names the weights of a checkpoint: equal revisions compute the same function.

The revision is the SHA-256 of a manifest: of config.json, the file as it is; of each safetensors file its name, size
and header, and a sample of each tensor's bytes. The sample is the whole tensor up to 64 KiB and 16 evenly spaced pages
of 4 KiB above that. So it costs milliseconds where a digest of all bytes costs as much as loading, and still tells
apart any two checkpoints of which one was trained, merged, pruned or quantized further: that moves every page.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from penstock_shared.errors import InvalidArgumentError

_PAGE_BYTES = 4096
_NUM_PAGES = 16


def weights_revision(model_dir: Path, files: tuple[Path, ...]) -> str:
    """The revision of the checkpoint in `model_dir` whose weights are in `files`, as 64 hex digits.

    Raises:
        InvalidArgumentError: a file is not there or is no safetensors file.
    """
    digest = hashlib.sha256()
    digest.update((model_dir / "config.json").read_bytes())
    for path in sorted(files):
        try:
            _add(digest, path)
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise InvalidArgumentError(str(path), str(error), "a whole safetensors file; copy it again") from None
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", path: Path) -> None:
    num_bytes = path.stat().st_size
    digest.update(f"\0{path.name}\0{num_bytes}\0".encode())
    with path.open("rb") as file:
        for piece in _sample(file, num_bytes):
            digest.update(piece)


def _sample(file: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    """The header of a safetensors file and the sampled pages of its tensors, in order of their place in the file."""
    num_header_bytes = int.from_bytes(file.read(8), "little")
    if num_header_bytes > num_bytes:
        raise ValueError("its header is longer than the file")
    header = file.read(num_header_bytes)
    yield header
    data_start = file.tell()
    entries = json.loads(header)
    entries.pop("__metadata__", None)
    spans = sorted(entry["data_offsets"] for entry in entries.values())
    missing = data_start + max((end for _, end in spans), default=0) - num_bytes
    if missing > 0:
        raise ValueError(f"its last {missing} bytes are missing")
    for begin, end in spans:
        for offset in _page_offsets(end - begin):
            file.seek(data_start + begin + offset)
            yield file.read(min(_PAGE_BYTES, end - begin - offset))


def _page_offsets(num_bytes: int) -> range | list[int]:
    """Where the sampled pages of a tensor of `num_bytes` begin; the first and the last page are among them."""
    if num_bytes <= _NUM_PAGES * _PAGE_BYTES:
        return range(0, num_bytes, _PAGE_BYTES)
    last = num_bytes - _PAGE_BYTES
    return [index * last // (_NUM_PAGES - 1) for index in range(_NUM_PAGES)]
