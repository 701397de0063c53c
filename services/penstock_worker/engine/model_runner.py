"""Runs a step plan on the model: plain numbers in, logits out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from penstock_worker.engine.attention import StepAttention
from penstock_worker.engine.batch import assemble
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.plan import StepPlan
from penstock_worker.engine.prompt_scores import prompt_scores
from penstock_worker.engine.sequence import TokenLogprobs
from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.decoder import Decoder


@dataclass(frozen=True, slots=True)
class StepLogits:
    """What comes back from a step.

    Attributes:
        values: float32 [num_rows, vocab_size], on device: the rows that each chunk asks for, in the plan's order.
        prompt_scores: of the chunks that ask for them, by key.
    """

    values: torch.Tensor
    prompt_scores: Mapping[int, list[TokenLogprobs]] = field(default_factory=dict)


class ModelRunner:
    """Computes the chunks of a plan in one pass over the model.

    Args:
        decoder: the model.
        cache: its keys and values; on the decoder's device.
        attention: what the model's attention computes.
    """

    def __init__(self, decoder: Decoder, cache: KvCache, attention: AttentionConfig) -> None:
        self._decoder = decoder
        self._cache = cache
        self._attention = attention

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepLogits:
        """Computes keys, values and the logits that the plan asks for. The plan has at least one chunk."""
        if plan.fresh_block_ids:
            self._cache.clear(plan.fresh_block_ids)
        batch = assemble(plan, block_size=self._cache.block_size, padding_block_id=self._cache.padding_block_id)
        attention = StepAttention(self._cache, batch, self._attention)
        token_ids, positions, rows = (
            torch.from_numpy(ids).to(self._cache.values.device)
            for ids in (batch.token_ids, batch.positions, batch.logits_rows)
        )
        hidden = self._decoder.hidden_states(token_ids, positions, attention)
        values = self._decoder.logits(hidden.index_select(0, rows))
        return StepLogits(values, self._prompt_scores(plan, hidden))

    def _prompt_scores(self, plan: StepPlan, hidden: torch.Tensor) -> dict[int, list[TokenLogprobs]]:
        scores: dict[int, list[TokenLogprobs]] = {}
        offset = 0
        for chunk in plan.chunks:
            end = offset + len(chunk.token_ids)
            if chunk.scoring is not None:
                scores[chunk.key] = prompt_scores(chunk.scoring, hidden[offset:end], self._decoder.logits)
            offset = end
        return scores
