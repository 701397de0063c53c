"""What of a generation may be kept."""

import pytest
from fakes.gateway_deployment import SPEC
from fakes.generations import VOCABULARY, job

from penstock_gateway.cache.stored_answer import StoredAnswer, StoredChoice, answer_of, events_of
from penstock_gateway.events import CacheOutcome, CacheReport, FinishReason, Started, Usage
from penstock_gateway.generation import Generation, ReplicaIdentity

REPORT = CacheReport(CacheOutcome.MISS, "")
REPLICA = ReplicaIdentity("replica-0", SPEC.revision, "fp32")


def generation(num_choices: int = 2) -> Generation:
    """A request that waits."""
    return Generation(job(num_choices=num_choices), vocabulary=VOCABULARY, new_sequence_id=lambda: 1)


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
