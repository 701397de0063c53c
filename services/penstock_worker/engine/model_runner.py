"""Runs a step plan on the model: plain numbers in, logits out."""

from dataclasses import dataclass

import torch

from penstock_worker.engine.attention import StepAttention
from penstock_worker.engine.batch import assemble
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.plan import StepPlan
from penstock_worker.models.decoder import Decoder


@dataclass(frozen=True, slots=True)
class StepLogits:
    """What comes back from a step.

    Attributes:
        values: float32 [num_rows, vocab_size], on device: the rows that each chunk asks for, in the plan's order.
    """

    values: torch.Tensor


class ModelRunner:
    """Computes the chunks of a plan in one pass over the model.

    Args:
        decoder: the model.
        cache: its keys and values; on the decoder's device.
        windows: per layer, how many positions a token sees; None sees all before it.
    """

    def __init__(self, decoder: Decoder, cache: KvCache, windows: tuple[int | None, ...]) -> None:
        self._decoder = decoder
        self._cache = cache
        self._windows = windows

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepLogits:
        """Computes keys, values and the logits that the plan asks for. The plan has at least one chunk."""
        if plan.fresh_block_ids:
            self._cache.clear(plan.fresh_block_ids)
        batch = assemble(plan, block_size=self._cache.block_size, padding_block_id=self._cache.padding_block_id)
        attention = StepAttention(self._cache, batch, self._windows)
        token_ids, positions, rows = (
            torch.from_numpy(ids).to(self._cache.values.device)
            for ids in (batch.token_ids, batch.positions, batch.logits_rows)
        )
        hidden = self._decoder.hidden_states(token_ids, positions, attention)
        return StepLogits(self._decoder.logits(hidden.index_select(0, rows)))
