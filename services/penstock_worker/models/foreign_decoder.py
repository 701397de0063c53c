"""Any decoder of transformers, run through its own module with our attention plugged in.

transformers calls the attention function that a model's config names. Ours hands queries, keys and values over to the
engine, which keeps them in its blocks. The tokens of all sequences go through the module as one row, each with its own
position; all that mixes tokens must be attention. `engine.foreign_model` makes sure of that.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 torch's own name for it
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.decoder import Attend

ATTENTION_NAME = "penstock"
# Arguments of an attention function that would change what it computes, and that ours does not know.
_UNKNOWN_TERMS = ("s_aux", "sinks", "position_bias", "head_mask", "indices")


class AttentionCall(NamedTuple):
    """What a layer asks of attention.

    Attributes:
        layer: its index.
        num_heads: query heads.
        num_kv_heads: key heads.
        head_dim: width of a head.
        scale: multiplies the product of query and key.
        window: how many positions a token sees; None sees all before it.
        soft_cap: bound of the scores, or None.
    """

    layer: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scale: float
    window: int | None
    soft_cap: float | None


class ForeignDecoder:
    """Passes for a `Decoder`.

    Args:
        model: a decoder with a language model's head, on its device, with `ATTENTION_NAME` as its attention.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._base = model.base_model
        self._bridge = _Bridge()
        for module in model.modules():
            module.penstock_bridge = self._bridge  # type: ignore[assignment]  # a module keeps any attribute
        self._given = _GivenHidden()
        self._head = copy.copy(model)
        self._head._modules = {**model._modules, model.base_model_prefix: self._given}  # noqa: SLF001

    def hidden_states(self, token_ids: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Runs all layers and the final norm; arguments as of `Decoder.hidden_states`: [num_tokens, hidden_size]."""
        with self._bridge.attending(attend):
            output = self._base(input_ids=token_ids[None], position_ids=positions[None], use_cache=False)
        hidden: torch.Tensor = output.last_hidden_state[0]
        return hidden

    def final_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """They are normalised already."""
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each row, with all that the model does to them: float32 [num_rows, vocab_size]."""
        self._given.hidden = hidden[None]
        tokens = torch.zeros(1, hidden.shape[0], dtype=torch.int64, device=hidden.device)
        logits: torch.Tensor = self._head(input_ids=tokens, use_cache=False).logits[0]
        return logits.float()

    def probe(self) -> list[AttentionCall]:
        """What its layers ask of attention, in the order of their calls."""
        token_ids = torch.arange(2, device=self._model.device)
        calls: list[AttentionCall] = []
        with self._bridge.attending(_first_values(calls), calls):
            self._base(input_ids=token_ids[None], position_ids=token_ids[None], use_cache=False)
        return calls

    def reference_logits(self, token_ids: torch.Tensor) -> torch.Tensor:
        """What transformers computes by itself for one sequence: float32 [num_tokens, vocab_size]."""
        self._model.set_attn_implementation("eager")
        try:
            logits: torch.Tensor = self._model(input_ids=token_ids[None], use_cache=False).logits[0]
        finally:
            self._model.set_attn_implementation(ATTENTION_NAME)
        return logits.float()


class _Bridge:
    """Leads from a module's attention to the engine's, during one pass."""

    def __init__(self) -> None:
        self._attend: Attend | None = None
        self._calls: list[AttentionCall] | None = None

    @contextmanager
    def attending(self, attend: Attend, calls: list[AttentionCall] | None = None) -> Iterator[None]:
        """Has attention done by `attend`, and what is asked of it added to `calls`."""
        self._attend, self._calls = attend, calls
        try:
            yield
        finally:
            self._attend = self._calls = None

    def __call__(
        self, call: AttentionCall, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """Attends: queries [1, num_heads, num_tokens, head_dim], keys and values likewise; to [1, num_tokens, ...]."""
        assert self._attend is not None
        if self._calls is not None:
            self._calls.append(call)
        value_dim = value.shape[-1]
        values = F.pad(value, (0, call.head_dim - value_dim))  # a cache's heads are all of one width
        keys_values = torch.cat([key[0], values[0]]).transpose(0, 1)
        attended = self._attend(call.layer, query[0].transpose(0, 1).contiguous(), keys_values)
        return attended.view(1, query.shape[2], call.num_heads, call.head_dim)[..., :value_dim]


def _first_values(calls: list[AttentionCall]) -> Attend:
    """An attention that keeps nothing and returns each head's first value, which is enough to go on."""

    def attend(layer: int, queries: torch.Tensor, keys_values: torch.Tensor) -> torch.Tensor:
        del layer
        return keys_values[:, calls[-1].num_kv_heads].repeat(1, queries.shape[1])

    return attend


@dataclass
class _Output(MoeModelOutputWithPast):
    """What any head may ask of the layers' output."""

    cross_attentions: None = None


class _GivenHidden(torch.nn.Module):
    """Stands where the layers were: a model around it computes its head only."""

    hidden: torch.Tensor

    @property
    def decoder(self) -> "_GivenHidden":
        """Some heads, such as OPT's, call the decoder inside the model."""
        return self

    def forward(self, *_args: Any, **_kwargs: Any) -> _Output:
        """The hidden states that it was given."""
        return _Output(last_hidden_state=self.hidden)


def attention_function(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **terms: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls; see its `AttentionInterface`."""
    del attention_mask  # what a token sees is decided by its sequence, and checked at load
    unknown = [name for name in _UNKNOWN_TERMS if terms.get(name) is not None]
    if unknown:
        raise InvalidArgumentError("attention", unknown[0], "scores that scale, cap and window alone decide")
    if value.shape[-1] > key.shape[-1]:
        raise InvalidArgumentError(
            "attention", f"values of width {value.shape[-1]}", f"at most {key.shape[-1]}, as keys"
        )
    call = AttentionCall(
        layer=int(module.layer_idx),  # type: ignore[arg-type]  # an integer by transformers' convention
        num_heads=query.shape[1],
        num_kv_heads=key.shape[1],
        head_dim=key.shape[-1],
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        window=terms.get("sliding_window"),
        soft_cap=terms.get("softcap"),
    )
    bridge = module.penstock_bridge
    assert isinstance(bridge, _Bridge)
    return bridge(call, query, key, value), None


AttentionInterface.register(ATTENTION_NAME, attention_function)
