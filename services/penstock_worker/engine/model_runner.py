"""Runs a step plan on the model: plain numbers in, logits out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from penstock_worker.engine.attention import StepAttention
from penstock_worker.engine.batch import StepBatch, assemble
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.pooling import Pooling, Vector
from penstock_worker.engine.prompt_scores import prompt_scores
from penstock_worker.engine.sequence import TokenLogprobs
from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.decoder import Attend
from penstock_worker.models.model_shape import Model


@dataclass(frozen=True, slots=True)
class StepLogits:
    """What comes back from a step.

    Attributes:
        values: float32 [num_rows, vocab_size], on device: the rows that each chunk asks for, in the plan's order.
        prompt_scores: of the chunks that ask for them, by key.
        pooled: the vectors of the chunks that ask for them, by key: their sum, or the last one; [hidden_size].
    """

    values: torch.Tensor
    prompt_scores: Mapping[int, list[TokenLogprobs]] = field(default_factory=dict)
    pooled: Mapping[int, Vector] = field(default_factory=dict)


class ModelRunner:
    """Computes the chunks of a plan in one pass over the model.

    Args:
        model: ours, or another's.
        cache: its keys and values; on the model's device.
        attention: what the model's attention computes.
        adapters: of the model's weights; None where it takes none.
        step_attention: makes the attention of a step.
    """

    def __init__(
        self,
        model: Model,
        cache: KvCache,
        attention: AttentionConfig,
        adapters: AdapterBank | None = None,
        step_attention: Callable[[KvCache, StepBatch, AttentionConfig], Attend] = StepAttention,
    ) -> None:
        self._model = model
        self._cache = cache
        self._attention = attention
        self._adapters = adapters
        self._step_attention = step_attention

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> StepLogits:
        """Computes keys, values and the logits that the plan asks for. The plan has at least one chunk."""
        hidden, rows = self._forward(plan)
        values = self._model.logits(hidden.index_select(0, rows))
        scores: dict[int, list[TokenLogprobs]] = {}
        pooled: dict[int, Vector] = {}
        for chunk, of_chunk in _by_chunk(plan, hidden):
            if chunk.scoring is not None:
                scores[chunk.key] = prompt_scores(chunk.scoring, of_chunk, self._model.logits)
            elif chunk.pooling is not None:
                pooled[chunk.key] = self._pooled(chunk.pooling, of_chunk)
        return StepLogits(values, scores, pooled)

    @torch.inference_mode()
    def run_layers(self, plan: StepPlan) -> None:
        """Computes keys and values only: where the layers are not the model's last ones."""
        self._forward(plan)

    def _forward(self, plan: StepPlan) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states, [num_tokens, hidden_size], and which rows of them need logits."""
        if plan.fresh_block_ids:
            self._cache.clear(plan.fresh_block_ids)
        batch = assemble(plan, block_size=self._cache.block_size, padding_block_id=self._cache.padding_block_id)
        if self._adapters is not None:
            self._adapters.start_step([chunk.adapter_id for chunk in plan.chunks], batch.lengths)
        attention = self._step_attention(self._cache, batch, self._attention)
        token_ids, positions, rows = (
            torch.from_numpy(ids).to(self._cache.values.device)
            for ids in (batch.token_ids, batch.positions, batch.logits_rows)
        )
        return self._model.hidden_states(token_ids, positions, attention), rows

    def _pooled(self, pooling: Pooling, hidden: torch.Tensor) -> Vector:
        counting = hidden if pooling is Pooling.MEAN else hidden[-1:]
        vector: Vector = self._model.final_hidden(counting).float().sum(dim=0).cpu().numpy()
        return vector


def _by_chunk(plan: StepPlan, hidden: torch.Tensor) -> Iterator[tuple[Chunk, torch.Tensor]]:
    """The chunks that want more than logits, each with its rows of `hidden`."""
    end = 0
    for chunk in plan.chunks:
        begin, end = end, end + len(chunk.token_ids)
        if chunk.scoring is not None or chunk.pooling is not None:
            yield chunk, hidden[begin:end]
