"""One deadline holds for a request and all it calls."""

from dataclasses import dataclass

import pytest

from penstock_shared.deadlines import Deadline


@dataclass
class _Context:
    remaining: float | None

    def time_remaining(self) -> float | None:
        return self.remaining


@pytest.mark.parametrize(("client_s", "expected_s"), [(None, 60.0), (5.0, 5.0), (600.0, 60.0)])
def test_the_earlier_of_client_and_service_holds(client_s: float | None, expected_s: float) -> None:
    """A client without a deadline must not hold a replica for ever."""
    deadline = Deadline.from_context(_Context(client_s), 60.0, clock=lambda: 100.0)
    assert deadline.remaining_s() == expected_s


def test_a_passed_deadline_leaves_no_time_but_a_valid_timeout() -> None:
    """GRPC refuses timeouts of zero and below."""
    now = [0.0]
    deadline = Deadline.after(1.0, clock=lambda: now[0])
    assert deadline.timeout_s(margin_s=0.4) == pytest.approx(0.6)
    now[0] = 2.0
    assert deadline.has_passed
    assert deadline.remaining_s() == 0.0
    assert deadline.timeout_s() == 0.001
