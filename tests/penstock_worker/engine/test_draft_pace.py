"""How many tokens to draft: as many as pay, none where none do, and now and then a look whether that has changed."""

from itertools import pairwise

import pytest

from penstock_worker.engine.draft_pace import MAX_DRAFT_TOKENS, DraftPace, DraftRecord

BASE_S = 0.010


def _pace(row_s: float) -> DraftPace:
    """One that has seen steps of all sizes."""
    pace = DraftPace()
    for _ in range(10):
        for num_rows in (1, 2, 4, 9, 16, 24):
            pace.took(num_rows, BASE_S + num_rows * row_s)
    return pace


def _judge(pace: DraftPace, record: DraftRecord, num_accepted: int, *, times: int = 30) -> None:
    for _ in range(times):
        pace.judged(record, MAX_DRAFT_TOKENS, num_accepted)


def test_nothing_is_drafted_before_a_step_was_seen() -> None:
    """What a draft costs is not known yet."""
    assert DraftPace().length(DraftRecord(), 1) == 0


def test_drafts_that_are_right_are_long() -> None:
    """A further row costs a hundredth of a step."""
    pace, record = _pace(row_s=0.0001), DraftRecord()
    _judge(pace, record, MAX_DRAFT_TOKENS)
    assert pace.length(record, 1) == MAX_DRAFT_TOKENS


def test_drafts_that_are_wrong_stop_and_are_tried_again_ever_more_seldom() -> None:
    """Traffic that cannot be guessed must not pay for guessing; but it may change."""
    pace, record = _pace(row_s=0.001), DraftRecord()
    pace.judged(record, MAX_DRAFT_TOKENS, 0)
    probes = []
    for step in range(400):
        length = pace.length(record, 1)
        if length:
            probes.append(step)
            pace.judged(record, length, 0)
    gaps = [after - before for before, after in pairwise(probes)]
    assert gaps == sorted(gaps)
    assert len(probes) < 8
    _judge(pace, record, MAX_DRAFT_TOKENS)
    assert pace.length(record, 1) > 2


@pytest.mark.parametrize(("num_rows", "is_paying"), [(1, True), (16, False)])
def test_the_same_drafts_pay_in_a_small_batch_only(num_rows: int, is_paying: bool) -> None:
    """With many sequences a step is busy anyway, and each row costs what a row brings."""
    pace, record = _pace(row_s=0.002), DraftRecord()
    _judge(pace, record, 1)  # the first of eight is right: every second guess
    assert bool(pace.length(record, num_rows)) == is_paying


def test_the_drafters_own_time_counts() -> None:
    """A draft model that takes as long as the step that it saves is of no use."""
    pace, record = _pace(row_s=0.0001), DraftRecord()
    _judge(pace, record, 3)
    assert pace.length(record, 1) > 0
    for _ in range(50):
        pace.drafted(8, 8 * BASE_S)
    assert pace.length(record, 1) == 0


def test_a_new_sequence_is_taken_for_one_like_all() -> None:
    """Each need not find out anew that nothing can be guessed here."""
    pace = _pace(row_s=0.001)
    assert pace.length(DraftRecord(), 1) > 0
    for _ in range(20):
        _judge(pace, DraftRecord(), 0, times=10)
    assert pace.length(DraftRecord(), 1) == 0


def test_a_step_that_was_held_up_changes_little() -> None:
    """Another process may take the CPU for a moment."""
    pace, record = _pace(row_s=0.0001), DraftRecord()
    _judge(pace, record, 4)
    before = pace.length(record, 1)
    pace.took(8, 100 * BASE_S)
    assert abs(pace.length(record, 1) - before) <= 3


def test_drafts_that_make_steps_slower_stop_whatever_the_estimates_say() -> None:
    """What comes out decides: after the first few, of 128 steps four try the other way."""
    pace = _pace(row_s=0.0001)
    allowed = []
    for _ in range(600):
        has_drafts = pace.allows_drafts(16)
        allowed.append(has_drafts)
        pace.gave(16, 24 if has_drafts else 16, 0.020 if has_drafts else 0.010, has_drafts=has_drafts)
    assert sum(allowed) == 8 + 4 * 4
    assert not allowed[0]


def test_drafts_that_make_steps_pay_go_on() -> None:
    """The same, the other way round; steps of another size are another matter."""
    pace = _pace(row_s=0.0001)
    for _ in range(320):
        has_drafts = pace.allows_drafts(1)
        pace.gave(1, 4 if has_drafts else 1, 0.011 if has_drafts else 0.010, has_drafts=has_drafts)
    assert sum(pace.allows_drafts(1) for _ in range(128)) == 124
    assert not pace.allows_drafts(16)


def test_a_trial_is_short() -> None:
    """Where drafts have not paid so far, one that tries again must not cost much."""
    pace, record = _pace(row_s=0.0001), DraftRecord()
    _judge(pace, record, MAX_DRAFT_TOKENS)
    pace.gave(16, 16, 0.010, has_drafts=False)
    assert pace.allows_drafts(16)
    assert pace.length(record, 16) == 2
    pace.gave(16, 48, 0.011, has_drafts=True)
    assert pace.allows_drafts(16)
    assert pace.length(record, 16) > 2
