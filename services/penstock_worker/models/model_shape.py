"""What the engine asks of any model, ours or another's."""

from dataclasses import dataclass
from typing import Protocol

import torch

from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.decoder import Attend


class ModelShape(Protocol):
    """Sizes of a model. `DecoderConfig` has them."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below it."""
        ...

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        ...

    @property
    def num_layers(self) -> int:
        """Layers that keep keys and values."""
        ...

    @property
    def num_kv_heads(self) -> int:
        """Heads of keys, and of values, of a layer."""
        ...

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of a sequence."""
        ...

    @property
    def qkv_size(self) -> int:
        """Numbers of a token's queries, keys and values in a layer."""
        ...

    @property
    def mlp_width(self) -> int:
        """About how many numbers the MLP of a layer keeps for a token."""
        ...


class Model(Protocol):
    """What a `ModelRunner` runs. `Decoder` is one."""

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Runs all layers; see `Decoder.hidden_states`."""
        ...

    def final_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Rows of hidden states as embeddings are made of them."""
        ...

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each row: float32 [num_rows, vocab_size]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableModel:
    """A model in memory.

    Attributes:
        model: computes.
        shape: its sizes.
        attention: what its attention computes.
        dtype: that it runs in.
        device: that it is on.
        num_parameters: tied ones counted once.
        num_bytes: memory of the weights.
        quantization: how projections were rounded at load; empty where they were not.
        adapters: of its weights; None where it takes none.
        library: what computes it besides torch, for the numerics fingerprint; empty for ours.
    """

    model: Model
    shape: ModelShape
    attention: AttentionConfig
    dtype: torch.dtype
    device: torch.device
    num_parameters: int
    num_bytes: int
    quantization: str = ""
    library: str = ""
    adapters: AdapterBank | None = None
