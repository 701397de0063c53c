"""A checkpoint of rounded weights, read as the numbers that they stand for.

GPTQ's layout (Frantar et al. 2022, arXiv 2210.17323, as AutoGPTQ and GPTQModel write it) stores `qweight`, int32
[in / n, out] with n integers a word along the input; `qzeros`, int32 [groups, out / n]; `scales`, [groups, out]; and
`g_idx`, the group of each input, which is not ascending where columns were rounded in order of activation.

The layouts of compressed-tensors store signed integers: `weight`, int8 [out, in], or, with half their range added,
`weight_packed`, int32 [out, in / n], and `weight_shape`; `weight_scale`, [out, groups]; where zero is elsewhere
`weight_zero_point`, packed along the output; and `weight_g_idx` as above.
"""

from collections.abc import Iterable, Mapping

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.loader import Checkpoint, Shape, compare_shapes
from penstock_worker.models.rounded_weight import Grid, RoundedWeight, unpacked
from penstock_worker.models.stored_format import StoredFormat

_PARTS = {
    "gptq": ("qweight", "qzeros", "scales", "g_idx"),
    "pack-quantized": ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"),
    "int-quantized": ("weight", "weight_scale", "weight_zero_point", "weight_g_idx"),
}
"""Names of the tensors of a weight; the first and the scales are always there."""


class RoundedCheckpoint:
    """The tensors of a checkpoint, by the names that they have where nothing is rounded.

    Args:
        checkpoint: holds them.
        stored: their format.

    Raises:
        InvalidArgumentError: names a tensor that does not fit the others of its weight.
    """

    def __init__(self, checkpoint: Checkpoint, stored: StoredFormat) -> None:
        self._checkpoint = checkpoint
        self._stored = stored
        self._stored_shapes = checkpoint.shapes
        self._pack = 32 // stored.bits
        first, scales = _PARTS[stored.layout][0], "scales" if stored.layout == "gptq" else "weight_scale"
        stems = {name.removesuffix(f".{scales}") for name in checkpoint.names if name.endswith(f".{scales}")}
        self._stems = {stem for stem in stems if f"{stem}.{first}" in self._stored_shapes}
        parts = {f"{stem}.{part}" for stem in self._stems for part in _PARTS[stored.layout]}
        self._plain_names = [name for name in checkpoint.names if name not in parts]
        self.shapes: dict[str, Shape] = {name: self._stored_shapes[name] for name in self._plain_names}
        self.shapes |= {f"{stem}.weight": self._shape(stem) for stem in self._stems}

    @property
    def names(self) -> Iterable[str]:
        """Of all tensors, those of a weight counted as one."""
        return self.shapes.keys()

    def stored_dtypes(self) -> set[torch.dtype]:
        """The dtypes of scales and of what is not rounded."""
        scales = "scales" if self._stored.layout == "gptq" else "weight_scale"
        return self._checkpoint.stored_dtypes([*self._plain_names, *(f"{stem}.{scales}" for stem in self._stems)])

    def check_shapes(self, expected: Mapping[str, Shape], ignored: frozenset[str] = frozenset()) -> None:
        """See `Checkpoint.check_shapes`. GPTQ's writers add biases of zeros where a model has none."""
        surplus = {f"{stem}.bias" for stem in self._stems} & self.shapes.keys() - expected.keys()
        zeros = {name for name in surplus if not self.read(name, self.shapes[name]).any()}
        compare_shapes(self.shapes, expected, ignored | zeros)

    def read(self, name: str, shape: Shape) -> torch.Tensor:
        """One tensor, on CPU; a rounded weight in float32."""
        stem = name.removesuffix(".weight")
        return self._weight(stem).numbers() if stem in self._stems else self._checkpoint.read(name, shape)

    def grid(self, name: str) -> Grid | None:
        """The grid of a weight; None where it is not rounded, or its groups are not neighbours."""
        stem = name.removesuffix(".weight")
        if stem not in self._stems:
            return None
        weight = self._weight(stem)
        return weight.grid if weight.groups is None else None

    def _shape(self, stem: str) -> Shape:
        """[out, in] of a weight."""
        match self._stored.layout:
            case "gptq":
                num_words, num_outputs = self._matrix(f"{stem}.qweight")
                return num_outputs, num_words * self._pack
            case "int-quantized":
                return self._matrix(f"{stem}.weight")
        num_outputs, num_words = self._matrix(f"{stem}.weight_packed")
        shape = self._part(f"{stem}.weight_shape", (2,)).tolist()
        if shape[0] != num_outputs or -(-shape[1] // self._pack) != num_words:
            raise InvalidArgumentError(f"{stem}.weight_shape", shape, f"{num_outputs} rows of {num_words} words")
        return num_outputs, shape[1]

    def _weight(self, stem: str) -> RoundedWeight:
        num_outputs, num_inputs = self.shapes[f"{stem}.weight"]
        num_groups = -(-num_inputs // (self._stored.group_size or num_inputs))
        if self._stored.layout == "gptq":
            weight = self._gptq(stem, num_outputs, num_inputs, num_groups)
        else:
            weight = self._compressed(stem, num_outputs, num_inputs, num_groups)
        if weight.groups is None and num_inputs % num_groups:
            raise InvalidArgumentError(f"{stem} group_size", self._stored.group_size, f"a divisor of {num_inputs}")
        return weight

    def _gptq(self, stem: str, num_outputs: int, num_inputs: int, num_groups: int) -> RoundedWeight:
        bits, scales = self._stored.bits, self._part(f"{stem}.scales", (num_groups, num_outputs))
        words = self._part(f"{stem}.qweight", (num_inputs // self._pack, num_outputs), torch.int32)
        zero_words = self._part(f"{stem}.qzeros", (num_groups, -(-num_outputs // self._pack)), torch.int32)
        # One for each integer of a word, added to the word: a zero point of 0 less one has borrowed from the next.
        ones = sum(1 << shift for shift in range(0, 32, bits))
        zero_words = (zero_words.long() + self._stored.stored_zero_offset * ones).to(torch.int32)
        zeros = unpacked(zero_words, bits, num_outputs)
        codes = unpacked(words.t().contiguous(), bits, num_inputs)
        grid = Grid(
            bits, scales.float().t().contiguous(), zeros.float().t().contiguous(), has_rounded_activations=False
        )
        return RoundedWeight(codes.float(), grid, self._groups(f"{stem}.g_idx", num_inputs, num_groups))

    def _compressed(self, stem: str, num_outputs: int, num_inputs: int, num_groups: int) -> RoundedWeight:
        bits, scales = self._stored.bits, self._part(f"{stem}.weight_scale", (num_outputs, num_groups)).float()
        half = 1 << (bits - 1)
        zeros = torch.full_like(scales, half)
        if self._stored.layout == "pack-quantized":
            words = self._part(f"{stem}.weight_packed", (num_outputs, -(-num_inputs // self._pack)), torch.int32)
            codes = unpacked(words, bits, num_inputs).float()
            if not self._stored.is_symmetric:
                shape = (-(-num_outputs // self._pack), num_groups)
                zero_words = self._part(f"{stem}.weight_zero_point", shape, torch.int32)
                zeros = unpacked(zero_words.t().contiguous(), bits, num_outputs).t().float().contiguous()
        else:
            codes = self._part(f"{stem}.weight", (num_outputs, num_inputs), torch.int8).float().add_(half)
            if not self._stored.is_symmetric:
                zeros = self._part(f"{stem}.weight_zero_point", (num_outputs, num_groups)).float() + half
        grid = Grid(bits, scales, zeros, self._stored.has_rounded_activations)
        return RoundedWeight(codes, grid, self._groups(f"{stem}.weight_g_idx", num_inputs, num_groups))

    def _groups(self, name: str, num_inputs: int, num_groups: int) -> torch.Tensor | None:
        """The group of each input; None where they are neighbours."""
        if name not in self._stored_shapes:
            return None
        groups = self._part(name, (num_inputs,)).long()
        if groups.min() < 0 or groups.max() >= num_groups:
            raise InvalidArgumentError(name, f"{groups.min()} to {groups.max()}", f"0 to {num_groups - 1}")
        neighbours = torch.arange(num_inputs) // (self._stored.group_size or num_inputs)
        return None if torch.equal(groups, neighbours) else groups

    def _matrix(self, name: str) -> tuple[int, int]:
        shape = self._stored_shapes[name]
        if len(shape) != 2 or 0 in shape:  # noqa: PLR2004 rows and columns
            raise InvalidArgumentError(f"tensor {name}", shape, "two sizes above 0")
        return shape[0], shape[1]

    def _part(self, name: str, shape: Shape, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A tensor of a weight, whose shape and dtype follow from the others."""
        found = self._stored_shapes.get(name)
        if found != shape:
            raise InvalidArgumentError(f"tensor {name}", found, f"the shape {shape}")
        tensor = self._checkpoint.read(name, shape)
        if dtype is not None and tensor.dtype != dtype:
            raise InvalidArgumentError(f"tensor {name} dtype", str(tensor.dtype), str(dtype))
        return tensor
