"""Chooses the next tokens from the logits, for all sequences of a step at once.

What a constraint forbids has the logit -inf from the start (`constraint.py`), and every edit leaves it there.

The order is fixed: repetition, presence and frequency penalties, logit bias, the mask of tokens that may not end the
sequence yet; then temperature, top-k, top-p, min-p; then the draw. Log probabilities are those before temperature.

The random number of a draw belongs to (seed, choice index, output position), and what is drawn depends on it and on the
sequence's own logits and options only. So neither the batch around a sequence nor a preemption or resume changes it.
"""

import math
from collections.abc import Sequence as ReadOnlyList
from typing import NamedTuple

import numpy as np
import torch

from penstock_shared.errors import InternalError, PenstockError
from penstock_shared.logs import get_logger
from penstock_worker.engine.draw import DrawOptions, draw_filtered, draw_plain
from penstock_worker.engine.logit_edits import edited
from penstock_worker.engine.randomness import uniform
from penstock_worker.engine.sequence import SamplingOptions, Sequence, TokenLogprobs, TopLogprob

_log = get_logger(__name__)


class SampledToken(NamedTuple):
    """The token chosen for one sequence, with its log probabilities where they are wanted."""

    token_id: int
    logprobs: TokenLogprobs | None


class Sampler:
    """Chooses one token for each sequence of a step. Keeps nothing between steps."""

    @torch.inference_mode()
    def sample(self, logits: torch.Tensor, sequences: ReadOnlyList[Sequence]) -> list[SampledToken | PenstockError]:
        """The next token of each sequence; an error for one that fails, whatever becomes of the others.

        Args:
            logits: float32 [len(sequences), vocab_size].
            sequences: their tokens so far.
        """
        try:
            return _sample(logits, sequences)
        except Exception:  # noqa: BLE001 the boundary between sequences: one by one shows which it is
            if len(sequences) == 1:
                _log.exception("sampling failed")
                return [InternalError("sampling failed")]
        return [self.sample(logits[row : row + 1], [sequence])[0] for row, sequence in enumerate(sequences)]


def _sample(logits: torch.Tensor, sequences: ReadOnlyList[Sequence]) -> list[SampledToken | PenstockError]:
    logits = edited(logits, sequences)
    peaks, chosen = logits.max(dim=-1)
    plain, filtered = _random_rows(sequences)
    if plain:
        chosen[plain] = draw_plain(logits[plain], _draw_options(plain, sequences, logits.device))
    if filtered:
        chosen[filtered] = draw_filtered(logits[filtered], _draw_options(filtered, sequences, logits.device))
    logprobs = _logprobs(logits, chosen, sequences)
    return [
        SampledToken(token_id, logprobs.get(row)) if math.isfinite(peak) else InternalError("the logits are not finite")
        for row, (token_id, peak) in enumerate(zip(chosen.tolist(), peaks.tolist(), strict=True))
    ]


def _random_rows(sequences: ReadOnlyList[Sequence]) -> tuple[list[int], list[int]]:
    """Rows that draw from all tokens, and rows that draw from some."""
    plain: list[int] = []
    filtered: list[int] = []
    for row, sequence in enumerate(sequences):
        sampling = sequence.request.sampling
        if sampling.temperature > 0.0:
            (filtered if _has_filter(sampling) else plain).append(row)
    return plain, filtered


def _has_filter(sampling: SamplingOptions) -> bool:
    return sampling.top_k > 0 or sampling.top_p < 1.0 or sampling.min_p > 0.0


def _draw_options(rows: list[int], sequences: ReadOnlyList[Sequence], device: torch.device) -> DrawOptions:
    drawing = [sequences[row] for row in rows]
    samplings = [sequence.request.sampling for sequence in drawing]
    numbers = uniform(
        np.array([sampling.seed for sampling in samplings], np.uint64),
        np.array([sequence.request.choice_index for sequence in drawing], np.uint64),
        np.array([sequence.num_output_tokens for sequence in drawing], np.uint64),
    )
    columns = [[s.temperature, s.top_p, s.min_p] for s in samplings]
    temperature, top_p, min_p = torch.tensor(columns, dtype=torch.float64, device=device).unsqueeze(2).unbind(1)
    return DrawOptions(
        uniform=torch.from_numpy(numbers).to(device).unsqueeze(1),
        temperature=temperature,
        top_k=torch.tensor([[s.top_k] for s in samplings], device=device),
        top_p=top_p,
        min_p=min_p,
    )


def _logprobs(
    logits: torch.Tensor, chosen: torch.Tensor, sequences: ReadOnlyList[Sequence]
) -> dict[int, TokenLogprobs]:
    """Log probabilities of the rows that want them, by row."""
    wanted = {
        row: sequence.request.sampling.logprobs
        for row, sequence in enumerate(sequences)
        if sequence.request.sampling.logprobs is not None
    }
    if not wanted:
        return {}
    found: dict[int, TokenLogprobs] = {}
    for count in set(wanted.values()):  # of equal ones, which are among the first `count` depends on the count
        found |= _logprobs_of([row for row in wanted if wanted[row] == count], count, logits, chosen)
    return found


def _logprobs_of(
    rows: list[int], num_alternatives: int, logits: torch.Tensor, chosen: torch.Tensor
) -> dict[int, TokenLogprobs]:
    """Log probabilities of rows that want as many alternatives, by row."""
    table = logits[rows].log_softmax(dim=-1)
    of_chosen = table.gather(1, chosen[rows].unsqueeze(1)).squeeze(1).tolist()
    values, token_ids = (part.tolist() for part in table.topk(num_alternatives))
    found: dict[int, TokenLogprobs] = {}
    for index, (row, token_id) in enumerate(zip(rows, chosen[rows].tolist(), strict=True)):
        tops = map(TopLogprob, token_ids[index], values[index])
        possible = tuple(top for top in tops if top.logprob > -math.inf)  # a mask may leave fewer than are wanted
        found[row] = TokenLogprobs(token_id, of_chosen[index], possible)
    return found
