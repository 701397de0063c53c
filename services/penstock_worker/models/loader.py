"""Reads checkpoints: safetensors files only, one or many behind an index. Nothing is unpickled, ever."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.cut import Cuts, sizes
from penstock_worker.models.weight_files import first_names, weight_files

_STORED_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

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
        self._readers: dict[str, Any] = {}
        for path in self.files:
            reader = _open(path)
            self._readers.update(dict.fromkeys(reader.keys(), reader))

    @property
    def names(self) -> Iterable[str]:
        """Of all tensors."""
        return self._readers.keys()

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each tensor."""
        return {name: tuple(reader.get_slice(name).get_shape()) for name, reader in self._readers.items()}

    def stored_dtypes(self, of: Iterable[str] | None = None) -> set[torch.dtype]:
        """The dtypes that the tensors named by `of`, or all tensors, are stored in.

        Raises:
            InvalidArgumentError: names a tensor of a dtype that is not supported.
        """
        of = self._readers if of is None else of
        names = {str(self._readers[name].get_slice(name).get_dtype()): name for name in of}
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
        """A part of a tensor as stored, on CPU; the shape of the whole was checked.

        It may lie in the mapped file: copy what you keep. Of the file only the part is read.
        """
        if all(cut.is_whole for cut in cuts):
            tensor: torch.Tensor = self._readers[name].get_tensor(name)
            assert tensor.shape == sizes(cuts)
            return tensor
        return _taken(self._readers[name].get_slice(name), cuts)


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


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (OSError, SafetensorError) as error:
        raise InvalidArgumentError(str(path), str(error), "a readable safetensors file") from None
