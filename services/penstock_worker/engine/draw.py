"""Draws tokens by inverting the cumulative distribution: one uniform number a row, so one answer for one row.

Weights are exp((logit - greatest logit) / temperature) in float64, not normalised: the greatest is 1.
"""

from dataclasses import dataclass

import torch

_MIN_CANDIDATES = 256


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """How to draw from each row, as columns: float64 [num_rows, 1] each, but `top_k` is int64.

    Attributes:
        uniform: random number in [0, 1).
        temperature: above 0.
        top_k: number of most likely tokens considered; 0 keeps all.
        top_p: smallest set of tokens whose probability reaches this; 1 keeps all.
        min_p: tokens below this share of the top probability are dropped; 0 keeps all.
    """

    uniform: torch.Tensor
    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor


def draw_plain(logits: torch.Tensor, options: DrawOptions) -> torch.Tensor:
    """Draws from all tokens: int64 [num_rows].

    Args:
        logits: float32 [num_rows, vocab_size].
        options: those of each row; only `uniform` and `temperature` count.
    """
    peaks = logits.max(dim=-1, keepdim=True).values
    return _inverted(_weights(logits, peaks, options), options.uniform).squeeze(1)


def draw_filtered(logits: torch.Tensor, options: DrawOptions) -> torch.Tensor:
    """Draws from the tokens that top-k, then top-p, then min-p leave: int64 [num_rows].

    Tokens are ranked by logit, equal ones by id, and each filter keeps a first part of the ranking.

    Args:
        logits: float32 [num_rows, vocab_size].
        options: those of each row.
    """
    num_candidates = max(_MIN_CANDIDATES, 2 * int(options.top_k.max()))
    if num_candidates < logits.shape[1]:
        values, token_ids = _top_candidates(logits, num_candidates)
        weights, num_kept = _filtered(logits, values, options)
        # A cut among the candidates is the true one, unless tokens beyond them equal the last one kept.
        is_exact = values.gather(1, num_kept - 1) > values[:, -1:]
        if bool(is_exact.all()):
            return token_ids.gather(1, _inverted(weights, options.uniform)).squeeze(1)
    values, token_ids = logits.sort(dim=-1, descending=True, stable=True)
    weights, _ = _filtered(logits, values, options)
    return token_ids.gather(1, _inverted(weights, options.uniform)).squeeze(1)


def _top_candidates(logits: torch.Tensor, num_candidates: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and ids of the greatest logits, ranked: [num_rows, num_candidates] each."""
    token_ids = logits.topk(num_candidates, sorted=False).indices.sort(dim=-1).values
    values, order = logits.gather(1, token_ids).sort(dim=-1, descending=True, stable=True)
    return values, token_ids.gather(1, order)


def _filtered(logits: torch.Tensor, values: torch.Tensor, options: DrawOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of ranked candidates, 0 for those that are filtered out, and how many are left.

    Args:
        logits: [num_rows, vocab_size].
        values: [num_rows, num_candidates], the greatest logits in order.
        options: those of each row.

    Returns:
        float64 [num_rows, num_candidates] and int64 [num_rows, 1].
    """
    weights = _weights(values, values[:, :1], options)
    ranks = torch.arange(values.shape[1], device=values.device)
    has_top_k = options.top_k > 0
    weights = weights.masked_fill(has_top_k & (ranks >= options.top_k), 0.0)
    cumulative = weights.cumsum(dim=-1)  # one after the other: so what follows as zeros changes no total
    totals = cumulative[:, -1:]
    if not bool(has_top_k.all()):
        everything = _weights(logits, values[:, :1], options).sum(dim=-1, keepdim=True)
        totals = torch.where(has_top_k, totals, everything)
    is_kept = cumulative - weights < options.top_p * totals
    is_kept |= options.top_p == 1.0  # there rounding must not cut the tail
    is_kept &= (weights >= options.min_p) & (weights > 0.0)
    return weights.masked_fill(~is_kept, 0.0), is_kept.sum(dim=-1, keepdim=True).clamp_(min=1)


def _weights(logits: torch.Tensor, peaks: torch.Tensor, options: DrawOptions) -> torch.Tensor:
    return ((logits.double() - peaks) / options.temperature).exp_()


def _inverted(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index at which the cumulative weight exceeds `uniform` of the total: int64 [num_rows, 1].

    It is never an index of weight 0, as there the cumulative weight does not grow. Where weights are not numbers it is
    any index.
    """
    cumulative = weights.cumsum(dim=-1)
    found = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    return found.clamp_(max=weights.shape[1] - 1)
