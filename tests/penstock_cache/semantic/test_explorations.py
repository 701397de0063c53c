"""Explorations under way."""

from itertools import count

from fakes.clock import FakeClock

from penstock_cache.semantic.explorations import Exploration, Explorations


def exploration(name: str = "a", tenant: str = "acme") -> Exploration:
    """One of a request of its own."""
    return Exploration(tenant, "m", name.encode(), f"entry {name}", "cluster", 0.5, 1.0)


def explorations(clock: FakeClock | None = None, *, max_open: int = 4, max_open_of_tenant: int = 3) -> Explorations:
    """With room for a few, and tokens 0, 1, ..."""
    numbers = count()
    return Explorations(
        max_open=max_open,
        max_open_of_tenant=max_open_of_tenant,
        lifetime_s=10,
        clock=clock or FakeClock(),
        new_token=lambda: b"%d" % next(numbers),
    )


def test_a_token_is_good_once() -> None:
    """One answer is one piece of evidence."""
    them = explorations()
    token = them.begin(exploration())
    assert them.end(token, "acme", b"a") == exploration()
    assert them.end(token, "acme", b"a") is None
    assert len(them) == 0


def test_a_token_is_worth_nothing_to_another_tenant_or_request_and_stays_good_for_its_own() -> None:
    """Nobody teaches another tenant's cache, and nobody spoils its exploration by guessing."""
    them = explorations()
    token = them.begin(exploration())
    assert them.end(token, "other", b"a") is None
    assert them.end(token, "acme", b"b") is None
    assert them.end(b"guessed", "acme", b"a") is None
    assert them.end(token, "acme", b"a") == exploration()


def test_a_token_expires() -> None:
    """A stored answer that was explored long ago may be another one by now."""
    clock = FakeClock()
    them = explorations(clock)
    old = them.begin(exploration("a"))
    clock.advance(9)
    young = them.begin(exploration("b"))
    clock.advance(1)
    assert them.end(old, "acme", b"a") is None
    assert them.end(young, "acme", b"b") == exploration("b")


def test_memory_is_bounded_and_a_busy_tenant_pushes_out_its_own_first() -> None:
    """Requests whose answers never come must neither fill the memory nor stop others from learning."""
    them = explorations()
    kept = them.begin(exploration("x", "other"))
    tokens = [them.begin(exploration(name)) for name in "abcd"]
    assert len(them) == 4
    assert them.end(tokens[0], "acme", b"a") is None
    assert them.end(tokens[1], "acme", b"b") == exploration("b")
    them.begin(exploration("y", "third"))
    them.begin(exploration("z", "fourth"))
    assert len(them) == 4
    assert them.end(kept, "other", b"x") is None  # the oldest of all, once all the room is taken
