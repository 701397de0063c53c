"""Reads checkpoints: safetensors files only, one or many behind an index. Nothing is unpickled, ever."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.cut import Cuts
from penstock_worker.models.mapped_file import MappedFile
from penstock_worker.models.weight_files import first_names, weight_files

_STORED_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_MAX_READ_BYTES = 32 * 2**20
_USUAL_ITEM_BYTES = 2

Shape = tuple[int, ...]


class Checkpoint:
    """The tensors of a checkpoint directory, by name; opened, not yet read.

    Args:
        model_dir: holds model.safetensors, or model.safetensors.index.json and the files that it names.

    Raises:
        InvalidArgumentError: there are no such files, or they are not safetensors.
    """

    def __init__(self, model_dir: Path) -> None:
        self.files = weight_files(model_dir)
        self._num_read_bytes = 0  # about, since the files were mapped
        self._files: dict[str, MappedFile] = {}
        for path in self.files:
            file = MappedFile(path)
            self._files.update(dict.fromkeys(file.names, file))

    @property
    def names(self) -> Iterable[str]:
        """Of all tensors."""
        return self._files.keys()

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each tensor."""
        return {name: file.shape(name) for name, file in self._files.items()}

    def stored_dtypes(self, of: Iterable[str] | None = None) -> set[torch.dtype]:
        """The dtypes that the tensors named by `of`, or all tensors, are stored in.

        Raises:
            InvalidArgumentError: names a tensor of a dtype that is not supported.
        """
        of = self._files if of is None else of
        names = {self._files[name].dtype(name): name for name in of}
        for dtype, name in names.items():
            if dtype not in _STORED_DTYPES:
                raise InvalidArgumentError(f"tensor {name} dtype", dtype, ", ".join(_STORED_DTYPES))
        return {_STORED_DTYPES[dtype] for dtype in names}

    def check_shapes(self, expected: Mapping[str, Shape], ignored: frozenset[str] = frozenset()) -> None:
        """Compares what is there with what the model needs; see `compare_shapes`."""
        compare_shapes(self.shapes, expected, ignored)

    def grid(self, name: str, cuts: Cuts) -> None:
        """None: no weight is rounded."""

    def read(self, name: str, cuts: Cuts) -> torch.Tensor:
        """A part of a tensor as stored; see `MappedFile.read`."""
        if self._num_read_bytes >= _MAX_READ_BYTES:
            for file in self._files.values():
                file.unmap()
            self._num_read_bytes = 0
        # Columns lie in all pages of a tensor.
        self._num_read_bytes += cuts[0].length * math.prod(cut.size for cut in cuts[1:]) * _USUAL_ITEM_BYTES
        return self._files[name].read(name, cuts)


def compare_shapes(found: Mapping[str, Shape], expected: Mapping[str, Shape], ignored: frozenset[str]) -> None:
    """Compares the tensors that a checkpoint has with those that the model needs.

    Args:
        found: shape of each tensor that there is.
        expected: shape of each tensor that the model reads.
        ignored: names of tensors that may be there as well.

    Raises:
        InvalidArgumentError: names the tensors that are missing, unexpected or of another shape.
    """
    shapes = {name: shape for name, shape in found.items() if name not in ignored}
    both = expected.keys() & shapes.keys()
    wrong = [f"{name} is {shapes[name]}, not {expected[name]}" for name in both if shapes[name] != expected[name]]
    faults = {
        "missing": expected.keys() - shapes.keys(),
        "unexpected": shapes.keys() - expected.keys(),
        "misshapen": wrong,
    }
    told = "; ".join(f"{kind}: {first_names(sorted(names))}" for kind, names in faults.items() if names)
    if told:
        allowed = f"the tensors that config.json implies; {told}"
        raise InvalidArgumentError("checkpoint tensors", f"{sum(map(len, faults.values()))} faults", allowed)
