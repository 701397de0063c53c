"""What a session has at a worker never exceeds what it was granted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_gateway.dispatch.credit import Credit, CreditLedger

BLOCK_SIZE = 16


def ledger(num_sequences: int = 100, prefill_tokens: int = 10_000, kv_blocks: int = 1000) -> CreditLedger:
    """With grants that are out of the way unless given."""
    return CreditLedger(Credit(1, num_sequences, prefill_tokens, kv_blocks), BLOCK_SIZE)


def test_sequences_prefill_tokens_and_blocks_are_each_a_bound() -> None:
    """The scarcest decides; a sequence takes its blocks and one more."""
    assert ledger(num_sequences=2).fits([1, 1])
    assert not ledger(num_sequences=2).fits([1, 1, 1])
    assert ledger(prefill_tokens=32).fits([16, 16])
    assert not ledger(prefill_tokens=32).fits([16, 17])
    assert ledger(kv_blocks=4).fits([16, 16])
    assert not ledger(kv_blocks=4).fits([16, 17])


def test_the_first_token_frees_prefill_and_the_end_frees_the_rest() -> None:
    """As the contract counts."""
    books = ledger(num_sequences=1, prefill_tokens=20)
    books.spend(7, 20)
    assert books.end_prefill(7)
    assert not books.end_prefill(7)
    assert books.load == pytest.approx(1.0)
    assert not books.fits([1])
    books.release(7)
    assert (books.fits([20]), books.load) == (True, 0.0)


def test_a_grant_replaces_the_one_before() -> None:
    """Absolute, not an increment; what is spent stays spent."""
    books = ledger(num_sequences=4)
    books.spend(1, 1)
    books.grant(Credit(2, 1, 10_000, 1000))
    assert not books.fits([1])
    books.grant(Credit(3, 2, 10_000, 1000))
    assert books.fits([1])


def test_what_can_never_fit_is_known() -> None:
    """Whatever else would finish first."""
    books = ledger(num_sequences=2)
    books.spend(1, 1)
    assert not books.fits([1, 1])
    assert books.can_ever_fit([1, 1])
    assert not books.can_ever_fit([1, 1, 1])


@given(
    st.lists(
        st.tuples(st.sampled_from(["spend", "first token", "end"]), st.integers(0, 9), st.integers(1, 200)),
        max_size=80,
    )
)
def test_spending_only_what_fits_stays_within_the_grant(events: list[tuple[str, int, int]]) -> None:
    """Overspending is a protocol error: the worker would end the session."""
    books = ledger(num_sequences=4, prefill_tokens=300, kv_blocks=30)
    running: set[int] = set()
    for action, sequence_id, num_tokens in events:
        if action == "spend" and sequence_id not in running and books.fits([num_tokens]):
            books.spend(sequence_id, num_tokens)
            running.add(sequence_id)
        elif sequence_id in running and action == "first token":
            books.end_prefill(sequence_id)
        elif sequence_id in running and action == "end":
            books.release(sequence_id)
            running.discard(sequence_id)
        books.check_invariants()
        assert books.num_sequences == len(running) <= 4
        assert books._prefill_tokens <= 300
        assert books._kv_blocks <= 30
