"""Log probabilities of prompt tokens, a few rows of logits at a time."""

from collections.abc import Callable, Iterator

import torch

from penstock_worker.engine.scoring import Scoring
from penstock_worker.engine.sequence import TokenLogprobs, TopLogprob

# Bounds the memory: rows times vocabulary.
_MAX_ROWS = 64


def prompt_scores(
    scoring: Scoring, hidden: torch.Tensor, logits: Callable[[torch.Tensor], torch.Tensor]
) -> list[TokenLogprobs]:
    """The scores of `scoring.target_ids`, in order.

    Args:
        scoring: what is wanted of the chunk.
        hidden: [num_tokens of the chunk, hidden_size].
        logits: of rows of `hidden`: float32 [num_rows, vocab_size].
    """
    target_ids = torch.tensor(scoring.target_ids, device=hidden.device)
    rows = hidden[scoring.first : scoring.first + len(target_ids)]
    parts = zip(torch.split(rows, _MAX_ROWS), torch.split(target_ids, _MAX_ROWS), strict=True)
    return [score for part, ids in parts for score in _scores(logits(part), ids, scoring.num_alternatives)]


def _scores(logits: torch.Tensor, target_ids: torch.Tensor, num_alternatives: int) -> Iterator[TokenLogprobs]:
    logprobs = logits.log_softmax(dim=-1)
    of_targets = logprobs.gather(1, target_ids.unsqueeze(1)).squeeze(1).tolist()
    tops = logprobs.topk(num_alternatives, dim=-1)
    rows = zip(target_ids.tolist(), of_targets, tops.indices.tolist(), tops.values.tolist(), strict=True)
    for token_id, logprob, top_ids, top_values in rows:
        yield TokenLogprobs(token_id, logprob, tuple(map(TopLogprob, top_ids, top_values)))
