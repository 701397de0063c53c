"""A session that follows the feed knows the prefix index, however slowly it reads and whatever it misses."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.replica.messages import PrefixEvents, PrefixSnapshot
from penstock_worker.replica.prefix_feed import PrefixFeed
from penstock_worker.replica.prefix_journal import PrefixJournal


def _stored(*names: str) -> list[PrefixChange]:
    return [PrefixChange(name.encode(), is_stored=True) for name in names]


def _removed(*names: str) -> list[PrefixChange]:
    return [PrefixChange(name.encode(), is_stored=False) for name in names]


def _journal(max_changes: int = 4) -> PrefixJournal:
    return PrefixJournal(block_size=16, max_changes=max_changes)


def test_changes_are_numbered_without_gaps_across_messages() -> None:
    """A gap is how a gateway notices that it has lost count."""
    journal = _journal()
    feed = PrefixFeed(journal, max_message_hashes=2)
    assert feed.snapshot() == PrefixSnapshot(16, 0, (), is_continuation=False)
    journal.take([*_stored("a", "b"), *_removed("a")])
    assert feed.next_message() == PrefixEvents(1, tuple(_stored("a", "b")))
    assert feed.has_news
    assert feed.next_message() == PrefixEvents(3, tuple(_removed("a")))
    assert not feed.has_news


def test_session_that_has_missed_too_much_gets_a_snapshot() -> None:
    """What waits for a slow reader is bounded by the index itself."""
    journal = _journal(max_changes=2)
    feed = PrefixFeed(journal)
    feed.snapshot()
    journal.take([*_stored("a", "b"), *_removed("a")])
    assert feed.next_message() == PrefixSnapshot(16, 3, (b"b",), is_continuation=False)
    assert not feed.has_news


def test_large_snapshot_comes_in_parts_before_later_changes() -> None:
    """A message stays under the transport's limit; and an event means what it says only to a whole snapshot."""
    journal = _journal()
    journal.take(_stored("a", "b", "c"))
    feed = PrefixFeed(journal, max_message_hashes=2)
    assert feed.snapshot() == PrefixSnapshot(16, 3, (b"a", b"b"), is_continuation=False)
    journal.take(_removed("c"))
    assert feed.next_message() == PrefixSnapshot(16, 3, (b"c",), is_continuation=True)
    assert feed.next_message() == PrefixEvents(4, tuple(_removed("c")))
    assert not feed.has_news


def test_session_that_asks_for_it_gets_a_snapshot() -> None:
    """Whatever it was in the middle of."""
    journal = _journal()
    journal.take(_stored("a", "b", "c"))
    feed = PrefixFeed(journal, max_message_hashes=2)
    feed.snapshot()
    feed.restart()
    assert feed.has_news
    assert feed.next_message() == PrefixSnapshot(16, 3, (b"a", b"b"), is_continuation=False)


@given(st.lists(st.sampled_from("abcdefgh!?"), max_size=60), st.integers(1, 3), st.integers(1, 6))
def test_reader_ends_up_with_the_index(history: list[str], max_message_hashes: int, max_changes: int) -> None:
    """Letters are stored or removed; "!" reads one message, "?" asks for a snapshot."""
    journal = _journal(max_changes)
    feed = PrefixFeed(journal, max_message_hashes)
    index: set[str] = set()
    known: set[bytes] = set()
    for event in history:
        if event == "?":
            feed.restart()
        elif event == "!":
            _read(feed, known)
        else:
            journal.take(_removed(event) if event in index else _stored(event))
            index ^= {event}
    while feed.has_news:
        _read(feed, known)
    assert known == {name.encode() for name in index} == set(journal.hashes())


def _read(feed: PrefixFeed, known: set[bytes]) -> None:
    message = feed.next_message()
    if isinstance(message, PrefixSnapshot):
        if not message.is_continuation:
            known.clear()
        known.update(message.block_hashes)
        return
    for change in message.changes:
        assert (change.block_hash in known) is not change.is_stored
        known ^= {change.block_hash}
