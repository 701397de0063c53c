"""What a smaller model drafts follows from what it has really computed."""

from array import array

import pytest
from fakes.paged_runner import PagedRunner, next_token_id

from penstock_worker.engine.draft_model import DraftModel
from penstock_worker.engine.drafter import DraftRequest
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.sequence import SamplingOptions, Sequence, SequenceRequest

VOCAB_SIZE, BLOCK_SIZE = 29, 4
PROMPT = [3, 1, 4, 1, 5]


def test_what_a_failed_step_was_to_compute_is_computed_again() -> None:
    """Else every later draft of the sequence would look at keys and values that nobody wrote."""
    runner = PagedRunner(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE)
    model = DraftModel(runner, block_size=BLOCK_SIZE, context_length=64, sampler=Sampler())
    request = SequenceRequest(key=1, prompt_token_ids=PROMPT, sampling=SamplingOptions(max_tokens=9))
    sequence = Sequence(request, 1, frozenset(), 64, 0)
    sequence.block_ids = array("q", [0, 1])
    runner.num_failures = 1
    with pytest.raises(RuntimeError, match="on fire"):
        model.draft([DraftRequest(sequence, 1)])
    [draft] = model.draft([DraftRequest(sequence, 1)])
    assert draft.tolist() == [next_token_id(PROMPT, VOCAB_SIZE)]
