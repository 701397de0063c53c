"""Penalties, bias and the mask of endings on concrete logits."""

import math

import pytest
import torch

from penstock_worker.engine.logit_edits import edited
from penstock_worker.engine.sequence import SamplingOptions, Sequence, SequenceRequest


def _sequence(prompt: list[int], output: list[int], **sampling: object) -> Sequence:
    options = SamplingOptions(max_tokens=100, **sampling)  # type: ignore[arg-type]
    request = SequenceRequest(key=0, prompt_token_ids=prompt, output_token_ids=output, sampling=options)
    ending = options.stop_token_ids | {0}
    return Sequence(request=request, arrival=0, ending_token_ids=ending, max_total_tokens=100, queued_ns=0)


LOGITS = [1.0, -2.0, 4.0, -8.0]


def _edit(sequence: Sequence) -> list[float]:
    edits: list[float] = edited(torch.tensor([LOGITS]), [sequence])[0].tolist()
    return edits


def test_repetition_penalty_counts_prompt_and_output() -> None:
    """Seen tokens become less likely whatever their sign; others stay."""
    assert _edit(_sequence([2, 2], [3], repetition_penalty=2.0)) == [1.0, -2.0, 2.0, -16.0]


@pytest.mark.parametrize("penalty", [5e-324, 6.7e-101, 1e-38, 1e38, 1e300])
def test_extreme_repetition_penalties_leave_finite_logits(penalty: float) -> None:
    """What is 0 or infinite in float32 is an allowed penalty: it must not end the sequence as the model's failure."""
    seen = _edit(_sequence([0, 1, 2, 3], [], repetition_penalty=penalty))
    assert all(math.isfinite(logit) for logit in seen)
    assert max(range(4), key=seen.__getitem__) == 2


def test_presence_penalty_counts_the_output_once() -> None:
    """The prompt does not count, nor how often."""
    assert _edit(_sequence([1], [2, 2, 3], presence_penalty=0.5)) == [1.0, -2.0, 3.5, -8.5]


def test_frequency_penalty_counts_each_occurrence_in_the_output() -> None:
    """The prompt does not count."""
    assert _edit(_sequence([2, 1], [2, 2, 3], frequency_penalty=0.5)) == [1.0, -2.0, 3.0, -8.5]


def test_bias_is_added_after_the_penalties() -> None:
    """A repetition penalty must not scale what the user asked for."""
    bias = {2: 10.0, 0: -1.0}
    assert _edit(_sequence([2], [], repetition_penalty=2.0, logit_bias=bias)) == [0.0, -2.0, 12.0, -8.0]


@pytest.mark.parametrize(("num_output", "is_masked"), [(0, True), (1, True), (2, False)])
def test_endings_are_masked_until_min_tokens(num_output: int, is_masked: bool) -> None:
    """The output positions 0 and 1 of a minimum of 2 may not end it, by EOS or by a stop token; position 2 may."""
    sequence = _sequence([1], [1] * num_output, min_tokens=2, stop_token_ids=frozenset({3}))
    expected = [-math.inf, -2.0, 4.0, -math.inf] if is_masked else LOGITS
    assert _edit(sequence) == expected


def test_rows_are_edited_independently_and_the_original_stays() -> None:
    """Each row has its own options, most rows none; a second attempt at sampling starts from the same logits."""
    logits = torch.tensor([LOGITS] * 4)
    sequences = [
        _sequence([2], [], repetition_penalty=2.0),
        _sequence([2], [2]),
        _sequence([2], [1], presence_penalty=1.0),
        _sequence([2], [], logit_bias={3: 8.0}),
    ]
    assert edited(logits, sequences).tolist() == [
        [1.0, -2.0, 2.0, -8.0],
        LOGITS,
        [1.0, -3.0, 4.0, -8.0],
        [1.0, -2.0, 4.0, 0.0],
    ]
    assert logits.tolist() == [LOGITS] * 4
