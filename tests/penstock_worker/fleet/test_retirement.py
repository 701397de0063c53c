"""The last replica of a revision goes when no gateway has, or can have, a request for it."""

import pytest

from penstock_worker.fleet.demand import Demand, DemandBoard
from penstock_worker.fleet.retirement import RetiredRevisions

OLD = ("m", "revision-1")
NEW = ("m", "revision-2")


class Fleet:
    """The revision was retired with version 7 of the directory; time passes as the test says."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.board = DemandBoard(lambda: self.now_s)
        self.retired = RetiredRevisions(self.board, lambda: self.now_s, limit_s=600.0)
        self.retired.update([OLD], 7)

    def tell(self, gateway: str, version: int, **num_requests: int) -> None:
        """A gateway reports, requests by revision."""
        demand = {("m", name.replace("_", "-")): Demand(num_requests=count) for name, count in num_requests.items()}
        self.board.take(gateway, version, demand)

    def is_released(self) -> bool:
        """Whether the last replica may go now."""
        return self.retired.released() == {OLD}


@pytest.fixture
def fleet() -> Fleet:
    """No gateway has told anything."""
    return Fleet()


def test_without_any_gateway_it_goes_after_a_moment(fleet: Fleet) -> None:
    """One that lives tells twice a second."""
    assert not fleet.is_released()
    fleet.now_s += 5
    assert fleet.is_released()


def test_it_stays_while_a_gateway_has_requests_for_it(fleet: Fleet) -> None:
    """They may be waiting, or not even tokenized."""
    for _ in range(20):
        fleet.now_s += 1
        fleet.tell("a", 7, revision_1=1, revision_2=9)
        fleet.tell("b", 7)
        assert not fleet.is_released()
    fleet.tell("a", 7, revision_2=9)
    assert fleet.is_released()


def test_it_stays_while_a_gateway_goes_by_an_older_directory(fleet: Fleet) -> None:
    """That one may accept a request for it yet."""
    fleet.now_s += 5
    fleet.tell("a", 6)
    assert not fleet.is_released()
    fleet.tell("a", 7)
    assert fleet.is_released()


def test_gateway_that_is_gone_holds_up_nothing(fleet: Fleet) -> None:
    """It died with its requests."""
    fleet.tell("a", 7, revision_1=3)
    fleet.now_s += 9
    assert not fleet.is_released()
    fleet.now_s += 2
    assert fleet.is_released()


def test_it_does_not_stay_for_ever(fleet: Fleet) -> None:
    """No request lasts that long."""
    for _ in range(600):
        fleet.now_s += 1
        fleet.tell("a", 7, revision_1=1)
    assert fleet.is_released()


def test_revision_that_is_wanted_again_begins_anew(fleet: Fleet) -> None:
    """An operator goes back, and forth again."""
    fleet.now_s += 6
    fleet.retired.update([NEW], 8)
    fleet.retired.update([OLD], 9)
    assert not fleet.is_released()


def test_demand_of_all_gateways_and_revisions_is_added_up() -> None:
    """By it the fleet scales."""
    board = DemandBoard(lambda: 0.0)
    board.take("a", 1, {OLD: Demand(3, 1, 2, 40, 0.5), NEW: Demand(1, 1, 0, 0, 0.0)})
    board.take("b", 1, {OLD: Demand(5, 5, 0, 0, 0.0), ("other", "r"): Demand(9, 9, 9, 9, 9.0)})
    board.take("b", 1, {OLD: Demand(4, 2, 2, 60, 2.5)})
    assert board.total("m") == Demand(8, 4, 4, 100, 2.5)
