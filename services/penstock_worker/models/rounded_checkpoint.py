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
from penstock_worker.models.cut import Cut, Cuts, sizes, whole
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
        zeros = {name for name in surplus if not self.read(name, _all_of(self.shapes[name])).any()}
        compare_shapes(self.shapes, expected, ignored | zeros)

    def read(self, name: str, cuts: Cuts) -> torch.Tensor:
        """A part of a tensor, on CPU; of a rounded weight in float32."""
        stem = name.removesuffix(".weight")
        return self._weight(stem, cuts).numbers() if stem in self._stems else self._checkpoint.read(name, cuts)

    def grid(self, name: str, cuts: Cuts) -> Grid | None:
        """The grid of a part of a weight; None where it is not rounded, or its groups are not neighbours."""
        stem = name.removesuffix(".weight")
        if stem not in self._stems:
            return None
        weight = self._weight(stem, cuts)
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
        shape = self._part(f"{stem}.weight_shape", _all_of((2,))).tolist()
        if shape[0] != num_outputs or -(-shape[1] // self._pack) != num_words:
            raise InvalidArgumentError(f"{stem}.weight_shape", shape, f"{num_outputs} rows of {num_words} words")
        return num_outputs, shape[1]

    def _weight(self, stem: str, cuts: Cuts) -> RoundedWeight:
        outputs, inputs = cuts
        make = self._gptq if self._stored.layout == "gptq" else self._compressed
        return make(stem, outputs, inputs)

    def _gptq(self, stem: str, outputs: Cut, inputs: Cut) -> RoundedWeight:
        held, groups = self._grouping(stem, "g_idx", inputs)
        scales = self._part(f"{stem}.scales", (held, outputs)).float().t().contiguous()
        offset = self._stored.stored_zero_offset
        zeros = self._codes(f"{stem}.qzeros", outputs, held, words_along=1, offset=offset).float().t().contiguous()
        codes = self._codes(f"{stem}.qweight", inputs, outputs, words_along=0).float()
        return RoundedWeight(codes, self._grid(scales, zeros, inputs), groups)

    def _compressed(self, stem: str, outputs: Cut, inputs: Cut) -> RoundedWeight:
        half = 1 << (self._stored.bits - 1)
        held, groups = self._grouping(stem, "weight_g_idx", inputs)
        scales = self._part(f"{stem}.weight_scale", (outputs, held)).float()
        zeros = torch.full_like(scales, half)
        if self._stored.layout == "pack-quantized":
            codes = self._codes(f"{stem}.weight_packed", inputs, outputs, words_along=1).float()
            if not self._stored.is_symmetric:
                codes_of_zero = self._codes(f"{stem}.weight_zero_point", outputs, held, words_along=0)
                zeros = codes_of_zero.t().float().contiguous()
        else:
            codes = self._part(f"{stem}.weight", (outputs, inputs), torch.int8).float().add_(half)
            if not self._stored.is_symmetric:
                zeros = self._part(f"{stem}.weight_zero_point", (outputs, held)).float() + half
        return RoundedWeight(codes, self._grid(scales, zeros, inputs), groups)

    def _grid(self, scales: torch.Tensor, zeros: torch.Tensor, inputs: Cut) -> Grid:
        stored = self._stored
        is_per_output = self._num_groups(inputs) == 1
        return Grid(stored.bits, scales, zeros, stored.has_rounded_activations, is_per_output)

    def _num_groups(self, inputs: Cut) -> int:
        """Of all inputs."""
        return -(-inputs.size // (self._stored.group_size or inputs.size))

    def _codes(self, name: str, packed: Cut, other: Cut, *, words_along: int, offset: int = 0) -> torch.Tensor:
        """The codes of a tensor of two dimensions, with words along one of them, `offset` added to each.

        Returns:
            uint8 [other, packed].
        """
        words = packed.words(self._pack)
        held = whole(-(-packed.size // self._pack)) if words is None else words
        part = self._part(name, (other, held) if words_along else (held, other), torch.int32)
        part = part if words_along else part.t().contiguous()
        if offset:  # added to the word as a whole: a zero point of 0 less one has borrowed from the next
            ones = sum(1 << shift for shift in range(0, 32, self._stored.bits))
            part = (part.long() + offset * ones).to(torch.int32)
        if words is not None:
            return unpacked(part, self._stored.bits, packed.length)
        return unpacked(part, self._stored.bits, packed.size)[:, packed.indices]

    def _grouping(self, stem: str, name: str, inputs: Cut) -> tuple[Cut, torch.Tensor | None]:
        """Which groups of scales belong to `inputs`, and which of these each input has; None: they are neighbours."""
        group_size = self._stored.group_size or inputs.size
        num_groups = self._num_groups(inputs)
        of_all = self._groups(f"{stem}.{name}", inputs.size, num_groups)
        if of_all is not None:
            return whole(num_groups), of_all[inputs.indices]
        if inputs.size % num_groups:
            raise InvalidArgumentError(f"{stem} group_size", self._stored.group_size, f"a divisor of {inputs.size}")
        if num_groups == 1:
            return whole(1), None
        held = inputs.words(group_size)
        if held is None:
            return whole(num_groups), torch.tensor(inputs.indices) // group_size
        return held, None

    def _groups(self, name: str, num_inputs: int, num_groups: int) -> torch.Tensor | None:
        """The group of each input; None where they are neighbours."""
        if name not in self._stored_shapes:
            return None
        groups = self._part(name, _all_of((num_inputs,))).long()
        if groups.min() < 0 or groups.max() >= num_groups:
            raise InvalidArgumentError(name, f"{groups.min()} to {groups.max()}", f"0 to {num_groups - 1}")
        neighbours = torch.arange(num_inputs) // (self._stored.group_size or num_inputs)
        return None if torch.equal(groups, neighbours) else groups

    def _matrix(self, name: str) -> tuple[int, int]:
        shape = self._stored_shapes[name]
        if len(shape) != 2 or 0 in shape:  # noqa: PLR2004 rows and columns
            raise InvalidArgumentError(f"tensor {name}", shape, "two sizes above 0")
        return shape[0], shape[1]

    def _part(self, name: str, cuts: Cuts, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Of a tensor of a weight, whose shape and dtype follow from the others."""
        found, shape = self._stored_shapes.get(name), sizes(cuts)
        if found != shape:
            raise InvalidArgumentError(f"tensor {name}", found, f"the shape {shape}")
        tensor = self._checkpoint.read(name, cuts)
        if dtype is not None and tensor.dtype != dtype:
            raise InvalidArgumentError(f"tensor {name} dtype", str(tensor.dtype), str(dtype))
        return tensor


def _all_of(shape: Shape) -> Cuts:
    return tuple(map(whole, shape))
