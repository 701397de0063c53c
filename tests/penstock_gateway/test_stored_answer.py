"""What of a generation may be kept."""

import pytest
from fakes.gateway_deployment import SPEC

from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.events import CacheOutcome, CacheReport, FinishReason, Started, Usage
from penstock_gateway.generation import Generation, Job, ReplicaIdentity
from penstock_gateway.requests import Criticality, SamplingRequest
from penstock_gateway.sampling import resolve_sampling
from penstock_gateway.stored_answer import StoredAnswer, StoredChoice, answer_of, events_of
from penstock_gateway.timeline import Timeline
from penstock_gateway.vocabulary import Vocabulary
from penstock_shared.deadlines import Deadline
from penstock_shared.tracing import TraceContext

BYTES = Vocabulary("bytes", tuple(bytes([value]) for value in range(256)))
REPORT = CacheReport(CacheOutcome.MISS, "")
REPLICA = ReplicaIdentity("replica-0", SPEC.revision, "fp32")


def generation(num_choices: int = 2) -> Generation:
    """A request that waits."""
    sampling = resolve_sampling(
        SamplingRequest(n=num_choices),
        SPEC.sampling_defaults,
        tokens_left=100,
        max_output_tokens=100,
        draw_seed=lambda: 1,
    )
    trace = TraceContext(1, 1, is_sampled=False)
    job = Job("r", SPEC, [1] * 10, sampling, "acme", Criticality.STANDARD, Deadline.after(60), trace)
    return Generation(
        job,
        vocabulary=BYTES,
        buffer=AnswerBuffer(is_streaming=True, max_bytes=1 << 20, on_overflow=lambda: None),
        timeline=Timeline.begin(lambda: 0, lambda: 0),
        cache=REPORT,
        new_sequence_id=lambda: 1,
        is_returning_token_ids=False,
    )


def end(of: Generation, index: int, reason: FinishReason = FinishReason.STOP) -> None:
    """One choice says a letter and ends."""
    choice = of.choices[index]
    of.take_output(choice, b"ab"[index : index + 1], ())
    of.end_choice(choice, reason, stop_token_id=7, cached_prompt_tokens=3)


def test_a_whole_answer_is_kept_with_all_that_a_client_is_told() -> None:
    """Text and ids of each choice, its end, and what it cost."""
    ended = generation()
    ended.place(REPLICA, 2, "")
    end(ended, 0)
    end(ended, 1, FinishReason.LENGTH)
    assert answer_of(ended) == StoredAnswer(
        (
            StoredChoice("a", (97,), FinishReason.STOP, None, 7),
            StoredChoice("b", (98,), FinishReason.LENGTH, None, 7),
        ),
        Usage(prompt_tokens=10, completion_tokens=2, cached_prompt_tokens=3),
        SPEC.revision,
    )


def test_an_answer_without_one_of_its_ends_is_not_kept() -> None:
    """Half of an answer is none."""
    ended = generation()
    ended.place(REPLICA, 2, "")
    end(ended, 0)
    assert answer_of(ended) is None


@pytest.mark.parametrize("reason", [FinishReason.CANCELLED, FinishReason.ERROR])
def test_a_cancelled_or_failed_choice_is_not_kept(reason: FinishReason) -> None:
    """Whoever asks next must get a whole answer."""
    ended = generation(1)
    ended.place(REPLICA, 1, "")
    end(ended, 0, reason)
    assert answer_of(ended) is None


def test_an_answer_of_another_revision_is_not_kept() -> None:
    """During a rollout a replica may serve other weights than the directory names; the key names the directory's."""
    ended = generation(1)
    ended.place(ReplicaIdentity("replica-0", "revision-0", "fp32"), 1, "")
    end(ended, 0)
    assert answer_of(ended) is None


def test_an_answer_without_text_still_tells_its_end() -> None:
    """A model may have nothing to say; the stream stays well-formed."""
    answer = StoredAnswer((StoredChoice("", (), FinishReason.STOP, None, 7),), Usage(1, 0, 0), "r")
    started = Started("r", "m", "r", "", "cache", REPORT, generation().job.sampling, "", 1)
    assert [type(event).__name__ for event in events_of(answer, started, is_returning_token_ids=True)] == [
        "Started",
        "Finished",
    ]
