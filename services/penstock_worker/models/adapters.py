"""LoRA adapters of a loaded model: many in one step, each on its own rows, the base model's weights untouched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.adapter_file import AdapterFile, open_adapter
from penstock_worker.models.adapter_modules import AdaptableModule, adaptable_modules
from penstock_worker.models.cut import joined
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.decoder_weights import DecoderWeights
from penstock_worker.models.head_order import qkv_order
from penstock_worker.models.linear import KernelMaker, LinearKernel, PlainKernel
from penstock_worker.models.shard import WHOLE, Shard
from penstock_worker.models.shard_layout import ShardLayout, shard_config, shard_layout

Place = tuple[int, str]
"""A layer's index and the name of one of its fused projections."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a fused projection: `up @ down`, the scale included.

    Attributes:
        down: in to rank, the A of all its parts, one below the other.
        up: rank to out, their B, each in its own rows and columns.
    """

    down: LinearKernel
    up: LinearKernel

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[num_rows, in] to [num_rows, out]."""
        return self.up(self.down(x))


Adapter = Mapping[Place, LowRank]


@dataclass(frozen=True, slots=True)
class AdaptedRows:
    """The rows of a step that one adapter changes.

    Attributes:
        adapter: what it adds, by place.
        rows: int64 [num_rows]; None is all rows.
    """

    adapter: Adapter
    rows: torch.Tensor | None


class AdapterBank:
    """The adapters of one model, and which rows they change in the step under way.

    Args:
        model: its shapes, as a whole.
        weights: its weights, packed. Every projection that can be adapted gets a kernel that looks here.
        make_kernel: of the adapters' own matrices.
        shard: which part of the model the weights are.
    """

    def __init__(
        self,
        model: DecoderConfig,
        weights: DecoderWeights,
        make_kernel: KernelMaker = PlainKernel,
        shard: Shard = WHOLE,
    ) -> None:
        self._model = model
        self._shard = shard
        self._make_kernel = make_kernel
        self._dtype, self._device = weights.dtype, weights.device
        self._adapters: dict[int, Adapter] = {}
        self.step: Sequence[AdaptedRows] = ()
        layout = shard_layout(model, shard)
        held = [module for module in adaptable_modules(model).values() if module.layer in layout.layers]
        for layer, projection in {_place(module, layout) for module in held}:
            kernel = partial(AdaptedKernel, bank=self, place=(layer, projection))
            weights.layers[layer].projections()[projection].wrap(kernel)

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """Reads an adapter, to be used under an id. May run beside a step.

        Raises:
            InvalidArgumentError: it is no adapter for this model, or of another revision.
        """
        file = open_adapter(adapter_dir, self._model)
        if file.revision != revision:
            raise InvalidArgumentError(f"adapter {adapter_dir}", f"revision {file.revision}", f"revision {revision}")
        self._adapters[adapter_id] = read_adapter(
            file,
            self._model,
            dtype=self._dtype,
            device=self._device,
            make_kernel=self._make_kernel,
            shard=self._shard,
        )

    def drop(self, adapter_id: int) -> None:
        """Forgets an adapter that no sequence uses any more."""
        del self._adapters[adapter_id]

    def start_step(self, adapter_ids: Sequence[int], lengths: NDArray[np.int64]) -> None:
        """Says whose rows the next step has: so many for each chunk, laid end to end. An id of 0 is no adapter."""
        if not any(adapter_ids):
            self.step = ()
            return
        if len(set(adapter_ids)) == 1:
            self.step = (AdaptedRows(self._adapters[adapter_ids[0]], None),)
            return
        ids = np.repeat(np.array(adapter_ids), lengths)
        self.step = [
            AdaptedRows(self._adapters[adapter_id], self._rows(ids == adapter_id))
            for adapter_id in sorted(set(adapter_ids) - {0})
        ]

    def _rows(self, is_adapted: NDArray[np.bool_]) -> torch.Tensor:
        return torch.from_numpy(np.flatnonzero(is_adapted)).to(self._device)


@dataclass(frozen=True, slots=True)
class AdaptedKernel:
    """Adds to what another kernel computes what the step's adapters have for this place."""

    kernel: LinearKernel
    bank: AdapterBank
    place: Place

    @property
    def num_bytes(self) -> int:
        """Memory of the base weights."""
        return self.kernel.num_bytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `LinearKernel`."""
        out = self.kernel(x)
        for adapted in self.bank.step:
            low_rank = adapted.adapter.get(self.place)
            if low_rank is None:
                continue
            if adapted.rows is None:
                out.add_(low_rank(x))
            else:
                out.index_add_(0, adapted.rows, low_rank(x.index_select(0, adapted.rows)))
        return out


def read_adapter(
    file: AdapterFile,
    model: DecoderConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    make_kernel: KernelMaker = PlainKernel,
    shard: Shard = WHOLE,
) -> Adapter:
    """Reads an adapter and fuses it as the model's projections are fused, their rows in the same order.

    Of a projection whose outputs are cut, a shard has their rows of B. Where the inputs are cut it has their columns of
    A, and what the adapter adds here is one of the terms of the shards' sum.

    Raises:
        InvalidArgumentError: a number in it is not finite, and would reach other requests.
    """
    tensors = load_file(file.path)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InvalidArgumentError(f"adapter tensor {name}", "infinite numbers or none", "finite numbers")
    layout = shard_layout(model, shard)
    by_place: dict[Place, list[str]] = {}
    for name, module in file.modules.items():
        if module.layer in layout.layers:
            by_place.setdefault(_place(module, layout), []).append(name)
    adapter = {}
    for place, names in by_place.items():
        matrices = _held(*_fused(file, names, tensors, _out_size(model, place[1])), model, layout, place[1])
        adapter[place] = LowRank(*(make_kernel(matrix.to(device, dtype), None) for matrix in matrices))
    return adapter


def _place(module: AdaptableModule, layout: ShardLayout) -> Place:
    return module.layer - layout.layers.start, module.projection


def _held(
    down: torch.Tensor, up: torch.Tensor, model: DecoderConfig, layout: ShardLayout, projection: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a shard has of the matrices of a fused projection."""
    match projection:
        case "qkv":
            rows = torch.tensor(layout.qkv.indices)[qkv_order(shard_config(model, layout))]
            return down, up[rows]
        case "output":
            return down[:, layout.queries.indices], up
        case "gate_up":
            return down, up[joined((layout.intermediate, layout.intermediate)).indices]
        case "up":
            return down, up[layout.intermediate.indices]
    return down[:, layout.intermediate.indices], up


def _fused(
    file: AdapterFile, names: list[str], tensors: Mapping[str, torch.Tensor], out_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A and scaled B of the modules of one fused projection: float32 [len(names) * rank, in], [out_size, same]."""
    rank = file.lora.rank
    downs, up = [], torch.zeros(out_size, len(names) * rank)
    for index, name in enumerate(names):
        module = file.modules[name]
        a, b = (tensors[tensor].float() for tensor in file.tensor_names(name))
        downs.append(a)
        rows = slice(module.first_row, module.first_row + module.out_size)
        up[rows, index * rank : (index + 1) * rank] = b * file.lora.scale
    return torch.cat(downs), up


def _out_size(model: DecoderConfig, projection: str) -> int:
    sizes = {"qkv": model.qkv_size, "gate_up": 2 * model.intermediate_size, "up": model.intermediate_size}
    return sizes.get(projection, model.hidden_size)
