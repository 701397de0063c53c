"""Dead, stalled, loading and idle are told apart."""

import pytest
from fakes.clock import FakeClock

from penstock_gateway.dispatch.session_health import SessionHealth


def watched() -> tuple[FakeClock, SessionHealth]:
    """A fresh session, judged every 0.25 s."""
    clock = FakeClock()
    return clock, SessionHealth(clock, check_interval_s=0.25)


def wait(clock: FakeClock, health: SessionHealth, seconds: float) -> str | None:
    """Lets time pass in steps of the judge's; the first verdict."""
    for _ in range(round(seconds / 0.25)):
        clock.advance(0.25)
        verdict = health.verdict()
        if verdict is not None:
            return verdict
    return None


def test_three_missed_heartbeats_are_a_death() -> None:
    """1.5 s without any message."""
    clock, health = watched()
    assert wait(clock, health, 1.5) is None
    assert wait(clock, health, 0.25) == "dead: 3 heartbeats missed"


def test_any_message_is_a_sign_of_life() -> None:
    """Steps come more often than heartbeats."""
    clock, health = watched()
    for _ in range(10):
        assert wait(clock, health, 1.25) is None
        health.hear()


@pytest.mark.parametrize(
    ("age_s", "predicted_s", "is_stalled"),
    [(2.9, 0.1, False), (3.1, 0.1, True), (7.9, 1.0, False), (8.1, 1.0, True)],
)
def test_a_step_stalls_past_3_s_or_8_times_its_prediction(age_s: float, predicted_s: float, is_stalled: bool) -> None:
    """A long prefill is slow and not stuck."""
    _, health = watched()
    health.beat(is_loading=False, step_age_s=age_s, predicted_s=predicted_s)
    assert (health.verdict() is not None) is is_stalled
    assert health.is_trusted is not is_stalled


def test_an_idle_replica_is_well() -> None:
    """No step is under way, for hours."""
    _, health = watched()
    health.beat(is_loading=False, step_age_s=None, predicted_s=0.0)
    assert health.verdict() is None


def test_nothing_counts_while_loading() -> None:
    """Weights take as long as they take, and may block everything else."""
    clock, health = watched()
    health.beat(is_loading=True, step_age_s=60.0, predicted_s=0.0)
    assert wait(clock, health, 60) is None


def test_a_judge_that_was_asleep_does_not_condemn() -> None:
    """Where this process itself was stopped, the heartbeats lie unread; the replica gets a fresh start, once."""
    clock, health = watched()
    clock.advance(10)
    assert health.verdict() is None
    assert wait(clock, health, 1.5) is None
    assert wait(clock, health, 0.25) is not None
