"""Changes to the logits of single tokens: penalties, bias, and the mask of tokens that may not end a sequence yet.

All of them touch few tokens of a vocabulary. So each is a list of places in the flattened logits and what to do there.
"""

from collections.abc import Sequence as ReadOnlyList

import numpy as np
import torch

from penstock_worker.engine.sequence import SamplingOptions, Sequence

_Row = tuple[int, Sequence]

# Beyond these a repetition penalty makes float32 overflow; they already rank what was seen above or below all else.
_LEAST_REPETITION, _GREATEST_REPETITION = 1e-30, 1e30


def edited(logits: torch.Tensor, sequences: ReadOnlyList[Sequence]) -> torch.Tensor:
    """The logits after penalties, bias and mask, in this order: `logits` itself where nobody wants any, else a copy.

    Args:
        logits: float32 [len(sequences), vocab_size].
        sequences: their tokens so far count in the penalties.
    """
    rows = [(row, sequence) for row, sequence in enumerate(sequences) if _wants_edits(sequence.request.sampling)]
    if not rows:
        return logits
    penalized = [row for row in rows if _has_penalty(row[1].request.sampling)]
    biased = [row for row in rows if row[1].request.sampling.logit_bias]
    unfinished = [row for row in rows if _is_too_short(row[1])]
    logits = logits.clone(memory_format=torch.contiguous_format)
    if penalized:
        _penalize(logits, penalized)
    if biased:
        _add_bias(logits, biased)
    if unfinished:
        _mask_endings(logits, unfinished)
    return logits


def _is_too_short(sequence: Sequence) -> bool:
    """Of a constrained sequence the mask says which ends are too early (`constraint.py`)."""
    is_constrained = sequence.request.constraint is not None
    return sequence.num_output_tokens < sequence.request.sampling.min_tokens and not is_constrained


def _wants_edits(sampling: SamplingOptions) -> bool:
    return bool(sampling.min_tokens or sampling.logit_bias or _has_penalty(sampling))


def _has_penalty(sampling: SamplingOptions) -> bool:
    return sampling.repetition_penalty != 1.0 or sampling.presence_penalty != 0.0 or sampling.frequency_penalty != 0.0


def _penalize(logits: torch.Tensor, rows: list[_Row]) -> None:
    """Repetition (Keskar et al. 2019, arXiv 1909.05858) over prompt and output; presence, frequency over the output."""
    owners, places, num_in_output = _occurrences(rows, logits.shape[1])
    samplings = [sequence.request.sampling for _, sequence in rows]
    penalties = torch.tensor([[s.repetition_penalty, s.presence_penalty, s.frequency_penalty] for s in samplings])
    repetition, presence, frequency = penalties[owners].to(logits).unbind(1)
    repetition = repetition.clamp(_LEAST_REPETITION, _GREATEST_REPETITION)
    flat, places, num_in_output = logits.view(-1), places.to(logits.device), num_in_output.to(logits)
    values = flat[places]
    values = torch.where(values > 0, values / repetition, values * repetition)
    flat[places] = values - frequency * num_in_output - presence * (num_in_output > 0)


def _occurrences(rows: list[_Row], vocab_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The different tokens of each row: index into `rows`, place in the flattened logits, how often in the output."""
    lengths = [len(sequence.token_ids) for _, sequence in rows]
    owners = np.repeat(np.arange(len(rows)), lengths)
    first_places = np.array([index * vocab_size for index, _ in rows])
    token_ids = np.frombuffer(b"".join([sequence.token_ids for _, sequence in rows]), np.int64)
    num_from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(token_ids))
    is_output = num_from_end <= np.array([sequence.num_output_tokens for _, sequence in rows])[owners]
    places, first, inverse = np.unique(first_places[owners] + token_ids, return_index=True, return_inverse=True)
    num_in_output = np.bincount(inverse, weights=is_output)
    return torch.from_numpy(owners[first]), torch.from_numpy(places), torch.from_numpy(num_in_output)


def _add_bias(logits: torch.Tensor, rows: list[_Row]) -> None:
    biases = [(row, sequence.request.sampling.logit_bias) for row, sequence in rows]
    places = [row * logits.shape[1] + token_id for row, bias in biases for token_id in bias]
    values = [value for _, bias in biases for value in bias.values()]
    logits.view(-1).index_add_(0, _on_device_of(logits, places), torch.tensor(values).to(logits))


def _mask_endings(logits: torch.Tensor, rows: list[_Row]) -> None:
    places = [row * logits.shape[1] + token_id for row, sequence in rows for token_id in sequence.ending_token_ids]
    logits.view(-1).index_fill_(0, _on_device_of(logits, places), float("-inf"))


def _on_device_of(logits: torch.Tensor, places: list[int]) -> torch.Tensor:
    return torch.tensor(places, dtype=torch.int64, device=logits.device)
