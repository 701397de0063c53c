"""What is sent."""

import pytest

from penstock.bench.lengths import parse_lengths
from penstock.bench.workload import Conversation, Workload, WorkloadShape, plain_token_ids

TOKEN_IDS = tuple(range(100, 200))


def workload(
    prompt: str = "4", output: str = "3", turns: str = "1", *, seed: int = 0, context_length: int = 1000, **prefix: int
) -> Workload:
    """A workload over a small vocabulary."""
    shape = WorkloadShape(parse_lengths(prompt), parse_lengths(output), parse_lengths(turns), **prefix)
    return Workload(shape, token_ids=TOKEN_IDS, context_length=context_length, seed=seed)


def lengths(conversation: Conversation) -> list[tuple[int, int]]:
    """New tokens and output tokens of each turn."""
    return [(len(turn.new_token_ids), turn.num_output_tokens) for turn in conversation.turns]


def test_seed_decides_the_whole_plan() -> None:
    """Two versions of a server can be held against each other under the same load."""
    first, again, other = (workload("2-9", "1-9", "1-3", seed=seed) for seed in (7, 7, 8))
    conversations = [first.conversation(index) for index in range(20)]
    assert conversations == [again.conversation(index) for index in reversed(range(20))][::-1]
    assert conversations != [other.conversation(index) for index in range(20)]


def test_plan_stays_the_same_from_version_to_version() -> None:
    """A figure of last year can be measured again."""
    conversation = workload("2-9", "1-9", "1-3", seed=7).conversation(3)
    assert lengths(conversation) == [(9, 8), (3, 7)]
    assert conversation.turns[0].new_token_ids[:3] == (195, 178, 157)
    assert conversation.turns[0].sampling_seed == 3430195020


def test_prompts_are_of_ordinary_tokens() -> None:
    """Control tokens stand at the ends of a vocabulary, and would be another load than text."""
    ids = plain_token_ids(40, eos_token_ids=[2, 15])
    assert ids == (10, 11, 12, 13, 14, *range(16, 30))
    turns = workload("50").conversation(0).turns
    assert set(turns[0].new_token_ids) <= set(TOKEN_IDS)


def test_conversations_begin_with_one_of_the_shared_prefixes() -> None:
    """Only what is equal to the last token can be shared in a prefix cache."""
    made = workload(prefix_tokens=8, num_prefixes=3)
    starts = {made.conversation(index).turns[0].new_token_ids[:8] for index in range(40)}
    assert len(starts) == 3
    assert lengths(made.conversation(0)) == [(12, 3)]


def test_prefix_stands_in_the_first_turn_alone() -> None:
    """Later turns repeat the history, which begins with it."""
    assert lengths(workload(turns="3", prefix_tokens=8).conversation(0)) == [(12, 3), (4, 3), (4, 3)]


def test_conversation_ends_where_the_context_is_full() -> None:
    """7 tokens a turn: of 18, the third turn gets 4 for both, and the fourth nothing."""
    conversation = workload(turns="4", context_length=18).conversation(0)
    assert lengths(conversation) == [(4, 3), (4, 3), (3, 1)]
    assert conversation.is_cut
    assert not workload(turns="2", context_length=14).conversation(0).is_cut


def test_prompt_longer_than_the_context_is_cut_to_leave_room_for_an_answer() -> None:
    """A long tail must not turn into refusals."""
    conversation = workload("50", context_length=18).conversation(0)
    assert (lengths(conversation), conversation.is_cut) == ([(17, 1)], True)


def test_prefix_without_room_behind_it_is_refused() -> None:
    """There is nothing sensible to send."""
    with pytest.raises(ValueError, match="a prefix of 17 tokens leaves no room in a context of 18"):
        workload(prefix_tokens=17, context_length=18)
