"""Where a request goes, and the reason that is told."""

from dataclasses import dataclass, field

from penstock_gateway.dispatch.balancer import select
from penstock_gateway.dispatch.credit import Credit, CreditLedger
from penstock_gateway.dispatch.prompt_names import PromptNames

PROMPT = PromptNames(range(1000), b"")


@dataclass
class Replica:
    """Credit for ten sequences, some of them spent."""

    replica_id: str
    num_spent: int = 0
    num_granted: int = 10
    num_dispatched: int = 0
    num_found: int = 0
    ledger: CreditLedger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = CreditLedger(Credit(1, self.num_granted, 10_000, 1000), 16)
        for sequence_id in range(self.num_spent):
            self.ledger.spend(sequence_id, 1)

    def num_found_tokens(self, _prompt: PromptNames) -> int:
        """As told."""
        return self.num_found


def test_the_least_loaded_is_chosen_and_the_runner_up_is_named() -> None:
    """The reason goes to the client with every answer."""
    selection = select([Replica("a", 4), Replica("b", 1), Replica("c", 7)], [10], PROMPT)
    assert selection is not None
    assert (selection.replica.replica_id, selection.num_sequences) == ("b", 1)
    assert selection.reason == "least loaded: 0.10 vs 0.40"


def test_equally_loaded_replicas_take_turns() -> None:
    """Idle ones above all: requests that come one by one must not all go to the same."""
    selection = select([Replica("a", num_dispatched=5), Replica("b", num_dispatched=4)], [10], PROMPT)
    assert selection is not None
    assert selection.replica.replica_id == "b"


def test_a_replica_without_room_is_passed_over() -> None:
    """However light its load is by the other measures."""
    selection = select([Replica("a", 0, num_granted=1), Replica("b", 5)], [1, 1], PROMPT)
    assert selection is not None
    assert (selection.replica.replica_id, selection.reason) == ("b", "only replica with credit: 0.50")


def test_a_request_waits_for_a_replica_that_can_take_it_whole() -> None:
    """Choices that share a prompt share its cost only on one replica."""
    assert select([Replica("a", 9), Replica("b", 9)], [1, 1], PROMPT) is None


def test_a_request_that_fits_nowhere_whole_goes_in_parts() -> None:
    """To the replica that takes most of it."""
    selection = select([Replica("a", 1, num_granted=2), Replica("b", 0, num_granted=2)], [1, 1, 1], PROMPT)
    assert selection is not None
    assert (selection.replica.replica_id, selection.num_sequences) == ("b", 2)
    assert selection.reason == "most credit: 2 of 3 sequences"


def test_without_replicas_or_credit_there_is_no_selection() -> None:
    """It waits."""
    assert select([], [1], PROMPT) is None
    assert select([Replica("a", 10)], [1], PROMPT) is None


def test_a_replica_that_has_the_prompt_is_worth_some_load() -> None:
    """What is computed already need not be computed again; the client is told that this decided."""
    selection = select([Replica("a", 1, num_found=992), Replica("b", 0)], [1000], PROMPT)
    assert selection is not None
    assert (selection.replica.replica_id, selection.reason) == ("a", "prefix 992 of 1000 tokens: 0.10 vs 0.00")


def test_a_prefix_is_not_worth_any_load() -> None:
    """All that begins alike would go to one replica, and wait there while others idle."""
    selection = select([Replica("a", 2, num_found=992), Replica("b", 0)], [1000], PROMPT)
    assert selection is not None
    assert (selection.replica.replica_id, selection.reason) == ("b", "least loaded: 0.00 vs 0.20")


def test_a_short_prompt_is_worth_little_however_much_of_it_is_there() -> None:
    """Sixteen tokens are computed in no time; they decide between equals."""
    short = PromptNames(range(17), b"")
    selection = select([Replica("a", 1, num_found=16), Replica("b", 0)], [17], short)
    assert selection is not None
    assert selection.replica.replica_id == "b"
    selection = select([Replica("a", 0, num_dispatched=9, num_found=16), Replica("b", 0)], [17], short)
    assert selection is not None
    assert (selection.replica.replica_id, selection.reason) == (
        "a",
        "least loaded: 0.00 vs 0.00, prefix 16 of 17 tokens",
    )
