"""The line between serving and exploring, the account, and prompts that come again."""

import pytest

from penstock_cache.decision.error_account import ErrorAccount
from penstock_cache.decision.repeats import Repeats
from penstock_cache.decision.risk_window import RiskWindow


def test_the_window_counts_what_is_no_worse() -> None:
    """Errors a request, if all of at most that stake were served."""
    window = RiskWindow(10)
    for risk in (0.01, 0.02, 0.3, 0.4):
        window.add(risk, risk)
    assert window.expected_error_rate(0.02) == pytest.approx(0.03 / 4)
    assert window.expected_error_rate(0.3) == pytest.approx(0.33 / 4)


def test_the_window_forgets() -> None:
    """What it was like an hour ago decides nothing."""
    window = RiskWindow(2)
    for risk in (0.4, 0.1, 0.1):
        window.add(risk, risk)
    assert window.expected_error_rate(1.0) == pytest.approx(0.1)


def test_an_account_never_allows_more_errors_than_requests_brought() -> None:
    """Whatever the order of requests."""
    account = ErrorAccount(horizon=10**9)
    num_served = 0
    for _ in range(105):
        account.begin(0.01)
        if account.can_bear(0.2, 1.0):
            account.served(0.2)
            num_served += 1
    assert num_served == 5


def test_an_account_of_risks_that_were_too_low_is_used_up_sooner() -> None:
    """Audits that find twice the errors halve what may be served, of what was served before as well."""
    account = ErrorAccount(horizon=10**9)
    for _ in range(100):
        account.begin(0.01)
    account.served(0.4)
    assert account.can_bear(0.4, 1.0)
    assert not account.can_bear(0.4, 2.0)


def test_repeats_are_counted_until_a_look() -> None:
    """Of the prompts served last only."""
    repeats = Repeats(capacity=2)
    for prompt in (b"a", b"a", b"b"):
        repeats.served(prompt)
    assert (repeats.num_served(b"a"), repeats.num_served(b"b")) == (2, 1)
    repeats.forget(b"b")
    repeats.served(b"c")
    repeats.served(b"d")
    assert [repeats.num_served(prompt) for prompt in (b"a", b"b", b"c", b"d")] == [0, 0, 1, 1]
