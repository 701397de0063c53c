"""Stop strings end an output at the same character, however the text arrives."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_gateway.text.stop_strings import StopStrings

_TEXT = st.text(alphabet="abc", max_size=30)
_STOPS = st.lists(st.text(alphabet="abc", min_size=1, max_size=5), min_size=1, max_size=4)


def first_stop(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The definition, by brute force: the stop that is complete first, the longest of those."""
    for end in range(1, len(text) + 1):
        matched = [stop for stop in stops if text[:end].endswith(stop)]
        if matched:
            longest = max(matched, key=len)
            return text[: end - len(longest)], longest
    return text, None


def run(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    """Delivered text and matched stop of a scan over pieces."""
    watcher = StopStrings(stops)
    delivered = ""
    for piece in pieces:
        scan = watcher.feed(piece)
        delivered += scan.text
        if scan.matched is not None:
            return delivered, scan.matched
    return delivered + watcher.finish(), None


@given(pieces=st.lists(_TEXT, max_size=8), stops=_STOPS)
def test_any_split_stops_where_the_whole_text_does(pieces: list[str], stops: list[str]) -> None:
    """Tokens cut stop strings anywhere; the client must not see where."""
    assert run(pieces, stops) == first_stop("".join(pieces), stops)


@given(pieces=st.lists(_TEXT, max_size=8), stops=_STOPS)
def test_nothing_is_held_back_that_cannot_become_a_stop(pieces: list[str], stops: list[str]) -> None:
    """Holding more than needed would delay the stream."""
    watcher = StopStrings(stops)
    seen = ""
    delivered = ""
    for piece in pieces:
        scan = watcher.feed(piece)
        if scan.matched is not None:
            return
        seen += piece
        delivered += scan.text
        held = seen[len(delivered) :]
        assert held == "" or any(stop.startswith(held) for stop in stops)


def test_a_stop_across_three_pieces_is_found() -> None:
    """The plain case, readable."""
    watcher = StopStrings(["END"])
    scans = [watcher.feed(piece) for piece in ("one E", "N", "D two")]
    assert [scan.text for scan in scans] == ["one ", "", ""]
    assert [scan.matched for scan in scans] == [None, None, "END"]


def test_without_stops_everything_passes_at_once() -> None:
    """Most requests have no stop strings."""
    assert run(["abc", "def"], []) == ("abcdef", None)
